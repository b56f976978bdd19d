"""Which metrics speak for a role: what the tasks declared of them, never their names."""

from collections.abc import Iterable, Sequence

from bench.store.record import Metric, Role
from bench.store.runs import Run


def shared_metrics(runs: Sequence[Run]) -> list[Metric]:
    """The metrics that every finished run has, in the order of the first."""
    measured = [run.result.metrics for run in runs if run.result]
    keys = set.intersection(*({metric.key for metric in metrics} for metrics in measured)) if measured else set()
    return [metric for metric in measured[0] if metric.key in keys] if measured else []


def all_metrics(runs: Sequence[Run]) -> list[Metric]:
    """The metrics of all finished runs, each key once, in the order in which they appear."""
    measured: dict[str, Metric] = {}
    for run in runs:
        for metric in run.result.metrics if run.result else ():
            measured.setdefault(metric.key, metric)
    return list(measured.values())


def primary(metrics: Iterable[Metric], role: Role) -> Metric | None:
    """The metric that speaks for a role: the first primary one, over all of its data where that was measured.

    What a further scorer says speaks for none.

    None where no task has declared one.
    """
    candidates = [metric for metric in metrics if metric.role == role and metric.primary and metric.scorer is None]
    return min(candidates, key=lambda metric: metric.group is not None, default=None)


def by_scorers(metrics: Sequence[Metric]) -> Metric | None:
    """The metric that speaks for what several scorers say: the attribute's, or a side effect's where none scores that.

    None where no further scorer has measured a primary one.
    """
    further = {(metric.task, metric.group, metric.name) for metric in metrics if metric.scorer is not None}
    measured = [metric for metric in metrics if (metric.task, metric.group, metric.name) in further]
    return primary(measured, "attribute") or primary(measured, "safety")


def tasks_of(metrics: Iterable[Metric], role: Role) -> list[str]:
    """The tasks that measure a role, in order."""
    return list(dict.fromkeys(metric.task for metric in metrics if metric.role == role))
