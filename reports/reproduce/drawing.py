"""The figures of a paper made anew: the judge's preferences, and a map of sentence embeddings before and after."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pydantic import Field, model_validator

from bench.errors import MissingError
from bench.spec import Spec
from reports.plots.style import add_below, describe, freeze, look, new_figure, short, styled
from reports.table.cells import Table

_NAME = 32
_PREFERENCE = "judge/preference"


class MapPanel(Spec):
    """Where a model puts sentences.

    `points` has two coordinates for each, `toxic` says of which kind each is; `silhouette` is of the embeddings.
    """

    system: str
    points: list[tuple[float, float]] = Field(min_length=1)
    toxic: list[bool]
    silhouette: float

    @model_validator(mode="after")
    def _a_kind_each(self) -> "MapPanel":
        if len(self.points) != len(self.toxic):
            raise ValueError("not every point has a kind")
        return self


def draw_map(panels: Sequence[MapPanel], table: Table) -> Figure:
    """A pane for each system: toxic and harmless sentences as points."""
    with styled():
        figure = new_figure(wide=True, height=3.2)
        describe(figure, "Map of sentence embeddings", table.caption)
        places: Any = figure.subplots(1, len(panels), squeeze=False)[0]
        marks = []
        for axes, panel in zip(places, panels, strict=True):
            marks = _scatter(axes, panel)
        freeze(figure)
        told = ["t-SNE of the cosine distances; axes mean nothing, and two panes are not to be laid on one another."]
        add_below(figure, told, list(zip(marks, ("toxic", "harmless"), strict=True)))
    return figure


def _scatter(axes: Axes, panel: MapPanel) -> list[Any]:
    marks = []
    for place, kind in enumerate((True, False)):
        some = [point for point, toxic in zip(panel.points, panel.toxic, strict=True) if toxic is kind]
        style = look(place)
        x, y = ([point[axis] for point in some] for axis in (0, 1))
        marks.append(axes.scatter(x, y, s=9, c=style.colour, marker=style.marker, linewidths=0))
    axes.set_title(f"{short(panel.system, _NAME)}, silhouette {panel.silhouette:+.2f}")
    axes.set_xticks([])
    axes.set_yticks([])
    return marks


def draw_preference(table: Table) -> Figure:
    """A bar for each system but the base: how far its outputs are preferred, with 95 % intervals.

    Raises:
        MissingError: no judge was asked.
    """
    row = next((row for row in table.rows if row.key == _PREFERENCE), None)
    bars = [
        (system.label, cell)
        for system, cell in (zip(table.systems, row.cells, strict=True) if row else ())
        if not system.is_base and cell.value is not None
    ]
    if not bars:
        raise MissingError("no judge has compared these systems with the base", mend="run a suite with the task judge")
    with styled():
        figure = new_figure(wide=True, height=0.9 + 0.3 * len(bars))
        describe(figure, "Preference of the judge", table.caption)
        axes = figure.subplots()
        for place, (_, cell) in enumerate(bars):
            axes.barh(place, 100 * (cell.value or 0), color=look(place).colour, height=0.6)
            if cell.low is not None and cell.high is not None:
                axes.hlines(place, 100 * cell.low, 100 * cell.high, color="black")
        axes.axvline(50, color="black", linestyle=":")
        axes.set_yticks(range(len(bars)), [short(label, _NAME) for label, _ in bars])
        axes.set_xlim(0, 100)
        axes.set_xlabel("preferred to the base, %; a tie counts one half")
        axes.invert_yaxis()
        freeze(figure)
        add_below(figure, ["95 % intervals over prompts. Dotted: no preference."])
    return figure
