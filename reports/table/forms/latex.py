"""Tables in LaTeX: booktabs and siunitx, as a document that compiles as it is or the table alone."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from bench.errors import UsageError
from reports.table.caption import caption_lines
from reports.table.columns import numbered
from reports.table.sheet import FARTHEST, Entry, Head, Sheet

_PREAMBLE = r"""\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage{booktabs,siunitx,graphicx}
\usepackage[margin=2cm%s]{geometry}
\begin{document}"""
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "%": r"\%",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"{\char34}",
    "`": r"\textasciigrave{}",
    "'": r"\textquotesingle{}",
    "[": "{[}",  # after the end of a row it would begin its space, and a star would belong to it
    "]": "{]}",
    "*": "{*}",
    "-": "-{}",
    "\N{MINUS SIGN}": "$-$",
    "\N{EN DASH}": "--",
    "\N{EM DASH}": "---",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{PLUS-MINUS SIGN}": r"$\pm$",
    "\N{LESS-THAN OR EQUAL TO}": r"$\leq$",
    "\N{ALMOST EQUAL TO}": r"$\approx$",
    "\N{DAGGER}": r"\textdagger{}",
    "\N{DOUBLE DAGGER}": r"\textdaggerdbl{}",
    "\N{UPWARDS ARROW}": r"$\uparrow$",
    "\N{DOWNWARDS ARROW}": r"$\downarrow$",
    "\N{RIGHTWARDS ARROW}": r"$\rightarrow$",
    "\N{MIDDLE DOT}": r"\textperiodcentered{}",
    "\N{HORIZONTAL ELLIPSIS}": r"\dots{}",
}
_GREEK = {
    letter: rf"$\{name.casefold().replace('lamda', 'lambda')}$"
    for letter in map(chr, range(0x3B1, 0x3CA))
    if (name := unicodedata.name(letter).removeprefix("GREEK SMALL LETTER ")) not in ("OMICRON", "FINAL SIGMA")
}
_LATIN = {*range(0xC0, 0x180)} - {0xD7, 0xF7, 0x126, 0x127, 0x138, 0x13F, 0x140, 0x149, 0x166, 0x167, 0x17F}
"""Letters that the T1 encoding has; whatever lies beyond is shown as a question mark, and the legend says so."""
_REPLACED = "In place of letters that this font lacks stands a question mark."
_END = r"\\"
_DAGGERS = {"method": r"\textdagger", "training": r"\textdaggerdbl", None: ""}


@dataclass(frozen=True)
class LatexOptions:
    r"""What is asked of a table in LaTeX.

    Attributes:
        bare: The table alone, for a document that loads booktabs, siunitx and graphicx; otherwise a document that
            compiles as it is. Figures are in `S` columns: \sisetup of the document sets how they look.
        caption: LaTeX, in place of what all figures share.
        label: What \ref calls it; None for no \label.
    """

    bare: bool = False
    caption: str | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        """Refuse a label that no reference can say, and a caption that would leave its braces.

        Raises:
            UsageError: the label or the caption is such a one.
        """
        if self.label is not None and not re.fullmatch(r"[A-Za-z0-9:._/-]+", self.label):
            raise UsageError(f"label '{self.label[:60]}' has other signs than letters, digits and :._/-")
        depth = 0
        for sign in re.sub(r"\\.", "", self.caption or ""):
            depth += {"{": 1, "}": -1}.get(sign, 0)
            if depth < 0:
                break
        if depth:
            raise UsageError("the braces of the caption are not in pairs")


def to_latex(sheet: Sheet, options: LatexOptions = LatexOptions()) -> str:
    """The sheet as a `table`."""
    lines = list(_table(_told_apart(sheet), options))
    if not options.bare:
        # A line a system makes a long table, a column a system a wide one.
        lines = [_PREAMBLE % (",landscape" if sheet.systems == "columns" else ""), *lines, r"\end{document}"]
    return "\n".join(lines) + "\n"


def _told_apart(sheet: Sheet) -> Sheet:
    """The sheet with names of systems that stay different when some of their letters cannot be shown."""
    heads = sheet.columns if sheet.systems == "columns" else [head for head, _ in sheet.rows]
    shown = ["".join("?" if _character(one) == "?" else one for one in head.label) for head in heads]
    if not any("?" in new and new != head.label for new, head in zip(shown, heads, strict=True)):
        return sheet
    named = [replace(head, label=label) for head, label in zip(heads, numbered(shown), strict=True)]
    legend = (*sheet.legend, _REPLACED)
    if sheet.systems == "columns":
        return replace(sheet, columns=tuple(named), legend=legend)
    rows = tuple((head, entries) for head, (_, entries) in zip(named, sheet.rows, strict=True))
    return replace(sheet, rows=rows, legend=legend)


def _table(sheet: Sheet, options: LatexOptions) -> Iterator[str]:
    yield r"% needs \usepackage{booktabs,siunitx,graphicx}"
    yield r"\begin{table}"
    yield r"\centering"
    for fact in sheet.forced:
        yield rf"\textbf{{NOT COMPARABLE, forced together: {escape(fact)}}}\par"
    shared = "; ".join(escape(line) for line in caption_lines(sheet.caption))
    yield rf"\caption{{{options.caption or shared}}}"
    if options.label:
        yield rf"\label{{{options.label}}}"
    yield r"\sisetup{mode=text, reset-text-series=false, table-align-text-after=false, group-separator={,}}"
    yield r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
    yield rf"\begin{{tabular}}{{l{''.join(_columns(sheet))}}}"
    yield r"\toprule"
    yield from _heads(sheet)
    yield r"\midrule"
    under = None
    for head, entries in sheet.rows:
        if sheet.systems == "columns" and head.under != under:
            under = head.under
            if under:
                width = len(sheet.columns) + 1
                yield rf"\addlinespace\multicolumn{{{width}}}{{l}}{{\textbf{{{escape(under)}}}}} {_END}"
        yield from _row(head, entries)
    yield r"\bottomrule"
    yield r"\end{tabular}}"
    yield r"\par\smallskip\footnotesize\raggedright"
    yield from (rf"{escape(line)}\par" for line in (*sheet.verdict, *sheet.legend))
    yield from (rf"\textsuperscript{{{n}}} {escape(note)}\par" for n, note in enumerate(sheet.footnotes, 1))
    yield from (rf"{escape(remark)}\par" for remark in sheet.remarks)
    yield r"\end{table}"


def _columns(sheet: Sheet) -> Iterator[str]:
    """An `S` column for figures, wide enough for the longest; `l` for words."""
    for place in range(len(sheet.columns)):
        entries = [line[place] for _, line in sheet.rows]
        figures = [one for one in entries if one.number is not None]
        if not figures:
            yield "l"
            continue
        texts = [_number(one).lstrip("-").partition(".") for one in figures if _is_figure(one)] or [("0", "", "")]
        whole, part = (max(len(text[n]) for text in texts) for n in (0, 2))
        sign = "-" if any((one.number or 0) < 0 for one in figures) else ""
        yield f"S[table-format={sign}{whole}.{part}]"


def _heads(sheet: Sheet) -> Iterator[str]:
    if sheet.systems == "rows" and any(head.under for head in sheet.columns):
        yield from _groups(sheet.columns)
    yield " & ".join(["", *(f"{{{_head(head)}}}" for head in sheet.columns)]) + f" {_END}"


def _groups(heads: Sequence[Head]) -> Iterator[str]:
    cells, rules, place = [""], [], 2
    for under, some in groupby(heads, key=lambda head: head.under):
        count = len(list(some))
        cells.append(rf"\multicolumn{{{count}}}{{c}}{{{escape(under or '')}}}")
        if under:
            rules.append(rf"\cmidrule(lr){{{place}-{place + count - 1}}}")
        place += count
    yield f"{' & '.join(cells)} {_END}"
    yield "".join(rules)


def _head(head: Head) -> str:
    role = f" ({head.role})" if head.role else ""
    warning = "" if head.publishable else r" \textbf{NOT PUBLISHABLE}"
    flagged = rf" \textbf{{{escape(head.flagged)}}}" if head.flags else ""
    return f"{escape(head.label)}{f' {escape(head.arrow)}' if head.arrow else ''}{role}{warning}{flagged}"


def _row(head: Head, entries: Sequence[Entry]) -> Iterator[str]:
    """A line of figures, and below it one each of intervals, differences and losses where there are any."""
    yield " & ".join([_head(head), *map(_value, entries)]) + f" {_END}"
    if any(one.interval for one in entries):
        yield " & ".join(["", *(_small(one.interval) for one in entries)]) + f" {_END}"
    if any(one.difference for one in entries):
        marks = (rf"\textsuperscript{{{_DAGGERS[one.claim]}}}" if one.claim else "" for one in entries)
        cells = (_small(one.difference, mark) for one, mark in zip(entries, marks, strict=True))
        yield " & ".join(["", *cells]) + f" {_END}"
    if any(one.loss for one in entries):
        yield " & ".join(["", *(_small(one.loss) for one in entries)]) + f" {_END}"
    if any(one.rank for one in entries):
        yield " & ".join(["", *(_small(one.rank) for one in entries)]) + f" {_END}"


def _value(one: Entry) -> str:
    """A bare number for siunitx, bold where it is the best, with its marks; a word or a dash in braces."""
    marks = {"best": "*", "may_be_best": r"$\approx$", None: ""}[one.standing]
    marks += "" if one.difference else _DAGGERS[one.claim]
    notes = ",".join(str(place + 1) for place in one.notes)
    # Of no width, so that marks neither move the figures nor make a column too narrow for what is in it.
    raised = rf"\makebox[0pt][l]{{\textsuperscript{{{marks}{notes}}}}}" if marks or notes else ""
    if one.number is None:
        return f"{{{escape(one.value)}{raised}}}"
    bold = r"\bfseries " if one.standing == "best" else ""
    return f"{bold}{_number(one)}{f' {{{raised}}}' if raised else ''}"


def _is_figure(one: Entry) -> bool:
    """Whether it has a figure that is lined up at its decimal point: no word, and no power of ten."""
    return one.number is not None and abs(one.number) < FARTHEST


def _number(one: Entry) -> str:
    if not _is_figure(one):
        return f"{{{escape(one.value)}}}"
    return "0" if not one.number else f"{one.number:.{one.digits}f}"


def _small(text: str, mark: str = "") -> str:
    return rf"\multicolumn{{1}}{{c}}{{\scriptsize {escape(text)}{mark}}}" if text else ""


def escape(text: str) -> str:
    """Text that means nothing to LaTeX: commands and special characters are shown as they are."""
    return "".join(map(_character, text))


def _character(character: str) -> str:
    if known := _SPECIAL.get(character) or _GREEK.get(character):
        return known
    return character if " " <= character <= "~" or ord(character) in _LATIN else "?"
