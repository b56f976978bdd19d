"""The mean over a suite's lm-eval tasks of what speaks for utility: one figure, with evidence like any other.

Each task has the same weight. A task of which the base is not above what answers without a model have is left out
(`reports.table.signal`), and so is what is no share of which more is better: it has no common scale with the others.
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
        unlike: Those that are no shares of which more is better.
    """

    metric: Metric
    keys: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()


def mean_of(runs: Sequence[Run]) -> Mean:
    """The mean that some runs have: of each task that all finished ones have, its primary metric of utility.

    Texts that another programme made have few metrics: they take none from the others, and have no mean.
    """
    here = [run for run in runs if not run.is_elsewhere] or runs
    tasks: dict[str, Metric] = {}
    unlike: list[str] = []
    for metric in shared_metrics(here):
        if metric.role == "utility" and metric.primary and metric.group is None:
            if _is_share(metric, here):
                tasks.setdefault(metric.task, metric)
            else:
                unlike.append(metric.key)
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
    return Mean(found, tuple(metric.key for metric in taken), left_out, tuple(unlike))


def _is_share(metric: Metric, runs: Sequence[Run]) -> bool:
    """Whether a metric lies between 0 and 1, and more is better, as far as the runs' evidence says."""
    known = [run.evidence[metric.key] for run in runs if metric.key in run.evidence]
    is_share = all(one.statistic == "mean" and one.bounded for one in known)
    return is_share and metric.higher_is_better is True and metric.difference == "absolute"


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
    if not all(key in run.evidence and run.evidence[key].value for key in keys):
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
