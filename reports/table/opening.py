"""The table that is printed where no layout is asked for."""

from collections.abc import Sequence

from bench.store.runs import Run
from reports.table.cells import Table
from reports.table.layout import Layout, arrange, load_layout
from reports.table.models import across
from reports.table.order import sort
from reports.table.sheet import Sheet

_ORDER = ("brief", "full")


def arranged(
    runs: Sequence[Run],
    layout: Layout | None = None,
    *,
    sort_by: str | None = None,
    against: str | None = None,
    force: bool = False,
) -> tuple[Table, Sheet]:
    """The table of some runs, and how it is laid out.

    Args:
        runs: The runs.
        layout: What to show; None for `brief`, or `full` where the runs have measured nothing of that.
        sort_by: A metric's key, in place of the layout's order of the systems.
        against: As for `build`.
        force: As for `build`.

    Raises:
        MissingError: as `build` and `arrange`.
        UsageError: as `build` and `arrange`.
    """
    for shown in [layout] if layout else map(load_layout, _ORDER):
        table = across(runs, against, wanted=shown.wants, force=force)
        if table.rows or shown.name == _ORDER[-1]:
            break
    if sort_by:
        table, shown = sort(table, sort_by), shown.model_copy(update={"sort": None})
    return table, arrange(table, shown)
