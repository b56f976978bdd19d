"""Which questions two systems answer differently."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from bench.stats.estimate import observations
from bench.store.record import Evidence, Metric
from reports.table.cells import WHOLE, clean
from reports.table.columns import Column

_HALF = 0.5
_OF_ANSWERS = ("attribute", "safety", "utility")
"""Roles of metrics of right and wrong; how texts read may be 0 or 1 everywhere as well, and answers no question."""


@dataclass(frozen=True)
class Answers:
    """What became of one task's questions under one metric of right and wrong.

    Attributes:
        key: The metric.
        n: Questions that both answered.
        lost: Ids of those that a has right and b wrong; with several seeds, by the majority of them.
        gained: Ids of those that b has right and a wrong.
        only_one: Questions that only one of the two has.
    """

    key: str
    n: int
    lost: tuple[str, ...]
    gained: tuple[str, ...]
    only_one: int


def answers_of(metric: Metric, a: Column, b: Column) -> Answers | None:
    """Which questions flipped; None where the metric is not of right and wrong, one answer a question."""
    sides = [side.evidence(metric.key) for side in (a, b)]
    if metric.role not in _OF_ANSWERS or not metric.higher_is_better or not all(sides):
        return None
    if not all(_is_answer(one) for side in sides for one in side):
        return None
    right = [_right(side) for side in sides]
    both = sorted(right[0].keys() & right[1].keys())
    return Answers(
        key=clean(metric.key, WHOLE),
        n=len(both),
        lost=tuple(clean(one, 80) for one in both if right[0][one] and not right[1][one]),
        gained=tuple(clean(one, 80) for one in both if right[1][one] and not right[0][one]),
        only_one=len(right[0].keys() ^ right[1].keys()),
    )


def _is_answer(evidence: Evidence) -> bool:
    alone = len(set(evidence.cluster)) == len(evidence.cluster)
    return evidence.statistic == "mean" and alone and set(evidence.value) <= {0.0, 1.0}


def _right(evidences: Sequence[Evidence]) -> dict[str, bool]:
    found: dict[str, list[float]] = defaultdict(list)
    for one in evidences:
        values, _, place = observations(one, one.cluster_ids)
        for value, where in zip(values, place, strict=True):
            found[one.cluster_ids[where]].append(float(value))
    return {name: sum(some) / len(some) >= _HALF for name, some in found.items() if len(some) == len(evidences)}
