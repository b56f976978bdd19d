"""Bars in rows: a system each, in panes that share the names."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from reports.plots.style import INK, dash, shorts
from reports.table.columns import Column

_ROW = 0.132  # inches: a line of text and a little
_THICK = 0.66
_BASE, _OTHERS = "#9a9a9a", "#7fc3ec"
NAME = {False: 22, True: 36}
"""Characters of a name, in a column's and a text's width."""


def rows_height(count: int, around: float) -> float:
    """Inches that a pane of so many rows needs, with what stands around it."""
    return max(count, 2) * _ROW + around


def draw_rows(axes: Axes, columns: Sequence[Column], values: Sequence[float | None], limit: int) -> None:
    """Draw a bar a system, the first on top; a dash where there is no value; names are cut to `limit`."""
    for row, (column, value) in enumerate(zip(columns, values, strict=True)):
        if value is None:
            dash(axes, 0.03, row, transform=axes.get_yaxis_transform())
        else:
            axes.barh(row, value, height=_THICK, color=_BASE if column.method == "none" else _OTHERS, linewidth=0)
    axes.set_ylim(len(columns) - 0.4, -0.6)
    axes.set_yticks(range(len(columns)), shorts([column.label for column in columns], limit))
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_color(INK)
