"""The rows of a table: each system's figure, and what it is compared with."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from bench.errors import MissingError
from bench.stats import Difference, Systems, holm
from bench.store.record import Metric
from reports.table.cells import WHOLE, MetricRow, TableCell, clean, verdict
from reports.table.columns import Column, Notes
from reports.table.standing import claim_of, with_ranks
from reports.table.utility import with_losses

_BLANK = 0.05
"""The share of blank texts from which on a figure says that it rests on some."""


def make_row(
    metric: Metric, columns: Sequence[Column], reference: int | None, notes: Notes, flagged: Collection[int] = ()
) -> MetricRow:
    """One metric over all systems; with a reference, the differences to it and what Holm's correction leaves.

    The systems at the places `flagged` are never best: their texts are no answers.
    """
    relative = metric.difference == "ratio"
    evidences = [column.evidence(metric.key) for column in columns]
    systems = Systems(evidences, trained=[column.is_trained for column in columns])
    cells = [_cell(metric.key, column, systems, place, notes) for place, column in enumerate(columns)]
    if reference is not None:
        cells = _compared(metric, cells, columns, systems, reference, notes)
        cells = with_losses(metric, cells, systems, reference)
    may_win = [place for place in range(len(cells)) if place not in flagged]
    labels = [column.label for column in columns]
    cells, left_out = with_ranks(cells, systems, may_win, labels, higher_is_better=metric.higher_is_better)
    for text in left_out:
        notes.add(f"{metric.key}: {text}")
    return MetricRow(
        clean(metric.task, WHOLE),
        clean(metric.group, WHOLE) if metric.group else None,
        clean(metric.name, WHOLE),
        metric.higher_is_better,
        relative,
        tuple(cells),
        metric.role,
        metric.primary,
        scorer=clean(metric.scorer, WHOLE) if metric.scorer else None,
    )


def _compared(
    metric: Metric,
    cells: list[TableCell],
    columns: Sequence[Column],
    systems: Systems,
    reference: int,
    notes: Notes,
) -> list[TableCell]:
    """The cells with their differences to the reference, and what Holm's correction over them leaves."""
    others = [place for place in range(len(cells)) if place != reference]
    for place in others:
        cells[place] = replace(cells[place], n_failed_reference=cells[reference].n_failed)
        found = _difference(metric, systems, place, reference)
        if found is None:
            continue
        marks = cells[place].footnotes
        if found.n_left_out:
            text = f"Differences on what both systems have: {found.n_left_out} prompts or questions are left out."
            marks = (*marks, notes.add(text))
        judged = verdict(found, higher_is_better=metric.higher_is_better)
        tested = systems.significance(place, reference)
        cells[place] = replace(
            cells[place], difference=found, verdict=judged, p_value=tested.p, test=tested.test, footnotes=marks
        )
    for place, p in zip(others, holm([cells[place].p_value for place in others]), strict=True):
        claim = claim_of(p, [columns[place], columns[reference]], failed=bool(cells[place].failed_of_both))
        cells[place] = replace(cells[place], p_holm=p, claim=claim)
    return cells


def _cell(key: str, column: Column, systems: Systems, place: int, notes: Notes) -> TableCell:
    """A system's figure and its interval, from the evidence: a record's own may be of an older rule."""
    metrics = column.metrics(key)
    failed = sum(metric.n_failed for metric in metrics)
    marks = (
        (notes.add(f"{column.label}: {failed} observations failed: they are in no mean, and it is not publishable."),)
        if failed
        else ()
    )
    blank = column.blank(key)
    if blank > _BLANK:
        marks = (*marks, notes.add(f"{column.label}: up to {blank:.0%} of the texts are blank."))
    if len(metrics) < len(column.runs) or any(metric.value is None for metric in metrics):
        return TableCell(None, n_failed=failed, footnotes=marks)
    values = [metric.value for metric in metrics if metric.value is not None]
    ends = systems.interval(place)
    low, high = (ends.low, ends.high) if ends else (None, None)
    return TableCell(sum(values) / len(values), low, high, failed, footnotes=marks)


def _difference(metric: Metric, systems: Systems, a: int, b: int) -> Difference | None:
    """`a - b`; without evidence of both there is none: two figures alone do not say what is chance."""
    try:
        return systems.difference(a, b, relative=metric.difference == "ratio")
    except MissingError:  # nothing in common, or relative to 0
        return None
