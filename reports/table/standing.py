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


def claim_of(p: float | None, sides: Sequence[Column], *, failed: bool) -> Claim | None:
    """What a corrected p-value says: nothing, that the methods differ, or that these trainings do.

    One training of a method does not say what another would do: where either side is one, it is the training that
    differs.
    """
    if p is None or p > ALPHA or failed:
        return None
    return "training" if any(side.is_one_training for side in sides) else "method"


def with_ranks(
    cells: Sequence[TableCell], systems: Systems, may_win: Sequence[int], *, higher_is_better: bool | None
) -> list[TableCell]:
    """The cells with the ranks that each may have, and which of them may be the best.

    Ranked are the systems at the places `may_win`. A figure of which an observation failed stands nowhere: it might be
    any.
    """
    found = list(cells)
    placed = [place for place in may_win if cells[place].value is not None and not cells[place].n_failed]
    if higher_is_better is None or len(placed) < _FEWEST:
        return found
    try:
        ranks = systems.ranks(placed, higher_is_better=higher_is_better)
    except MissingError:  # no evidence, or nothing in common: two figures alone do not say what is chance
        return found
    for place, one in zip(placed, ranks, strict=True):
        standing: TableStanding | None = "best" if one.is_best else "may_be_best" if one.may_be_best else None
        found[place] = replace(cells[place], rank_low=one.low, rank_high=one.high, n_ranked=one.of, standing=standing)
    return found
