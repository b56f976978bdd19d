"""A heat map: methods by metrics; the colour says how far each is from the base, the mark what the test allows."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from bench.errors import MissingError
from bench.store.runs import Run
from reports.plots.bars import rows_height
from reports.plots.records import MOST, flagged, named, too_many
from reports.plots.style import INK, SOFT, add_below, describe, freeze, new_figure, short, shorts
from reports.table.cells import OWN, MetricRow, System, Table, TableCell
from reports.table.models import across
from reports.table.roles import all_metrics
from reports.table.sheet import ARROWS, CLAIMS, digits_of, signed

_WORSE, _BETTER = "#D55E00", "#0072B2"
_MOST = 3.0  # half widths of an interval at which a colour is full
_DARK = 2.0  # from here on text is white
_NAME, _HEAD = {False: 18, True: 30}, 44
_LETTER, _FIGURE = 0.055, 0.5  # inches: of a name's letter, of a figure with its mark
_PERCENT = 100


def draw(runs: Sequence[Run], *, wide: bool) -> Figure:
    """Draw the primary metrics of all systems as differences to the base of their model.

    A cell's colour is its difference over half the width of the difference's 95 % interval, turned so that blue is
    better: from 1 on the interval excludes no difference. Colours of different metrics can be compared, for each is
    measured by what the data can tell; how much a method changes, the figures in the cells say.

    Args:
        runs: Runs that may share a table.
        wide: In the width of a page's text.

    Raises:
        MissingError: there is no base, nothing but it, or no metric of which one direction is better.
    """
    primary = {metric.key for metric in all_metrics(runs) if metric.primary and metric.scorer is None}
    table = across(runs, wanted=lambda metric: metric.key in primary)
    rows = [row for row in table.rows if row.higher_is_better is not None]
    others = [place for place, system in enumerate(table.systems) if not system.is_reference][:MOST]
    if not rows or not others or table.reference is None:
        what = "a heat map shows differences to the base"
        raise MissingError(f"{what}, and these runs have none", mend="name the base's run (method none) and another")
    heads = _heads(rows)
    longest = max(map(len, heads))
    figure = new_figure(wide=wide, height=rows_height(len(others), 0.2 + _LETTER * longest))
    describe(figure, "Differences to the base", table.caption)
    axes = figure.subplots()
    names = shorts([table.systems[place].label for place in others], _NAME[wide])
    silenced = [_is_silenced(table, rows, place) for place in others]
    names = [f"{name} !" if marked else name for name, marked in zip(names, silenced, strict=True)]
    each = (figure.get_size_inches()[0] - _LETTER * max(map(len, names))) / len(rows)
    _draw_cells(axes, table, rows, others, figures=each >= _FIGURE)
    axes.set_xticks(range(len(rows)), heads, rotation=90)
    axes.xaxis.tick_top()
    axes.set_yticks(range(len(others)), names)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    freeze(figure)
    narrow = [] if each >= _FIGURE else ["Figures in the cells need more width (--wide), or fewer metrics."]
    add_below(figure, _notes(table, rows, others, any_silenced=any(silenced)) + narrow)
    return figure


def _is_silenced(table: Table, rows: Sequence[MetricRow], place: int) -> bool:
    """Whether a system is flagged, or some measurement of it or of its base failed: what it wins is no success."""
    return bool(table.systems[place].flags) or any(row.cells[place].failed_of_both for row in rows)


def _draw_cells(axes: Axes, table: Table, rows: Sequence[MetricRow], others: Sequence[int], *, figures: bool) -> None:
    sizes = np.array([[_size(table.systems[place], row, row.cells[place]) for row in rows] for place in others])
    colours = LinearSegmentedColormap.from_list("better", [_WORSE, "white", _BETTER])
    # Shapes, and no image: a file of shapes holds nothing that a page has to load.
    columns, lines = np.arange(len(rows) + 1) - 0.5, np.arange(len(others) + 1) - 0.5
    axes.pcolormesh(
        columns, lines, sizes, cmap=colours, vmin=-_MOST, vmax=_MOST, edgecolors="white", linewidth=1.0, zorder=1
    )
    axes.set_ylim(len(others) - 0.5, -0.5)
    for line, place in enumerate(others):
        for column, row in enumerate(rows):
            ink = "white" if abs(sizes[line, column]) >= _DARK else INK
            told = _told(row, row.cells[place]) if figures else CLAIMS[row.cells[place].claim]
            axes.text(column, line, told, ha="center", va="center", color=SOFT if told == "\N{EN DASH}" else ink)


def _size(system: System, row: MetricRow, cell: TableCell) -> float:
    """The difference over half the width of its interval, positive where it is for the better; 0 where none is known.

    A metric without signal has no better and no worse, and neither has a flagged system, or a difference of which
    measurements failed.
    """
    found = None if system.flags or cell.failed_of_both else cell.difference
    if found is None or found.low is None or found.high is None or row.has_signal is False:
        return 0.0
    half = (found.high - found.low) / 2
    size = found.value / half if half else np.sign(found.value) * _MOST
    return float(size if row.higher_is_better else -size)


def _told(row: MetricRow, cell: TableCell) -> str:
    """The difference with its mark, without its interval."""
    if cell.difference is None:
        return "\N{EN DASH}"
    value = cell.difference.value
    told = f"{signed(_PERCENT * value, 1)} %" if row.relative else signed(value, digits_of(row))
    return f"{told}{CLAIMS[cell.claim]}"


def _heads(rows: Sequence[MetricRow]) -> list[str]:
    """Names of metrics; those that several tasks have, after their task."""
    names = [named(row.key) for row in rows]
    heads = []
    for row, name in zip(rows, names, strict=True):
        told = f"{row.task.replace('_', ' ')} {name}" if names.count(name) > 1 else name
        silent = " (no signal)" if row.has_signal is False else ""
        heads.append(f"{short(told, _HEAD)} {ARROWS[row.higher_is_better]}{silent}")
    return heads


def _notes(table: Table, rows: Sequence[MetricRow], others: Sequence[int], *, any_silenced: bool) -> list[str]:
    whose = "base of a system's own model" if table.reference == OWN else "base"
    notes = [
        f"Differences to the {whose}. Blue is better, orange worse; a colour is full from three half"
        " widths of the difference's 95 % interval on."
    ]
    claims = {row.cells[place].claim for row in rows for place in others}
    if "method" in claims:
        notes.append(f"{CLAIMS['method']} the method differs significantly (Holm).")
    if "training" in claims:
        notes.append(f"{CLAIMS['training']} this one training differs significantly (Holm).")
    if any(row.cells[place].difference is None for row in rows for place in others):
        notes.append("\N{EN DASH} no difference is known.")
    if any_silenced:
        notes.append("! flagged, or some measurement failed: no colour there.")
    notes += flagged(table.systems[place] for place in others)
    return notes + too_many(len(table.systems))
