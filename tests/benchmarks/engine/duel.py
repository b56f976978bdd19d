"""Two ways of doing the same work, timed in turn in one process, so that a slow minute of the machine hits both."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

Work = Callable[[], tuple[float, float]]
"""Does some work and returns how much it was, in the row's unit, and its seconds."""


def timed(work: Callable[[], float]) -> Work:
    """Work whose seconds are all that it takes; what is to be set up first keeps its own time."""

    def clocked() -> tuple[float, float]:
        started = time.perf_counter()
        done = work()
        return done, time.perf_counter() - started

    return clocked


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: What is done.
        peer: What it is compared with.
        unit: What `ours` and `theirs` return.
        goal: The ratio aimed at.
        ours: Our way.
        theirs: The peer's way.
        check: What the two agree on, as text, computed once after the timing.
    """

    name: str
    peer: str
    unit: str
    goal: float
    ours: Work
    theirs: Work
    check: Callable[[], str] = field(default=lambda: "")


@dataclass(frozen=True)
class Duel:
    """What came of a row: rates in units a second, ratios of one round's two rates."""

    name: str
    peer: str
    unit: str
    goal: float
    ours: float
    theirs: float
    ratio: float
    lowest: float
    highest: float
    rounds: int
    note: str


def fight(row: Row, rounds: int) -> Duel:
    """Time both in turn, `rounds` times after one round that does not count."""
    rates: list[tuple[float, float]] = []
    for number in range(rounds + 1):
        pair = _rate(row.theirs), _rate(row.ours)
        if number:
            rates.append(pair)
    ratios = sorted(ours / theirs for theirs, ours in rates)
    return Duel(
        name=row.name,
        peer=row.peer,
        unit=row.unit,
        goal=row.goal,
        ours=median(ours for _, ours in rates),
        theirs=median(theirs for theirs, _ in rates),
        ratio=median(ratios),
        lowest=ratios[0],
        highest=ratios[-1],
        rounds=rounds,
        note=row.check(),
    )


def _rate(work: Work) -> float:
    done, seconds = work()
    return done / seconds


def markdown(duels: Sequence[Duel]) -> str:
    """The table."""
    lines = ["| what | peer | ours | peer's | ratio (min to max) | at least | note |", "|---|---|---|---|---|---|---|"]
    lines += [
        f"| {one.name} | {one.peer} | {_short(one.ours)} {one.unit}/s | {_short(one.theirs)} {one.unit}/s "
        f"| **{one.ratio:.2f}x** ({one.lowest:.2f} to {one.highest:.2f}) | {one.goal:g}x | {one.note} |"
        for one in duels
    ]
    return "\n".join(lines)


def _short(rate: float) -> str:
    return f"{rate:.0f}" if rate >= 100 else f"{rate:.2g}"


def records(duels: Sequence[Duel]) -> list[dict[str, Any]]:
    """The same for JSON."""
    return [asdict(one) for one in duels]
