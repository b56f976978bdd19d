"""Whether a record may be believed: its figures must follow from its evidence, and its files must belong together."""

import math
from collections.abc import Iterator, Mapping

from bench.errors import MissingError
from bench.stats.estimate import value
from bench.store.record import Evidence, Metric, Result, TaskResult
from bench.store.runs import Run

_CLOSE = 1e-6


def faults(run: Run) -> list[str]:
    """What is wrong with a finished run's record; nothing where it may be believed, or has not finished.

    It costs one pass over the evidence. It finds what was edited, cut or mixed up; somebody who writes figures and
    evidence that fit each other is not found out.
    """
    if run.result is None:
        return []
    try:
        return list(_faults(run, run.result))
    except MissingError as error:  # a damaged file of evidence
        return [error.what]


def _faults(run: Run, result: Result) -> Iterator[str]:
    if (result.run_id, result.key) != (run.manifest.run_id, run.manifest.key):
        yield "its result.json is another run's"
        return
    measured = {metric.key: metric for task in run.tasks.values() for metric in task.metrics}
    recorded = {metric.key: metric for metric in result.metrics}
    if len(recorded) < len(result.metrics):
        yield "a metric stands in it twice"
    if run.tasks:
        apart = [key for key in {**measured, **recorded} if measured.get(key) != recorded.get(key)]
        yield from (f"{key} is not what was measured" for key in apart)
    if result.publishable and any(metric.n_failed for metric in result.metrics):
        yield "it is called publishable, and measurements failed"
    yield from task_faults(TaskResult.model_construct(metrics=result.metrics, evidence=run.evidence))


def task_faults(task: TaskResult) -> Iterator[str]:
    """Which figures are not what their evidence gives."""
    yield from (
        f"{metric.key} is not what its evidence gives" for metric in task.metrics if not _follows(metric, task.evidence)
    )


def _follows(metric: Metric, behind: Mapping[str, Evidence]) -> bool:
    """Whether a figure, its count and the order of its interval fit the evidence; one without evidence is alone."""
    ends = [one for one in (metric.ci_low, metric.value, metric.ci_high) if one is not None]
    if ends != sorted(ends) or not all(map(math.isfinite, ends)):
        return False
    evidence = behind.get(metric.key)
    if evidence is None:
        return metric.ci_low is None and metric.ci_high is None
    if not evidence.value:
        return metric.value is None
    figure = value(evidence)
    if figure is None or metric.value is None or metric.n != len(evidence.value):
        return False
    return abs(figure - metric.value) <= _CLOSE * max(1.0, abs(metric.value))
