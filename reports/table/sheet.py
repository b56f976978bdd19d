"""A table as it is laid out: figures as text in rows and columns, for every form to draw."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bench.stats import Difference
from reports.table.cells import (
    OWN,
    Caption,
    Claim,
    DifferenceVerdict,
    MetricRow,
    System,
    Table,
    TableCell,
    TableStanding,
    clean,
    listed,
)

AT_MOST = "\N{LESS-THAN OR EQUAL TO}"
MINUS, DASH, MAYBE = "\N{MINUS SIGN}", "\N{EN DASH}", "\N{ALMOST EQUAL TO}"
DAGGER, DOUBLE_DAGGER = "\N{DAGGER}", "\N{DOUBLE DAGGER}"
ARROWS = {True: "\N{UPWARDS ARROW}", False: "\N{DOWNWARDS ARROW}", None: ""}
CLAIMS: Mapping[Claim | None, str] = {"method": DAGGER, "training": DOUBLE_DAGGER, None: ""}
_PERCENT = 100
_THOUSAND = 1000
_NAMED = 4
FAR = 1e6
"""From this size on a change is written as a power of ten: no reader counts the digits."""
FARTHEST = 1e12
"""The same of a figure, which may be a count of parameters."""

Part = Literal["interval", "difference", "rank"]
"""What is shown besides a figure; ranks are of the metrics that speak for their role."""


@dataclass(frozen=True)
class Entry:
    """What stands in a cell.

    Attributes:
        value: The figure as text, a dash where it is absent; or a word (an option's value).
        number: The figure as it is shown, in the sheet's unit; None where it is absent or a word.
        digits: Decimals that it is shown with.
        interval: `[low, high]`, or nothing.
        difference: The difference to the reference with its interval, or nothing.
        standing: Among the figures of its metric.
        verdict: On the difference.
        rank: The ranks that it may have, as in `1st` to `6th of 21`, or nothing.
        claim: What the corrected test of the difference allows to be said.
        notes: Footnotes, from 0.
        loss: The most that it may have lost to the reference, or nothing.
    """

    value: str
    number: float | None = None
    digits: int = 0
    interval: str = ""
    difference: str = ""
    standing: TableStanding | None = None
    verdict: DifferenceVerdict | None = None
    rank: str = ""
    claim: Claim | None = None
    notes: tuple[int, ...] = ()
    loss: str = ""

    @property
    def mark(self) -> str:
        """`*` for what is clearly the best, another for what may be."""
        return {"best": "*", "may_be_best": MAYBE, None: ""}[self.standing]

    @property
    def dagger(self) -> str:
        """The mark of a difference: one dagger where the method differs, two where this training does."""
        return CLAIMS[self.claim]


@dataclass(frozen=True)
class Head:
    """What stands above a column or before a row.

    Attributes:
        label: Its name.
        under: The heading that it shares with its neighbours, or None.
        arrow: Which direction is better.
        role: `base` or `reference`, or nothing.
        publishable: False for a system of which some measurement failed.
        flags: What a system's texts are instead of answers.
    """

    label: str
    under: str | None = None
    arrow: str = ""
    role: str = ""
    publishable: bool = True
    flags: tuple[str, ...] = ()

    @property
    def flagged(self) -> str:
        """The flags in words, or nothing."""
        return f"FLAGGED: {', '.join(self.flags)}" if self.flags else ""


@dataclass(frozen=True)
class Sheet:
    """A table laid out.

    Attributes:
        caption: What all figures share.
        systems: Whether systems are rows or columns.
        columns: The heads of the columns.
        rows: The heads of the rows, each with its entries.
        legend: What the marks mean.
        footnotes: What entries' notes say.
        remarks: What a reader must know besides, of no entry alone.
        forced: What the runs differ in, where they are not comparable.
        verdict: What it says, in sentences.
    """

    caption: Caption
    systems: Literal["rows", "columns"]
    columns: tuple[Head, ...]
    rows: tuple[tuple[Head, tuple[Entry, ...]], ...]
    legend: tuple[str, ...]
    footnotes: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    forced: tuple[str, ...] = ()
    verdict: tuple[str, ...] = ()


def system_head(system: System, label: str | None = None) -> Head:
    """The head of a system."""
    role = "base" if system.is_base else "compared with" if system.is_reference else ""
    return Head(label or system.label, role=role, publishable=system.publishable, flags=system.flags)


def entry(
    row: MetricRow, cell: TableCell, show: Sequence[Part], *, digits: int | None = None, percent: bool = False
) -> Entry:
    """A cell as text.

    Args:
        row: Its row.
        cell: The cell.
        show: What to show besides the figure.
        digits: Decimals; None for as many as the row's largest figure leaves room for.
        percent: Whether a share is shown as a percentage.
    """
    scale = _PERCENT if percent else 1
    places = digits_of(row, scale) if digits is None else digits
    number_ = None if cell.value is None else scale * cell.value
    interval = ""
    if "interval" in show and cell.low is not None and cell.high is not None:
        interval = f"[{number(scale * cell.low, places)}, {number(scale * cell.high, places)}]"
    difference = ""
    if "difference" in show and cell.difference is not None:
        difference = difference_text(cell.difference, places, scale=scale, relative=row.relative)
    return Entry(
        value=number(number_, places),
        number=number_,
        digits=places,
        interval=interval,
        difference=difference,
        standing=cell.standing,
        verdict=cell.verdict,
        rank=rank_text(cell) if "rank" in show and row.primary else "",
        claim=cell.claim,
        notes=cell.footnotes,
        loss=loss_text(row, cell) if show else "",
    )


def word(value: Any) -> Entry:
    """An option's value, or another word, in a cell; a dash for None."""
    return Entry(DASH if value is None else clean(value, 60))


def digits_of(row: MetricRow, scale: float = 1) -> int:
    """Decimals for a row: three for shares, fewer for larger figures."""
    return digits_for(scale * max((abs(cell.value) for cell in row.cells if cell.value is not None), default=0.0))


def digits_for(size: float) -> int:
    """Decimals for figures up to a size."""
    return next((digits for limit, digits in ((2, 3), (10, 2), (_THOUSAND, 1)) if size < limit), 0)


def number(value: float | None, digits: int) -> str:
    """A figure; what is absent is a dash, and a 0 is 0."""
    if value is None:
        return DASH
    if abs(value) >= FARTHEST:
        return power(value)
    grouped = "," if abs(value) >= 10 * _THOUSAND else ""
    return "0" if value == 0 else f"{value:{grouped}.{digits}f}".replace("-", MINUS)


def signed(value: float, digits: int) -> str:
    """A change: with its sign, but for 0."""
    if abs(value) >= FAR:
        return power(value, sign="+")
    return "0" if value == 0 else f"{value:+.{digits}f}".replace("-", MINUS)


def power(value: float, sign: str = "") -> str:
    """A figure of many digits, as `1.2e+30`; with `sign="+"` also where it is positive."""
    return f"{value:{sign}.1e}".replace("-", MINUS)


def difference_text(difference: Difference, digits: int, *, scale: float = 1, relative: bool) -> str:
    """A difference with its interval; a relative one in percent."""
    factor, places = (_PERCENT, 1 if abs(difference.value) < 1 else 0) if relative else (scale, digits)
    ends = (difference.value, difference.low, difference.high)
    value, low, high = ("" if end is None else signed(factor * end, places) for end in ends)
    interval = f" [{low}, {high}]" if low and high else ""
    return f"{'±' if difference.value == 0 else ''}{value}{interval}{' %' if relative else ''}"


def loss_text(row: MetricRow, cell: TableCell) -> str:
    """The most that a system may have lost: of a share in points, of a perplexity in percent."""
    if cell.loss_at_most is None:
        return ""
    unit, scale = ("%", _PERCENT) if row.relative else ("pt", _PERCENT) if row.higher_is_better else ("", 1)
    lost = scale * max(0.0, cell.loss_at_most)
    return f"loses {AT_MOST} {lost:.{1 if unit else 3}f} {unit}".rstrip()


def resampled(n_seeds: Iterable[int]) -> str:
    """What the intervals of systems with so many seeds are over: a single seed says nothing of others."""
    several = {count > 1 for count in n_seeds}
    if several == {True, False}:
        return "prompts, and seeds where there are several"
    return "prompts and seeds" if True in several else "prompts"


def rank_text(cell: TableCell) -> str:
    """The ranks that a cell may have, from the best to the worst; nothing where it has none."""
    if cell.rank_low is None or cell.rank_high is None:
        return ""
    low, high = ordinal(cell.rank_low), ordinal(cell.rank_high)
    return f"{low if low == high else f'{low}{DASH}{high}'} of {cell.n_ranked}"


def cut(name: str, mark: str, width: int, *, middle: bool = False) -> str:
    """A metric's name and its mark within a width; whose scorer's it is (`name@scorer`) stays.

    Of a long name the end is left out; with `middle` what lies between its ends, where another name begins alike.
    """
    own, at, scorer = name.partition("@")
    tail = f"{at}{scorer}{mark}"
    room = max(0, width - len(tail))
    if middle and len(own) > room > 1:
        end = room // 2
        own = f"{own[: room - end - 1]}\N{HORIZONTAL ELLIPSIS}{own[len(own) - end :]}"
    return f"{own[:room]}{tail}"[-width:]


def cut_apart(names: Sequence[tuple[str, str]], width: int) -> list[str]:
    """Names and marks as `cut` makes them; of those that would become the same, the ends are kept as well."""
    plain = [cut(name, mark, width) for name, mark in names]
    return [
        cut(name, mark, width, middle=True) if plain.count(shown) > 1 else shown
        for (name, mark), shown in zip(names, plain, strict=True)
    ]


def ordinal(number: int) -> str:
    """`1st`, `2nd`, `11th`."""
    last = number % 10 if number // 10 % 10 != 1 else 0
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(last, 'th') }"


