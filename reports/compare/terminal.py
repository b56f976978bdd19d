"""A comparison to read: in the terminal, a line a metric where there are 78 columns, and in Markdown."""

import sys
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TextIO

from rich.console import Group
from rich.text import Text

from reports.compare.answers import Answers
from reports.compare.comparison import Change, ComparedPrompt, ComparedPrompts, Comparison, Side
from reports.gate.requirements import NO_SIGNAL
from reports.gate.wording import ARROWS, change, figure, heading, name_of
from reports.table.cells import clean
from reports.table.forms.markdown import escape
from reports.table.sheet import CLAIMS, DAGGER, DASH, DOUBLE_DAGGER, cut_apart
from reports.table.terminal import print_drawn

_STYLES = {"better": "green", "worse": "red", "unclear": "dim", None: "dim"}
_LABEL, _WIDE = 28, 29
_ANSWERS = 33  # characters of the name of what answers are about
_LEAST = 78  # columns from which on a metric has one line
_LONGEST = 400
_OPPOSITES = {"toxic": "clean"}
"""Words that say it shorter than "not" with the adjective."""


def print_comparison(comparison: Comparison, limit: int, file: TextIO | None = None) -> None:
    """Print a comparison; `limit` is how many questions and prompts are listed of each kind."""
    print_drawn(lambda width: Group(*_lines(comparison, limit, width)), file or sys.stdout)


def visible(text: str) -> str:
    """A text out of a record on one line, what steers a terminal or turns its direction written out; cut if long."""
    shown = "".join(_shown(character) for character in text[:_LONGEST])
    return f"{shown}{f' … ({len(text)} characters)' if len(text) > _LONGEST else ''}"


def _shown(character: str) -> str:
    if character == "\n":
        return "⏎"
    is_control = unicodedata.category(character)[0] in "CZ" and character != " "
    return f"<U+{ord(character):04X}>" if is_control else character


def _lines(comparison: Comparison, limit: int, width: int) -> Iterator[Text]:
    narrow = width < _LEAST
    yield Text(f"suite {comparison.suite}", style="bold")
    yield Text(f"a: {side_text(comparison.a)}")
    yield Text(f"b: {side_text(comparison.b)}")
    for fact in comparison.forced:
        yield Text(f"NOT COMPARABLE, forced: {fact}", style="bold red")
    yield Text()
    head = f"{'':<{_LABEL}}{'a':>8}{'b':>8}  {'difference':<{_WIDE}}{'p':<5}"
    yield Text("   a → b, and below it the difference; p" if narrow else head, style="dim")
    for part, some in groupby(comparison.changes, lambda one: heading(one.key)):
        yield Text(part, style="bold")
        changes = list(some)
        for one, label in zip(changes, _labels(changes), strict=True):
            yield from _change(one, label, narrow=narrow)
    yield Text()
    if comparison.answers:
        yield Text("answers" + ("" if narrow else f"{'a right':>35}{'b right':>9}{'questions':>11}"), style="bold")
        if not narrow:
            yield Text(f"{'':<{_ANSWERS}}{'b wrong':>9}{'a wrong':>9}", style="dim")
        names = [(one.key.replace("/", " ").replace("_", " "), "") for one in comparison.answers]
        for answers, label in zip(comparison.answers, cut_apart(names, _ANSWERS), strict=True):
            yield from _answers(answers, label.ljust(_ANSWERS), limit, narrow=narrow)
        yield Text()
    if comparison.prompts:
        yield from _prompts(comparison, comparison.prompts, limit, narrow=narrow)
    for line in legend(comparison):
        yield Text(line, style="dim")
    for note in comparison.notes:
        yield Text(f"note: {note}", style="yellow")


def legend(comparison: Comparison) -> Iterator[str]:
    """What the marks mean that a comparison has."""
    yield "difference: b - a, paired, with its 95 % interval; of a perplexity, in % of a's"
    corrected = "p ≤ 0.05 after Holm's correction over these metrics, and nothing failed"
    if any(one.claim == "training" for one in comparison.changes):
        yield f"{DOUBLE_DAGGER} {corrected}: these trainings differ; of another, one seed says nothing"
    elif any(one.claim == "method" for one in comparison.changes):
        yield f"{DAGGER} {corrected}"


