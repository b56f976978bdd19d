"""What a table says of utility: whether a task has signal at all, and how much a system may have lost.

A row without signal has no best and no verdict: chance alone moves it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from bench.errors import MissingError
from bench.stats import Systems
from bench.stats.noninferiority import loss_at_most
from bench.store.record import Metric
from reports.table.accuracy import Mean
from reports.table.cells import MetricRow, TableCell
from reports.table.signal import Signal

_OWN = "prior"
"""The baseline that is a model's own: it differs from system to system, and from metric to metric."""


def with_losses(metric: Metric, cells: Sequence[TableCell], systems: Systems, reference: int) -> list[TableCell]:
    """The cells of a metric with the most that each may have lost to the reference, where it is one of utility."""
    if metric.role != "utility" or metric.higher_is_better is None:
        return list(cells)
    return [
        cell
        if cell.difference is None or cell.failed_of_both
        else replace(cell, loss_at_most=_loss(systems, place, reference, metric))
        for place, cell in enumerate(cells)
    ]


def _loss(systems: Systems, place: int, reference: int, metric: Metric) -> float | None:
    try:
        return loss_at_most(
            systems,
            place,
            reference,
            higher_is_better=bool(metric.higher_is_better),
            relative=metric.difference == "ratio",
        )
    except MissingError:  # nothing in common
        return None


def judged(rows: Sequence[MetricRow], metrics: Sequence[Metric], found: Mapping[str, Signal]) -> list[MetricRow]:
    """The rows of some metrics, with what answers without a model have and whether the base is above it."""
    return [_judged(row, metric, found.get(metric.key)) for row, metric in zip(rows, metrics, strict=True)]


def _judged(row: MetricRow, metric: Metric, own: Signal | None) -> MetricRow:
    kept = replace(row, baselines=dict(metric.baselines), has_signal=own.is_there if own else None)
    return replace(kept, cells=tuple(map(_silent, row.cells))) if own and not own.is_there else kept


def _silent(cell: TableCell) -> TableCell:
    """A cell of a metric without signal: the figure stands, nothing is made of it."""
    unranked = replace(cell, rank_low=None, rank_high=None, n_ranked=None, standing=None)
    return replace(unranked, verdict=None, claim=None, loss_at_most=None)


def notes_of(rows: Sequence[MetricRow], found: Mapping[str, Signal]) -> Iterator[str]:
    """Footnotes: what answers without a model have on each task's questions, and which rows have no signal."""
    by_task: dict[str, dict[str, float]] = {}
    for row in rows:
        alike = {name: share for name, share in row.baselines.items() if name != _OWN}
        by_task[row.task] = {**by_task.get(row.task, {}), **alike}
    for task, baselines in by_task.items():
        if baselines:
            yield f"{task}: answers without a model, on the same questions: {_told(baselines)}."
    for row in rows:
        own = found.get(row.key)
        if own and not own.is_there:
            low = "unknown" if own.low is None else f"{own.low:.3f}"
            yield (
                f"{row.key}: no signal, in no mean: the base's {own.value:.3f} (one-sided 95 %: from {low}) is not"
                f" above what answers without a model have ({_told(own.baselines)})."
            )


def mean_note(mean: Mean) -> str | None:
    """The footnote of the mean over the tasks, or of why there is none."""
    name = mean.metric.name.replace("_", " ").capitalize()
    reasons = {"without signal": mean.left_out, "no share of which more is better": mean.unlike}
    told = [f"{why}, and so not in it: {', '.join(keys)}" for why, keys in reasons.items() if keys]
    if not mean.keys and not told:
        return None
    over = f"over {', '.join(mean.keys)}" if mean.keys else "there is none"
    return f"{name}: {'; '.join((over, *told))}."


def _told(baselines: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {share:.3f}" for name, share in baselines.items())
