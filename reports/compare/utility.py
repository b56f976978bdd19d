"""What a comparison says of utility: the most that may be lost, and nothing where the base has no signal."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.stats import Systems
from bench.stats.noninferiority import loss_at_most
from bench.store.record import Metric
from reports.table.signal import Signal

if TYPE_CHECKING:
    from reports.compare.comparison import Change


def most_lost(metric: Metric, systems: Systems) -> float | None:
    """The most that the second of two systems may have lost to the first; None for what is no metric of utility."""
    if metric.role != "utility" or metric.higher_is_better is None:
        return None
    relative = metric.difference == "ratio"
    return loss_at_most(systems, 1, 0, higher_is_better=metric.higher_is_better, relative=relative)


def judged(changes: "Sequence[Change]", found: Mapping[str, Signal]) -> "list[Change]":
    """The changes; of one without signal nothing is said, and of one with failed measurements no largest loss."""
    return [_judged(one, found.get(one.key)) for one in changes]


def _judged(one: "Change", own: Signal | None) -> "Change":
    if own and not own.is_there:
        return replace(one, verdict=None, claim=None, loss_at_most=None, has_signal=False)
    return replace(one, loss_at_most=None if one.n_failed else one.loss_at_most, has_signal=True if own else None)
