"""Bars in rows: a system each, in panes that share the names."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from reports.columns import Column
from reports.figures.style import BASE, INK, Look, dash, look, short

_ROW = 0.132  # inches: a line of text and a little
_NAME = 20
_THICK = 0.66


def rows_height(count: int, around: float) -> float:
    """Inches that a pane of so many rows needs, with what stands around it."""
    return max(count, 2) * _ROW + around


def looks_of(columns: Sequence[Column]) -> list[Look]:
    """The look of each system: the base's own, the others' by their place among them."""
    others = [column.label for column in columns if column.method != "none"]
    return [look(others.index(column.label)) if column.method != "none" else BASE for column in columns]


def draw_rows(axes: Axes, columns: Sequence[Column], values: Sequence[float | None]) -> None:
    """Draw a bar a system, the first on top; a dash where there is no value."""
    for row, (value, own) in enumerate(zip(values, looks_of(columns), strict=True)):
        if value is None:
            dash(axes, 0.03, row, transform=axes.get_yaxis_transform())
            continue
        axes.barh(
            row, value, height=_THICK, facecolor="white" if own is not BASE else "#bbbbbb", edgecolor=own.colour,
            hatch=own.hatch, linewidth=0.8,
        )  # fmt: skip
    axes.set_ylim(len(columns) - 0.4, -0.6)
    axes.set_yticks(range(len(columns)), [short(column.label, _NAME) for column in columns])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_color(INK)
