"""The order of a table's systems, and which metric speaks for a role in it."""

from collections.abc import Sequence
from dataclasses import replace

from bench.errors import UsageError, did_you_mean
from bench.store.record import Role
from reports.table.accuracy import MEAN_TASK
from reports.table.cells import MetricRow, Table


def speaking(rows: Sequence[MetricRow], role: Role) -> MetricRow | None:
    """The row that speaks for a role: the first primary one by the headline scorer.

    Rather the mean over tasks than one of them, and rather a metric over all of a task's data than over a group.
    """
    candidates = [row for row in rows if row.role == role and row.primary and row.scorer is None]
    return min(candidates, key=lambda row: (row.task != MEAN_TASK, row.group is not None), default=None)


def sort(table: Table, by: str) -> Table:
    """The table with its systems in the order of a metric: the base, the others from the best on, flagged ones last.

    Before these come those of which the metric was not measured, and before them those of which observations failed.

    Args:
        table: The table.
        by: A metric's key (`rtp/toxic_fraction`), or `attribute` for what speaks for what the suite controls.

    Raises:
        UsageError: the table has no such metric.
    """
    rows = {row.key: row for row in table.rows}
    row = speaking(table.rows, "attribute") if by == "attribute" else rows.get(by)
    if row is None:
        if by == "attribute":
            return table
        raise UsageError(f"no metric '{by}' to sort by", mend=did_you_mean(by, rows))
    sign = -1 if row.higher_is_better else 1

    def place(number: int) -> tuple[bool, bool, bool, bool, float]:
        system, cell = table.systems[number], row.cells[number]
        unsure = cell.value is None, bool(cell.n_failed)
        return not system.is_base, bool(system.flags), *unsure, sign * (cell.value or 0.0)

    order = sorted(range(len(table.systems)), key=place)
    return replace(
        table,
        systems=tuple(table.systems[number] for number in order),
        rows=tuple(replace(one, cells=tuple(one.cells[number] for number in order)) for one in table.rows),
        runs=tuple(table.runs[number] for number in order) if table.runs else (),
    )
