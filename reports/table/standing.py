"""What the tests of a row allow to be said: of a difference, and of a rank."""

from collections.abc import Sequence
from dataclasses import replace

from bench.errors import MissingError
from bench.stats import Systems
from reports.table.cells import Claim, TableCell, TableStanding
from reports.table.columns import Column

ALPHA = 0.05
"""The familywise error rate that Holm's correction keeps, over the systems that a row compares with another."""
_FEWEST = 2
_MAY_LACK = 0.05
"""The share of what any system was observed on that a ranked one may lack: ranks are over what all of them have."""


def claim_of(p: float | None, sides: Sequence[Column], *, failed: bool) -> Claim | None:
    """What a corrected p-value says: nothing, that the methods differ, or that these trainings do.

    One training of a method does not say what another would do: where either side is one, it is the training that
    differs.
    """
    if p is None or p > ALPHA or failed:
        return None
    return "training" if any(side.is_one_training for side in sides) else "method"


def with_ranks(
    cells: Sequence[TableCell],
    systems: Systems,
    may_win: Sequence[int],
    labels: Sequence[str],
    *,
    higher_is_better: bool | None,
) -> tuple[list[TableCell], list[str]]:
    """The cells with the ranks that each may have, and which of them may be the best.

    Ranked are the systems at the places `may_win`. A figure of which an observation failed stands nowhere: it might be
    any. Nor does that of a system that lacks much of what others have: it is about other prompts.

    Args:
        cells: The cells.
        systems: The same systems' evidence.
        may_win: The places of those that are not flagged.
        labels: What the systems are called.
        higher_is_better: The direction.

    Returns:
        The cells, and which systems and prompts the ranks leave out for that.
    """
    found = list(cells)
    placed = [place for place in may_win if cells[place].value is not None and not cells[place].n_failed]
    if higher_is_better is None or len(placed) < _FEWEST:
        return found, []
    placed, left_out = _alike(systems, placed, labels)
    try:
        ranks = systems.ranks(placed, higher_is_better=higher_is_better) if len(placed) >= _FEWEST else []
    except MissingError:  # no evidence, or nothing in common: two figures alone do not say what is chance
        return found, []
    for place, one in zip(placed if ranks else (), ranks, strict=True):
        standing: TableStanding | None = "best" if one.is_best else "may_be_best" if one.may_be_best else None
        found[place] = replace(cells[place], rank_low=one.low, rank_high=one.high, n_ranked=one.of, standing=standing)
    return found, left_out


def _alike(systems: Systems, places: Sequence[int], labels: Sequence[str]) -> tuple[list[int], list[str]]:
    """The systems that lack little of what others have, and what a reader must know of that."""
    observed = {place: systems.observed(place) for place in places}
    every: set[str] = set().union(*observed.values())
    lacking = {place: len(every) - len(own) for place, own in observed.items()}
    kept = [place for place in places if lacking[place] <= _MAY_LACK * len(every)]
    of = f"of {len(every)} prompts or questions"
    told = [f"{labels[place]} is not ranked: it lacks {lacking[place]} {of}." for place in places if place not in kept]
    gone = len(every) - len(every.intersection(*(observed[place] for place in kept)))
    if gone and len(kept) >= _FEWEST:
        told.append(f"ranks are over what all ranked systems have: {gone} {of} are left out.")
    return kept, told
