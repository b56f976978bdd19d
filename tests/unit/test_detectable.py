"""The smallest difference that a table finds stands under it."""

from types import SimpleNamespace

import pytest
from synthetic import evidence

from bench.stats import Difference
from reports.table.cells import MetricRow, TableCell
from reports.table.detectable import detectable_notes


def row(*halves: float | None, role="attribute", primary=True, group=None, scorer=None, name="toxic_fraction"):
    gaps = [None if half is None else Difference(-0.1, -0.1 - half, -0.1 + half, 64, 0) for half in halves]
    cells = (TableCell(0.2), *(TableCell(0.1, difference=gap) for gap in gaps))
    return MetricRow("rtp", group, name, False, False, cells, role, primary, scorer=scorer)


@pytest.mark.parametrize("halves", [(0.1,), (0.05, 0.1, 0.4)])
def test_it_is_a_median_half_width_and_what_80_percent_take(halves):
    """(z_0.975 + z_0.8) / z_0.975 = 2.8016 / 1.9600."""
    notes = detectable_notes(
        [row(0.9, primary=False), row(0.9, scorer="svm"), row(0.9, group="toxic"), row(*halves)], []
    )
    assert notes == [
        f"Smallest difference of toxic_fraction that one comparison of this size finds with 80 %: {0.1 * 1.42939:.2g}."
    ]


@pytest.mark.parametrize("rows", [[], [row(None)], [row(0.1, role="utility")], [row()]])
def test_without_an_interval_there_is_none(rows):
    assert detectable_notes(rows, []) == []


@pytest.mark.parametrize(
    ("half", "bounded", "told"),
    [(0.9, True, "none, as it cannot differ by more than 1"), (0.9, False, "1.3"), (0.6, True, "0.86")],
)
def test_a_share_differs_by_no_more_than_1(half, bounded, told):
    column = SimpleNamespace(evidence=lambda _: [evidence([[0.2]], bounded=bounded)])
    (note,) = detectable_notes([row(half)], [column])
    assert note.endswith(f" finds with 80 %: {told}.")
