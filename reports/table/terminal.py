"""Tables in the terminal: readable at 80 columns, and as plain text in a file or a pipe."""

import io
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import PurePath
from typing import TextIO

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from bench.printed import inert
from bench.store.runs import Run
from reports.table.caption import caption_lines
from reports.table.cells import Caption, clean
from reports.table.sheet import DAGGER, DASH, DOUBLE_DAGGER, MAYBE, MINUS, Entry, Head, Sheet

_WIDTH = 80
_UNBOUNDED = 1_000
_METRIC, _WIDE = 28, 24
_SYSTEM, _NARROW = 18, 17
_STYLES = {"better": "green", "worse": "red", "unclear": "dim", None: "dim"}
_SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_PLAIN = {
    DAGGER: "#",
    DOUBLE_DAGGER: "##",
    MAYBE: "~",
    "≤": "<=",
    "↑": "^",
    "↓": "v",
    "─": "-",
    "·": "|",
    "±": "+-",
    "…": "...",
    MINUS: "-",
    DASH: "-",
    "\N{MULTIPLICATION SIGN}": "x",
}
_ASCII: dict[int, str] = {
    **{ord(raised): f"({digit})" for digit, raised in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
    **{ord(c): plain for c, plain in _PLAIN.items()},
}


def print_sheet(sheet: Sheet, file: TextIO | None = None) -> None:
    """Print a table on stdout or `file`: coloured and as wide as it on a terminal, else plain and 80 columns wide."""
    print_drawn(lambda width: _sheet(sheet, width), file or sys.stdout)


def text_of(sheet: Sheet) -> str:
    """A table as it would be printed to a file."""
    buffer = io.StringIO()
    print_sheet(sheet, buffer)
    return buffer.getvalue()


def print_runs(runs: Sequence[Run], file: TextIO | None = None) -> None:
    """Print a list of runs, in the order given, with what fits beside whole ids on a terminal, else with everything."""
    file = file or sys.stdout
    if runs:
        print_list([_cells(run) for run in runs], _LEAVING, right=("seed", "limit", "seconds"), file=file)
    else:
        print_drawn(lambda _: Text("no runs"), file)


def print_list(
    rows: Sequence[Mapping[str, str]],
    leaving: Sequence[str | tuple[str, int]],
    *,
    right: Sequence[str],
    styles: Mapping[str, str] | None = None,
    file: TextIO | None = None,
) -> None:
    """Print rows of one line each, all of them whole in a file or a pipe.

    Args:
        rows: Cells by column, the same columns in each; at least one row.
        leaving: Columns in the order in which they leave a narrow terminal; a pair of a name and a number cuts that
            column to so many characters. The others stay, and are whole.
        right: Columns that are set to the right.
        styles: The style of a cell that says so.
        file: Where to, stdout by default.
    """
    columns = {name: [name, *(clean(row[name]) for row in rows)] for name in rows[0]}
    least = _width_of({name: cells for name, cells in columns.items() if name not in leaving})
    print_drawn(
        lambda width: _list(_fitting(columns, leaving, width), right, styles or {}),
        file or sys.stdout,
        plain_width=_UNBOUNDED,
        least=least,
    )


def print_drawn(
    draw: Callable[[int], RenderableType], file: TextIO, *, plain_width: int = _WIDTH, least: int = 0
) -> None:
    """Print what `draw` makes of a width: coloured and as wide as a terminal, else plain and `plain_width` wide.

    What is `least` wide may go beyond a narrower terminal, which breaks the line itself.
    """
    live = file.isatty()
    width = max(least, Console(file=file).width if live else plain_width)
    buffer = io.StringIO()
    console = Console(file=buffer, width=width, force_terminal=live, color_system="auto" if live else None)
    console.print(draw(width))
    text = "\n".join(line.rstrip() for line in buffer.getvalue().splitlines())
    if "utf" not in (getattr(file, "encoding", None) or "utf-8").lower():
        text = text.translate(_ASCII)
    print(inert(text), file=file)


def _sheet(sheet: Sheet, width: int) -> RenderableType:
    """Caption, one grid for as many columns as fit side by side, footnotes."""
    parts: list[RenderableType] = [*caption_of(sheet.caption)]
    parts += [Text(f"NOT COMPARABLE, forced together: {fact}", style="bold red") for fact in sheet.forced]
    parts += [Text(), *(_sentence(one, width) for one in sheet.verdict)] if sheet.verdict else []
    label, cell = (_METRIC, _WIDE) if sheet.systems == "columns" else (_SYSTEM, _NARROW)
    if label + len(sheet.columns) * (_WIDE + 2) <= width:
        cell = _WIDE  # a difference and its interval stand on one line
    fit = max(1, (width - label) // (cell + 2))
    for start in range(0, len(sheet.columns), fit):
        parts += [Text(), _grid(sheet, range(start, min(start + fit, len(sheet.columns))), label, cell)]
    return Group(*parts, Text(), *_legend(sheet))


def _sentence(text: str, width: int) -> Text:
    """A sentence with its subject, where it has one, in bold, and all lines but the first indented."""
    told = Text(textwrap.fill(text, width, subsequent_indent="  ", break_on_hyphens=False))
    told.stylize("bold", 0, max(0, told.plain.find(":")))
    return told


def caption_of(caption: Caption) -> Iterator[Text]:
    """What all figures share, in a few lines."""
    first, *others = caption_lines(caption)
    yield Text.assemble(("suite ", "dim"), (caption.suite, "bold"), first.removeprefix(f"suite {caption.suite}"))
    yield from map(Text, others)


def _grid(sheet: Sheet, shown: range, label: int, cell: int) -> Grid:
    grid = Grid(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    grid.add_column("", width=label, overflow="fold")
    grouped = sheet.systems == "rows" and any(head.under for head in sheet.columns)
    previous = None
    for index in shown:
        head = sheet.columns[index]
        title = _head(head)
        if grouped:
            title = Text(head.under if head.under and head.under != previous else "", style="not bold") + "\n" + title
            previous = head.under
        grid.add_column(title, width=cell, overflow="fold", vertical="top")
    side_by_side = sheet.systems == "columns"
    for under, rows in groupby(sheet.rows, key=lambda row: row[0].under):
        if side_by_side:
            grid.add_section()
        if under:
            grid.add_row(Text(under, style="bold"))
        for head, entries in rows:
            label_ = _head(head, indent=" " if under else "", bold=not side_by_side)
            grid.add_row(label_, *(_entry(entries[index], cell, side_by_side=side_by_side) for index in shown))
    return grid


def _head(head: Head, *, indent: str = "", bold: bool = True) -> Text:
    text = Text(f"{indent}{head.label}", style="bold" if bold else "")
    text.append(f" {head.arrow}" if head.arrow else "")
    text.append(f" ({head.role})" if head.role else "", style="not bold")
    if not head.publishable:
        text.append("\nNOT PUBLISHABLE", style="bold red")
    text.append(f"\n{head.flagged}" if head.flags else "", style="bold red")
    return text


def _entry(one: Entry, width: int, *, side_by_side: bool) -> Text:
    """`0.123* [0.100, 0.150]`, and below it the difference to the reference; or each part below the other.

    A difference that is wider than its column has its interval, whole, on a line of its own.
    """
    notes = "".join(f"{place + 1}".translate(_SUPERSCRIPT) for place in one.notes)
    text = Text(one.value, style="bold" if one.standing == "best" else "")
    text.append(f"{one.mark}{'' if one.difference else one.dagger}", style="not bold")
    interval = f"{' ' if side_by_side else chr(10)}{one.interval}" if one.interval else ""
    text.append(interval, style="not bold" if side_by_side else "not bold dim")
    text.append(notes, style="yellow")
    if one.difference:
        text.append(f"\n{_within(f'{one.difference}{one.dagger}', width)}", style=_STYLES[one.verdict])
    if one.loss:
        text.append(f"\n{one.loss}", style="not bold")
    text.append(f"\n{one.rank}" if one.rank else "", style="not bold dim")
    return text


def _within(difference: str, width: int) -> str:
    """A difference with its interval: on one line where it fits, else on two, each with its unit."""
    if len(difference) <= width:
        return difference
    return difference.replace(" [", f"{' %' if '] %' in difference else ''}\n[")


def _legend(sheet: Sheet) -> Iterator[Text]:
    yield from (Text(line, style="dim") for line in sheet.legend)
    for place, note in enumerate(sheet.footnotes, 1):
        yield Text(f"{str(place).translate(_SUPERSCRIPT)} {note}", style="yellow")
    yield from (Text(remark, style="yellow") for remark in sheet.remarks)


_BETWEEN = 2  # blanks between two columns
_LEAVING = ("suite", "seconds", "seed", "when", ("model", 16), "limit", "model", "method", "status")
"""Columns of the list of runs, as they leave a narrow terminal; suite and seed are in the id."""


def _width_of(columns: Mapping[str, Sequence[str]]) -> int:
    return sum(max(map(cell_len, cells)) + _BETWEEN for cells in columns.values()) - _BETWEEN


def _fitting(
    columns: Mapping[str, list[str]], leaving: Sequence[str | tuple[str, int]], width: int
) -> dict[str, list[str]]:
    left = dict(columns)
    for step in leaving:
        if _width_of(left) <= width:
            break
        if isinstance(step, str):
            del left[step]
        else:
            name, most = step
            left[name] = [clean(one, most) for one in left[name]]
    return left


def _list(columns: Mapping[str, Sequence[str]], right: Sequence[str], styles: Mapping[str, str]) -> Grid:
    grid = Grid(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for name in columns:
        grid.add_column(name, justify="right" if name in right else "left", no_wrap=True)
    for row in list(zip(*columns.values(), strict=True))[1:]:
        grid.add_row(*(Text(cell, style=styles.get(cell, "")) for cell in row))
    return grid


def _cells(run: Run) -> dict[str, str]:
    manifest, seconds = run.manifest, run.seconds
    return {
        "id": run.id,
        "suite": str(manifest.suite.get("name", "?")),
        "method": run.label,
        "model": PurePath(str(manifest.model.get("id") or DASH)).name,
        "limit": str(manifest.suite.get("limit") or DASH),
        "seed": str(manifest.seed),
        "status": run.status,
        "when": manifest.created[:16].replace("T", " "),
        "seconds": DASH if seconds is None else f"{seconds:,.0f}",
    }
