"""What figures read from records, beyond what a table holds."""

from collections.abc import Sequence

from bench.errors import MissingError, UsageError, did_you_mean
from bench.store.record import Metric
from bench.store.runs import Run
from reports.cells import clean

_LISTED = 4


def metrics_of(runs: Sequence[Run]) -> dict[str, Metric]:
    """The metrics of all finished runs by key, in the order in which they appear."""
    found: dict[str, Metric] = {}
    for run in runs:
        for metric in run.result.metrics if run.result else ():
            found.setdefault(metric.key, metric)
    return found


def metric_key(runs: Sequence[Run], name: str, task: str, *, needed: bool = True) -> str:
    """The key of a task's metric over all of its data, or over the first group where no run has that.

    Raises:
        UsageError: the task has no such metric, and it is `needed`.
        MissingError: no run has the task, and it is `needed`.
    """
    there = [metric for metric in metrics_of(runs).values() if metric.task == task]
    found = [metric for metric in there if metric.name == name]
    for metric in sorted(found, key=lambda metric: metric.group is not None):
        return metric.key
    if not needed:
        return ""
    if there:
        raise UsageError(f"'{task}' has no metric '{name}'", mend=did_you_mean(name, {one.name for one in there}))
    if not any(run.result for run in runs):
        raise MissingError("none of these runs has finished", mend="'bench run' goes on with a cell where it stopped")
    raise MissingError(f"these runs have not measured '{task}'", mend=f"take a suite with the task '{task}'")


def named(key: str) -> str:
    """A metric's key as an axis tells it: `rtp/toxic/toxic_fraction` is "toxic fraction (toxic prompts)"."""
    _, *group, name = clean(key).split("/")
    told = name.replace("_", " ")
    return f"{told} ({group[0]} prompts)" if group else told


def listed(names: Sequence[str]) -> str:
    """Some names in a row, and how many more there are."""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"{', '.join(clean(name, 40) for name in names[:_LISTED])}{more}"