def legend_of(table: Table, rows: Sequence[MetricRow], show: Sequence[Part]) -> Iterator[str]:
    """What the marks mean that a sheet of these rows has."""
    cells = [cell for row in rows for cell in row.cells]
    base = any(system.is_base and system.is_reference for system in table.systems)
    whose = "base of its own model" if table.reference == OWN else "base"
    to = whose if base else f"reference, {table.reference}"
    intervals = "interval" in show and any(cell.low is not None for cell in cells)
    differences = "difference" in show and any(cell.difference for cell in cells)
    if intervals or differences:
        yield f"[…] 95 % interval over {resampled(len(system.seeds) for system in table.systems)}" + (
            f"; with + or {MINUS}: paired difference to the {to}" if differences else ""
        )
    if show and any(cell.loss_at_most is not None for cell in cells):
        yield f"loses {AT_MOST} x: a larger loss to the {to} is excluded at 95 % (one-sided, paired); pt: hundredths"
    yield from claims_of(cells, f"the {to}")
    yield from ranks_of(table, rows, show)
    marks = []
    if any(row.higher_is_better is not None for row in rows):
        marks.append(f"{ARROWS[True]} higher, {ARROWS[False]} lower is better")
    if any(cell.value is None for cell in cells):
        marks.append(f"{DASH} not measured")
    if marks:
        yield "; ".join(marks)
    if any(system.flags for system in table.systems):
        yield "FLAGGED: its texts are no answers to the prompts, by far more than the base's; it is never best"