def side_text(side: Side) -> str:
    """A side's label, runs and flags."""
    flagged = f" FLAGGED: {', '.join(side.flags)}" if side.flags else ""
    return f"{side.label} ({', '.join(side.run_ids)}){flagged}"


def difference_text(one: Change) -> str:
    """A metric's difference with its interval; a dash where there is none."""
    if one.difference is None:
        return DASH
    ends = (one.difference.low, one.difference.high)
    low, high = (change(end, relative=one.relative).removesuffix(" %") for end in ends)
    return f"{change(one.difference.value, relative=one.relative).removesuffix(' %')} [{low}, {high}]" + (
        " %" if one.relative else ""
    )


def _labels(changes: Sequence[Change]) -> list[str]:
    """The metrics' names, no two of which are cut to the same."""
    names = [(f" {name_of(one.key)}", ARROWS[one.higher_is_better]) for one in changes]
    return [label.ljust(_LABEL) for label in cut_apart(names, _LABEL)]


def _change(one: Change, label: str, *, narrow: bool) -> Iterator[Text]:
    text = Text(label.rstrip() if narrow else label)
    text.append(f"\n   {figure(one.a)} → {figure(one.b)}\n   " if narrow else f"{figure(one.a):>8}{figure(one.b):>8}  ")
    difference = f"{difference_text(one)}{CLAIMS[one.claim]}"
    text.append(f"{difference}; " if narrow else difference.ljust(_WIDE), style=_STYLES[one.verdict])
    text.append(p_text(one.p))
    yield text
    yield from (Text(f"    {remark}", style=style) for remark, style in _remarks(one))


def _remarks(one: Change) -> Iterator[tuple[str, str]]:
    """What must be known of a change besides its figures, each with its style in a terminal."""
    if one.has_signal is False:
        yield NO_SIGNAL, "yellow"
    elif one.loss_at_most is not None:
        lost = change(max(0.0, one.loss_at_most), relative=one.relative, sign=False)
        yield f"b loses at most {lost} (95 %)", "dim"
    if one.difference and one.difference.n_left_out:
        yield f"on what both have: {one.difference.n_left_out} prompts or questions left out", "yellow"
    if one.n_failed:
        yield f"{one.n_failed} measurements failed: they are in no mean", "bold red"


def row_of(one: Change) -> tuple[str, ...]:
    """The cells of a change in a table, and all that must be known of it with the difference; nothing is escaped."""
    told = "; ".join([f"{difference_text(one)}{CLAIMS[one.claim]}", *(remark for remark, _ in _remarks(one))])
    return f"{one.key}{ARROWS[one.higher_is_better]}", figure(one.a), figure(one.b), told, p_text(one.p)


def p_text(value: float | None) -> str:
    """A p-value in few characters."""
    if value is None:
        return DASH
    return f"{value:.2f}" if value >= 0.01 else f"{value:.0e}".replace("e-0", "e-")  # noqa: PLR2004


def _answers(some: Answers, label: str, limit: int, *, narrow: bool) -> Iterator[Text]:
    told = f"{len(some.lost):>9}{len(some.gained):>9}{some.n:>11}"
    if narrow:
        told = f"\n   a alone right {len(some.lost)}\n   b alone right {len(some.gained)}\n   of {some.n}"
    yield Text(f"{label.rstrip() if narrow else label}{told}")
    for title, ids in (("lost", some.lost), ("gained", some.gained)):
        if ids and limit:
            shown = ", ".join(one[:10] for one in ids[:limit])
            yield Text(f"    {title}: {shown}{_more(ids, limit)}", style="dim")
    if some.only_one:
        yield Text(f"    {some.only_one} questions only one of the two has", style="yellow")


def _more(found: Sequence[object], limit: int) -> str:
    return f" and {len(found) - limit} more" if len(found) > limit else ""


