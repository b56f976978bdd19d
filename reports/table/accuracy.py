"""The mean over a suite's lm-eval tasks of what speaks for utility: one figure, with evidence like any other.

Each task has the same weight. A task of which the base is not above what answers without a model have is left out
(`reports.table.signal`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.stats import value
from bench.store.record import Evidence, Metric
from bench.store.runs import Run
from reports.table.roles import shared_metrics
from reports.table.signal import without_signal

MEAN_TASK = "lm_eval"
"""What the mean has in place of a task's name."""
_PROBABILITIES = ("gold_probability", "gold_probability_norm")


@dataclass(frozen=True)
class Mean:
    """What the mean is over.

    Attributes:
        metric: What the mean is, before it is taken.
        keys: The metrics that it is over, one a task.
        left_out: Those of tasks without signal.
    """

    metric: Metric
    keys: tuple[str, ...]
    left_out: tuple[str, ...] = ()


def mean_of(runs: Sequence[Run]) -> Mean:
    """The mean that some runs have: of each task that all finished ones have, its primary metric of utility."""
    tasks: dict[str, Metric] = {}
    for metric in shared_metrics(runs):
        if metric.role == "utility" and metric.primary and metric.group is None:
            tasks.setdefault(metric.task, metric)
    silent = without_signal(runs)
    taken = [metric for metric in tasks.values() if metric.key not in silent]
    left_out = tuple(metric.key for metric in tasks.values() if metric.key in silent)
    name = _name(taken)
    found = Metric(
        task=MEAN_TASK,
        name=name,
        value=None,
        n=0,
        higher_is_better=True,
        role="utility",
        difference="absolute",
        primary=True,
        within="any",
    )
    return Mean(found, tuple(metric.key for metric in taken), left_out)


def _name(metrics: Sequence[Metric]) -> str:
    """What the mean is called: by the one metric that all tasks have; all that is right or wrong is an accuracy."""
    names = {metric.name if metric.name in _PROBABILITIES else "accuracy" for metric in metrics}
    return f"mean_{names.pop()}" if len(names) == 1 else "mean_utility" if names else "mean_accuracy"


def taken_over(run: Run, mean: Mean) -> tuple[Metric, Evidence | None]:
    """The mean of a run; it has no value where a task lacks or failed in part.

    The metric has no interval: a table draws that of all its systems at once.
    """
    metrics = [metric for metric in (run.result.metrics if run.result else ()) if metric.key in mean.keys]
    failed = sum(metric.n_failed for metric in metrics)
    evidence = None if failed or len(metrics) < len(mean.keys) else _pooled(run, mean.keys)
    measured = {
        "value": value(evidence) if evidence else None,
        "n": sum(metric.n for metric in metrics),
        "n_failed": failed,
    }
    return mean.metric.model_copy(update=measured), evidence


def _pooled(run: Run, keys: Sequence[str]) -> Evidence | None:
    """The evidence of all tasks as one whose mean is the mean over the tasks; None where one has none."""
    if not all(key in run.evidence for key in keys):
        return None
    ids: list[str] = []
    cluster: list[int] = []
    observed: list[float] = []
    weight: list[float] = []
    for key in keys:
        one = run.evidence[key]
        cluster.extend(len(ids) + index for index in one.cluster)
        ids.extend(f"{key}\n{name}" for name in one.cluster_ids)
        observed.extend(one.value)
        total = sum(one.weight) if one.weight else len(one.value)
        weight.extend((share / total for share in one.weight) if one.weight else [1 / total] * len(one.value))
    return Evidence(statistic="mean", bounded=True, cluster_ids=ids, cluster=cluster, value=observed, weight=weight)
