"""What systems cost: time of preparation, speed of sampling, peak memory, trainable parameters."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from bench.errors import MissingError
from bench.store.runs import Run
from reports.plots.bars import NAME, draw_rows, rows_height
from reports.plots.records import caption_of, systems_of
from reports.plots.style import add_below, describe, freeze, new_figure
from reports.table.columns import Column
from reports.table.comparable import crossed
from reports.table.cost import COSTS

PANELS = {
    "preparation_seconds": "preparation (s)",
    "sampled_tokens_per_second": "sampling (tokens/s)",
    "peak_memory_gib": "peak memory (GiB)",
    "trainable_parameters": "trainable parameters",
}
_UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def draw(runs: Sequence[Run], *, wide: bool) -> Figure:
    """Draw what some runs cost, averaged over a system's seeds.

    Args:
        runs: Runs that may share a table.
        wide: All costs side by side, in the width of a page's text.
    """
    columns, notes = systems_of(runs)
    across = len(PANELS) if wide else 2
    down = -(-len(PANELS) // across)
    found = {name: [_seeds(name, column) for column in columns] for name in PANELS}
    if not any(seeds for figures in found.values() for seeds in figures):
        raise MissingError("these runs have no record of their cost", mend="run their experiments again")
    figure = new_figure(wide=wide, height=down * rows_height(len(columns), 0.36))
    describe(figure, "Cost", caption_of(runs))
    panes = figure.subplots(down, across, squeeze=False, sharey=True).ravel()
    for axes, (name, title) in zip(panes, PANELS.items(), strict=True):
        _draw_panel(axes, columns, found[name], wide=wide)
        axes.set_title(title)
    freeze(figure)
    if any(len(column.runs) > 1 for column in columns):
        notes.append("Bars are means over seeds, dots are seeds.")
    if any(not seeds for figures in found.values() for seeds in figures):
        notes.append("\N{EN DASH} the record has no such figure.")
    if "tokenizer" in crossed([column.runs[0] for column in columns]):
        notes.append("Tokens are of another length where the tokenizer is another.")
    add_below(figure, notes)
    return figure


def _seeds(name: str, column: Column) -> list[float]:
    """A cost of each seed; nothing where one has none."""
    found = [COSTS[name](run) for run in column.runs]
    known = [figure for figure in found if figure is not None]
    return known if len(known) == len(found) else []


def _draw_panel(axes: Axes, columns: Sequence[Column], seeds: Sequence[Sequence[float]], *, wide: bool) -> None:
    means = [sum(some) / len(some) if some else None for some in seeds]
    draw_rows(axes, columns, means, NAME[wide])
    most = max((one for some in seeds for one in some), default=0) or 1
    axes.set_xlim(0, 1.42 * most)
    for row, (some, mean) in enumerate(zip(seeds, means, strict=True)):
        if mean is None:
            continue
        if len(some) > 1:
            axes.plot(some, [row] * len(some), marker=".", markersize=2.5, color="black", linestyle="none", zorder=3)
        axes.text(max(*some, mean) + 0.03 * most, row, compact(mean), va="center")
    axes.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]) if any(seeds) else NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: compact(x)))


def compact(value: float) -> str:
    """A figure in three digits: 4.88M, 172, 0.4."""
    for size, unit in _UNITS:
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"