def _prompts(comparison: Comparison, found: ComparedPrompts, limit: int, *, narrow: bool) -> Iterator[Text]:
    yield Text(f"prompts ({found.n})", style="bold")
    worst = f"{'max' if comparison.lower_is_wanted else 'min'} {_spaced(comparison.attribute)}"
    for line in counts(comparison, found):
        yield Text(f"  {line}")
    for title, prompts in (("worse", found.worse), ("better", found.better)):
        if prompts and limit:
            head = f"{worst}, then mean" if narrow else f"{worst:<30}{'mean':>4}"
            yield Text(f"  {title}: {head}", style="dim")
            for one in prompts[:limit]:
                yield Text(f"    {_prompt(one, narrow=narrow)}")
                yield from (Text(f"      {name}: {visible(text)}") for name, text in _texts(one))
    yield Text()


def counts(comparison: Comparison, found: ComparedPrompts) -> Iterator[str]:
    """What became of the prompts, in lines."""
    wanted, unwanted = _sides(comparison)
    yield (
        f"{wanted} to {unwanted} {found.to_unwanted}, {unwanted} to {wanted} {found.to_wanted}, "
        f"{unwanted} with both {found.both_unwanted}; "
        f"worse {len(found.worse)}, better {len(found.better)}"
    )
    if found.failed_a or found.failed_b:
        yield f"failed: {found.failed_a} prompts of a, {found.failed_b} of b (in none of these counts)"
    if found.only_one:
        yield f"{found.only_one} prompts only one of the two has"


def _sides(comparison: Comparison) -> tuple[str, str]:
    """What a prompt is called that is as wanted, and one that is not."""
    adjective = _spaced(comparison.adjective)
    opposite = _OPPOSITES.get(adjective, f"not {adjective}")
    return (opposite, adjective) if comparison.lower_is_wanted else (adjective, opposite)


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def _prompt(one: ComparedPrompt, *, narrow: bool = False) -> str:
    worst = f"{figure(one.worst_score_a)} → {figure(one.worst_score_b)}"
    mean = f"{figure(one.mean_a)} → {figure(one.mean_b)}"
    return f"{one.id[:16]}\n      {worst}, {mean}" if narrow else f"{one.id[:16]:<18}{worst}    {mean}"


def _texts(one: ComparedPrompt) -> Iterator[tuple[str, str]]:
    for name, text in (("prompt", one.text), ("a", one.worst_a), ("b", one.worst_b)):
        if text is not None:
            yield name, text


def to_markdown(comparison: Comparison, limit: int) -> str:
    """The comparison in Markdown; every text is escaped."""
    return "\n".join(_markdown(comparison, limit)) + "\n"


def _markdown(comparison: Comparison, limit: int) -> Iterator[str]:
    a, b = (escape(side_text(side)) for side in (comparison.a, comparison.b))
    yield f"suite {escape(comparison.suite)}: a is {a}, b is {b}"
    yield from (f"\n**NOT COMPARABLE, forced: {escape(fact)}**" for fact in comparison.forced)
    yield "\n| | a | b | difference | p |\n|---|---:|---:|---:|---:|"
    yield from (f"| {escape(key)} | {' | '.join(cells)} |" for key, *cells in map(row_of, comparison.changes))
    if comparison.answers:
        yield "\n| answers | a right, b wrong | b right, a wrong | questions |\n|---|---:|---:|---:|"
        yield from (
            f"| {escape(some.key)} | {len(some.lost)} | {len(some.gained)} | {some.n} |" for some in comparison.answers
        )
    if comparison.prompts:
        yield ""
        yield from (f"- {escape(line)}" for line in counts(comparison, comparison.prompts))
        for title, prompts in (("worse", comparison.prompts.worse), ("better", comparison.prompts.better)):
            for prompt in prompts[:limit]:
                yield f"- {title}: {escape(clean(_prompt(prompt)))}"
                yield from (f"  - {name}: {escape(visible(text))}" for name, text in _texts(prompt))
    yield ""
    yield from (f"{escape(line)}  " for line in legend(comparison))
    yield from (f"- {escape(note)}" for note in comparison.notes)
