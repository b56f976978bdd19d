"""Whether a task says anything of a model: is the base above what answers without a model have on the same questions?

A model at chance has nothing to lose, so an edit's "loss" there is noise. Where the lower end of the one-sided 95 %
interval of the base's figure is not above the largest of its baselines, the metric has no signal. It is shown, and is
in no mean, budget, front or gate.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.stats import Systems, average
from bench.store.record import Evidence, Metric
from bench.store.runs import Run

_BASE = "none"


@dataclass(frozen=True)
class Signal:
    """What a model's figure is against answers without a model.

    Attributes:
        key: The metric.
        value: Its figure, averaged over seeds.
        low: Lower end of its one-sided 95 % interval, or None.
        baselines: What answers without a model have.
    """

    key: str
    value: float
    low: float | None
    baselines: dict[str, float]

    @property
    def is_there(self) -> bool:
        """Whether the figure is above all of them."""
        return self.low is not None and self.low > max(self.baselines.values())


def signal(metric: Metric, evidences: Sequence[Evidence]) -> Signal | None:
    """The signal of a metric by the evidence of a model, one entry a seed; None where nothing can be compared."""
    value = average(evidences) if evidences else None
    if not metric.baselines or value is None:
        return None
    ends = Systems([evidences]).one_sided().interval(0)
    return Signal(metric.key, value, ends.low if ends else None, dict(metric.baselines))


def signals(runs: Iterable[Run]) -> dict[str, Signal]:
    """The signal of each metric that has baselines, by the base's runs; nothing where there are none of the base."""
    finished = [run for run in runs if run.method == _BASE and run.result]
    found: dict[str, Signal] = {}
    for metric in finished[0].result.metrics if finished and finished[0].result else ():
        if metric.baselines and all(metric.key in run.evidence for run in finished):
            own = signal(metric, [run.evidence[metric.key] for run in finished])
            found |= {metric.key: own} if own else {}
    return found


def without_signal(runs: Iterable[Run]) -> frozenset[str]:
    """The metrics of which the base's figure is not above what answers without a model have."""
    return frozenset(key for key, found in signals(runs).items() if not found.is_there)