def claims_of(cells: Sequence[TableCell], reference: str) -> Iterator[str]:
    """What the daggers that stand among some cells mean."""
    corrected = "p ≤ 0.05, Holm's correction over the systems"
    claims = {cell.claim for cell in cells}
    if "method" in claims:
        yield f"{DAGGER} the method differs from {reference}: {corrected}"
    if "training" in claims:
        yield (
            f"{DOUBLE_DAGGER} this one training differs from {reference}: {corrected}; with one seed, nothing "
            "is known of another training"
        )


def ranks_of(table: Table, rows: Sequence[MetricRow], show: Sequence[Part]) -> Iterator[str]:
    """What the marks of the best that stand in some rows mean, and the ranks."""
    cells = [cell for row in rows for cell in row.cells]
    standings = {cell.standing for cell in cells}
    shown = "rank" in show and any(row.primary and cell.n_ranked for row in rows for cell in row.cells)
    together = "all pairs of systems together, 95 %"
    marks = []
    if "best" in standings:
        marks.append("*")
        yield f"* best: clearly better than every other ({together})"
    if "may_be_best" in standings:
        marks.append(MAYBE)
        yield f"{MAYBE} may be best: none is clearly better (compared with the best, 95 %)"
    if shown:
        marks.append("ranks")
        yield f"1st{DASH}2nd of {max(cell.n_ranked or 0 for cell in cells)}: the ranks that it may have ({together})"
    if marks and (single := [system.label for system in table.systems if system.is_one_training]):
        whose = listed(single, _NAMED)
        which = f"{', '.join(marks[:-1])} and ranks" if shown and len(marks) > 1 else ", ".join(marks)
        is_one = len(marks) == 1 and not shown
        yield f"With one seed, {which} {'is' if is_one else 'are'} about this training, not about the method: {whose}"
