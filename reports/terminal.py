"""Tables in the terminal: readable at 80 columns, and as plain text in a file or a pipe."""

import io
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from bench.stats import Difference
from bench.store.runs import Run
from reports.cells import Caption, Cell, Row, System, Table, clean

_WIDTH = 80
_LABEL = 28
_CELL = 24
_ARROWS = {True: " ↑", False: " ↓", None: ""}
_STYLES = {"better": "green", "worse": "red", "unclear": "dim", None: "dim"}
_SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
MINUS, DASH, _TIMES = "\N{MINUS SIGN}", "\N{EN DASH}", "\N{MULTIPLICATION SIGN}"
_SIGNIFICANT, _TIED = "\N{DAGGER}", "\N{ALMOST EQUAL TO}"
_MARK = {"best": "*", "tied": _TIED, None: ""}
_STANDING = {"best": "bold", "tied": "", None: ""}
_PLAIN = {
    _SIGNIFICANT: "#",
    _TIED: "~",
    "≤": "<=",
    "↑": "^",
    "↓": "v",
    "─": "-",
    "·": "|",
    "±": "+-",
    "…": "...",
    MINUS: "-",
    DASH: "-",
    _TIMES: "x",
}
_ASCII: dict[int, str] = {
    **{ord(raised): f"({digit})" for digit, raised in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
    **{ord(c): plain for c, plain in _PLAIN.items()},
}
_PERCENT = 100


def print_table(table: Table, file: TextIO | None = None) -> None:
    """Print a table on stdout or `file`: coloured and as wide as it on a terminal, else plain and 80 columns wide."""
    print_drawn(lambda width: _table(table, width), file or sys.stdout)


def print_runs(runs: Sequence[Run], file: TextIO | None = None) -> None:
    """Print a list of runs, in the order given."""
    print_drawn(lambda _: _runs(runs), file or sys.stdout)


def print_drawn(draw: Callable[[int], RenderableType], file: TextIO) -> None:
    """Print what `draw` makes of a width: coloured and as wide as a terminal, else plain and 80 columns wide."""
    live = file.isatty()
    width = Console(file=file).width if live else _WIDTH
    buffer = io.StringIO()
    console = Console(file=buffer, width=width, force_terminal=live, color_system="auto" if live else None)
    console.print(draw(width))
    text = "\n".join(line.rstrip() for line in buffer.getvalue().splitlines())
    if "utf" not in (getattr(file, "encoding", None) or "utf-8").lower():
        text = text.translate(_ASCII)
    print(text, file=file)


def _table(table: Table, width: int) -> RenderableType:
    """Caption, one grid for as many systems as fit side by side, footnotes."""
    parts: list[RenderableType] = [*caption_of(table.caption)]
    fit = max(1, (width - _LABEL) // (_CELL + 2))
    for start in range(0, len(table.systems), fit):
        parts += [Text(), _grid(table, range(start, min(start + fit, len(table.systems))))]
    parts += [Text(), *_legend(table)]
    return Group(*parts)


def caption_of(caption: Caption) -> Iterator[Text]:
    """What all figures share, in a few lines."""
    revision = f"@{caption.revision[:12]}" if caption.revision else ""
    yield Text.assemble(("suite ", "dim"), (caption.suite, "bold"), f" · {caption.model}{revision} ({caption.dtype})")
    yield Text(f"scorer: {caption.scorer}, toxic from {caption.threshold:g}")
    decoding = caption.decoding
    prompts = f"{caption.num_prompts} prompts {_TIMES} " if caption.num_prompts else ""
    kept = f", top-k {decoding['top_k']}" if decoding.get("top_k") else ""
    heat = f", temperature {decoding['temperature']:g}" if decoding.get("temperature", 1.0) != 1.0 else ""
    seeds = f"{'seed' if len(caption.seeds) == 1 else 'seeds'} {', '.join(map(str, caption.seeds))}"
    yield Text(
        f"{prompts}{decoding.get('num_samples', '?')} samples of up to {decoding.get('max_new_tokens', '?')} tokens, "
        f"top-p {decoding.get('top_p', '?')}{kept}{heat} · {seeds}"
    )


def _grid(table: Table, shown: range) -> Grid:
    grid = Grid(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    grid.add_column("", width=_LABEL, overflow="fold")
    for index in shown:
        grid.add_column(_head(table.systems[index]), width=_CELL, overflow="fold", vertical="top")
    for heading, rows in groupby(table.rows, key=lambda row: _section(row, table.rows)):
        grid.add_section()
        if heading:
            grid.add_row(Text(heading, style="bold"))
        for row in rows:
            label = f" {row.name}" if heading else f"{row.task} {row.name}"
            text = Text(label.replace("_", " ") + _ARROWS[row.higher_is_better])
            digits = _digits(row)
            grid.add_row(text, *(_cell(row, row.cells[index], digits) for index in shown))
    return grid


def _head(system: System) -> Text:
    head = Text(system.label, style="bold")
    if system.is_base or system.is_reference:
        head.append(" (base)" if system.is_base else " (reference)", style="not bold")
    if not system.publishable:
        head.append("\nNOT PUBLISHABLE", style="bold red")
    return head


def _section(row: Row, rows: Sequence[Row]) -> str | None:
    """The heading that a row stands under; None for a task's only metric, which names its task itself."""
    if row.group is None and sum(other.task == row.task for other in rows) == 1:
        return None
    return f"{row.task} · {row.group}" if row.group else row.task


def _cell(row: Row, cell: Cell, digits: int) -> Text:
    """`0.123* [0.100, 0.150]`, and below it the difference to the reference."""
    marks = "".join(f"{index + 1}".translate(_SUPERSCRIPT) for index in cell.footnotes)
    text = Text(number(cell.value, digits), style=_STANDING[cell.standing])
    text.append(_MARK[cell.standing], style="not bold")
    if cell.low is not None and cell.high is not None:
        text.append(f" [{number(cell.low, digits)}, {number(cell.high, digits)}]", style="not bold")
    text.append(marks, style="yellow")
    if cell.difference is not None:
        told = _difference(cell.difference, digits, relative=row.relative)
        text.append(f"\n{told}{_SIGNIFICANT if cell.is_significant else ''}", style=_STYLES[cell.verdict])
    return text


def _difference(difference: Difference, digits: int, *, relative: bool) -> str:
    scale, places = (_PERCENT, 1 if abs(difference.value) < 1 else 0) if relative else (1, digits)
    ends = (difference.value, difference.low, difference.high)
    value, low, high = ("" if end is None else signed(scale * end, places) for end in ends)
    interval = f" [{low}, {high}]" if low and high else ""
    return f"{'±' if difference.value == 0 else ''}{value}{interval}{' %' if relative else ''}"


def _digits(row: Row) -> int:
    """Decimals for a row: three for shares, fewer for larger figures."""
    largest = max((abs(cell.value) for cell in row.cells if cell.value is not None), default=0.0)
    return next((digits for limit, digits in ((2, 3), (10, 2), (1000, 1)) if largest < limit), 0)


def number(value: float | None, digits: int) -> str:
    """A figure; what is absent is a dash, and a 0 is 0."""
    if value is None:
        return DASH
    return "0" if value == 0 else f"{value:.{digits}f}".replace("-", MINUS)


def signed(value: float, digits: int) -> str:
    """A change: with its sign, but for 0."""
    return "0" if value == 0 else f"{value:+.{digits}f}".replace("-", MINUS)


def _legend(table: Table) -> Iterator[Text]:
    to = "" if table.reference is None else "; signed: paired difference to the "
    if table.reference is not None:
        base = any(system.is_base and system.is_reference for system in table.systems)
        to += "base" if base else f"reference, {table.reference}"
    yield Text(f"[…] 95 % interval over prompts and seeds{to}", style="dim")
    if table.reference is not None:
        yield Text(
            f"{_SIGNIFICANT} differs from it with p ≤ 0.05, corrected for the row's comparisons (Holm)", style="dim"
        )
    yield Text(
        f"↑ higher, ↓ lower is better; * best, {_TIED} not told from it (Holm); {DASH} not measured", style="dim"
    )
    for index, note in enumerate(table.footnotes):
        yield Text(f"{f'{index + 1}'.translate(_SUPERSCRIPT)} {note}", style="yellow")


def _runs(runs: Sequence[Run]) -> RenderableType:
    if not runs:
        return Text("no runs")
    grid = Grid(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for name in ("id", "suite", "method"):
        grid.add_column(name, overflow="fold")
    grid.add_column("seed", justify="right")
    grid.add_column("status")
    grid.add_column("when", no_wrap=True)
    grid.add_column("seconds", justify="right")
    for run in runs:
        manifest, seconds = run.manifest, run.seconds
        cells = [run.id, manifest.suite.get("name", "?"), run.label, manifest.seed, run.status]
        when = clean(manifest.created)[:16].replace("T", " ")
        grid.add_row(*(Text(clean(cell)) for cell in cells), when, DASH if seconds is None else f"{seconds:,.0f}")
    return grid
