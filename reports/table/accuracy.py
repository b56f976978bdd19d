"""The mean accuracy over a suite's lm-eval tasks: one figure of utility, with evidence like any other."""

from collections.abc import Sequence

from bench.stats import value
from bench.store.record import Evidence, Metric
from bench.store.runs import Run
from reports.table.roles import shared_metrics

MEAN = Metric(
    task="lm_eval",
    name="mean_accuracy",
    value=None,
    n=0,
    higher_is_better=True,
    role="utility",
    difference="absolute",
)
"""What the mean is, before it is taken."""


def accuracy_keys(runs: Sequence[Run]) -> tuple[str, ...]:
    """The accuracies that the mean is over: of each task that all finished runs have, its primary metric of utility."""
    tasks: dict[str, str] = {}
    for metric in shared_metrics(runs):
        if metric.role == "utility" and metric.primary and metric.group is None:
            tasks.setdefault(metric.task, metric.key)
    return tuple(tasks.values())


def mean_accuracy(run: Run, keys: Sequence[str]) -> tuple[Metric, Evidence | None]:
    """The mean over the tasks, each with the same weight; it has no value where one lacks or failed in part.

    The metric has no interval: a table draws that of all its systems at once.
    """
    metrics = [metric for metric in (run.result.metrics if run.result else ()) if metric.key in keys]
    failed = sum(metric.n_failed for metric in metrics)
    evidence = None if failed or len(metrics) < len(keys) else _pooled(run, keys)
    measured = {
        "value": value(evidence) if evidence else None,
        "n": sum(metric.n for metric in metrics),
        "n_failed": failed,
    }
    return MEAN.model_copy(update=measured), evidence


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
