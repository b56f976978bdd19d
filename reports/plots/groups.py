"""The attribute by group of prompts, and the scorer's other scores: a pane each, a bar a system, with intervals."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from bench.stats import Systems, average
from bench.store.record import Evidence, Metric
from bench.store.runs import Run
from bench.store.samples import Sample
from reports.plots.bars import NAME, draw_rows, rows_height
from reports.plots.records import attribute_metric, caption_of, flagged, listed, named, scores_of, systems_of
from reports.plots.style import BASE, SOFT, add_below, describe, freeze, new_figure, short
from reports.table.cells import Caption, MetricRow, Table
from reports.table.columns import Column
from reports.table.models import across
from reports.table.sheet import ARROWS

_ACROSS = {False: 2, True: 4}
_TITLE = 22


@dataclass(frozen=True)
class Bar:
    """A figure with its interval and the observations that are missing."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n_failed: int = 0


def draw(runs: Sequence[Run], *, wide: bool, metric: str | None = None) -> Figure:
    """Draw a metric of the attribute by group of prompts and, for the one that speaks for it, by the scorer's scores.

    Args:
        runs: Runs that may share a table.
        wide: Four panes side by side, in the width of a page's text.
        metric: How the attribute is measured; None for the metric that speaks for it.
    """
    measured = attribute_metric(runs, metric)
    columns, notes = systems_of(runs)
    shown = [run for column in columns for run in column.runs]
    table = across(shown, wanted=lambda one: _part(one) == _part(measured))
    panes = _by_group(table)
    if measured.primary:
        panes |= _by_score(columns, caption_of(shown))
    in_row = min(_ACROSS[wide], len(panes))
    down = -(-len(panes) // in_row)
    figure = new_figure(wide=wide, height=down * rows_height(len(columns), 0.36))
    describe(figure, "Groups and attributes", caption_of(shown))
    places = figure.subplots(down, in_row, squeeze=False, sharey=True).ravel()
    for axes, (title, bars) in zip(places, panes.items(), strict=False):
        _draw_pane(axes, columns, bars, wide=wide)
        axes.set_title(short(title, _TITLE))
    for axes in places[len(panes) :]:
        axes.remove()
    freeze(figure)
    bases = "the bases" if sum(column.method == "none" for column in columns) > 1 else "the base"
    notes.insert(
        0, f"{named(measured.name).capitalize()} {ARROWS[measured.higher_is_better]}, 95 % intervals. Dotted: {bases}."
    )
    if any(bar.value is None for bars in panes.values() for bar in bars):
        notes.append("\N{EN DASH} not measured.")
    if lost := _failed(columns, panes):
        notes.append(f"Failed, in no bar: {listed(lost)}.")
    notes += flagged(table.systems)
    add_below(figure, notes)
    return figure


def _part(metric: Metric | MetricRow) -> tuple[str, str, str | None]:
    """What the metrics of all groups have in common."""
    return metric.task, metric.name, metric.scorer


def _by_group(table: Table) -> dict[str, list[Bar]]:
    """A pane for each group: its figures in the table's order."""
    rows = sorted(table.rows, key=lambda row: row.group is not None)
    return {
        f"{row.group} prompts" if row.group else "all prompts": [
            Bar(cell.value, cell.low, cell.high, cell.n_failed) for cell in row.cells
        ]
        for row in rows
    }


def _by_score(columns: Sequence[Column], caption: Caption) -> dict[str, list[Bar]]:
    """A pane for each of the scorer's scores but the attribute's: the share of texts that reach the threshold."""
    threshold = math.nan if caption.threshold is None else caption.threshold
    found = [[scores_of(run) for run in column.runs] for column in columns]
    names = dict.fromkeys(name for runs in found for rows in runs for row in rows for name in row.scores or ())
    panes = {}
    for name in names:
        if name == caption.scored.name:
            continue
        evidence = [[one for rows in runs if (one := evidence_of(rows, name, threshold))] for runs in found]
        systems = Systems(evidence, trained=[column.is_trained for column in columns])
        bars = []
        for place, (seeds, runs) in enumerate(zip(evidence, found, strict=True)):
            failed = sum(name not in (row.scores or ()) for rows in runs for row in rows)
            ends = systems.interval(place) if len(seeds) == len(runs) else None
            value = average(seeds) if len(seeds) == len(runs) else None
            bars.append(Bar(value, ends.low if ends else None, ends.high if ends else None, failed))
        panes[name] = bars
    return panes


def evidence_of(rows: Sequence[Sample], attribute: str, threshold: float) -> Evidence | None:
    """Which texts reach the threshold, by prompt; None where none has a score."""
    known = [(row.prompt_id, row.scores[attribute]) for row in rows if row.scores and attribute in row.scores]
    ids = list(dict.fromkeys(prompt for prompt, _ in known))
    places = {prompt: place for place, prompt in enumerate(ids)}
    if not known:
        return None
    return Evidence(
        statistic="mean",
        bounded=True,
        cluster_ids=ids,
        cluster=[places[prompt] for prompt, _ in known],
        value=[float(score >= threshold) for _, score in known],
    )


def _draw_pane(axes: Axes, columns: Sequence[Column], bars: Sequence[Bar], *, wide: bool) -> None:
    draw_rows(axes, columns, [bar.value for bar in bars], NAME[wide])
    for row, bar in enumerate(bars):
        if bar.low is not None and bar.high is not None:
            axes.plot([bar.low, bar.high], [row, row], color="black", linewidth=0.8, zorder=3, label="interval")
        if columns[row].method == "none" and bar.value is not None:
            axes.axvline(bar.value, color=BASE.colour, linewidth=0.6, linestyle=(0, (1, 2)), zorder=2, label="base")
    ends = [end for bar in bars for end in (bar.value, bar.high) if end is not None]
    axes.set_xlim(0, 1.05 * (max(ends, default=0) or 1))
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]) if ends else NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.xaxis.grid(visible=True, color=SOFT, linewidth=0.3, alpha=0.4)
    axes.set_axisbelow(True)


def _failed(columns: Sequence[Column], panes: Mapping[str, Sequence[Bar]]) -> list[str]:
    """Systems of which observations failed, with the most of any pane."""
    worst = [max(bars[place].n_failed for bars in panes.values()) for place in range(len(columns))]
    return [f"{short(column.label, 28)} {count}" for column, count in zip(columns, worst, strict=True) if count]
