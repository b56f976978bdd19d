"""The smallest difference that a table of some size can be expected to find."""

from collections.abc import Iterable, Sequence
from statistics import NormalDist, median

from reports.table.cells import MetricRow, clean
from reports.table.columns import Column

_NORMAL = NormalDist()
_POWER, _LEVEL = 0.8, 0.95
_REACH = 1 + _NORMAL.inv_cdf(_POWER) / _NORMAL.inv_cdf((1 + _LEVEL) / 2)
"""Half-widths of a 95 % interval that a difference must span to be found with a chance of 80 %."""


def detectable_notes(rows: Iterable[MetricRow], columns: Sequence[Column]) -> list[str]:
    """A sentence on the attribute's primary metric; none where no difference of it has an interval.

    A difference is found where its interval excludes 0, which one of (1 + z_0.8 / z_0.975) half-widths is with a chance
    of 80 %. The half-width is the median of those in the row. A figure that lies in [0, 1] by definition differs by 1
    at most.
    """
    speaking = [row for row in rows if row.role == "attribute" and row.primary and row.scorer is None]
    row = min(speaking, key=lambda one: one.group is not None, default=None)
    gaps = [cell.difference for cell in row.cells if cell.difference] if row else []
    halves = [(gap.high - gap.low) / 2 for gap in gaps if gap.low is not None and gap.high is not None]
    if row is None or not halves:
        return []
    least = _REACH * median(halves)
    is_beyond = least >= 1 and all(one.bounded for column in columns for one in column.evidence(row.key))
    told = "none, as it cannot differ by more than 1" if is_beyond else f"{least:.2g}"
    return [f"Smallest difference of {clean(row.name, 60)} that one comparison of this size finds with 80 %: {told}."]
