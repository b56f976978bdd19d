"""Training by step: the loss, and the mean log-perplexity (phi) of what is to become likelier and of what is not."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bench.errors import MissingError
from bench.store.runs import Run
from reports.plots.records import caption_of, listed, systems_of
from reports.plots.style import INK, add_below, dash, describe, freeze, new_figure, short
from reports.table.columns import Column

Log = list[dict[str, float]]

_PHI: dict[str, tuple[str, str, Any]] = {
    "phi_positives": ("positives", "#0072B2", "-"),
    "phi_negatives": ("negatives", "#D55E00", (0, (4, 1.5))),
}
_WHOLE = "train"
_TITLE = 34
_ALONE, _MANY = 1.5, 0.85  # inches of a pane
_FEW = 2
_SMOOTH = 8


@dataclass(frozen=True)
class Trained:
    """A part of what a system trained: its name and the log of each seed."""

    label: str
    logs: list[Log]


def draw(runs: Sequence[Run], *, wide: bool) -> Figure:
    """Draw what was logged of the training of some runs: seeds as thin lines, their smoothed mean as a thick one.

    Args:
        runs: Runs that may share a table.
        wide: Two systems side by side, in the width of a page's text.
    """
    columns, notes = systems_of(runs)
    trained = [one for column in columns for one in parts_of(column)]
    if not trained:
        raise MissingError(
            "no run here has a log of training", mend="only methods that train have one, from runs of this version on"
        )
    across = 2 if wide and len(trained) > 1 else 1
    down = -(-len(trained) // across)
    figure = new_figure(wide=wide, height=down * (_ALONE if down <= _FEW else _MANY) + 0.3)
    describe(figure, "Training", caption_of(runs))
    panes = figure.subplots(down, 2 * across, squeeze=False)
    for place, one in enumerate(trained):
        left, right = panes[place // across, 2 * (place % across) : 2 * (place % across) + 2]
        _draw_pair(left, right, one)
    for place in range(len(trained), down * across):
        for axes in panes[place // across, 2 * (place % across) :]:
            axes.remove()
    for axes in figure.axes[-2 * across :]:
        axes.set_xlabel("step")
    freeze(figure)
    key = [(Line2D([], [], color=colour, linestyle=line), f"mean φ of {name}") for name, colour, line in _PHI.values()]
    has_phi = any("phi_positives" in step for one in trained for log in one.logs for step in log)
    notes.append("Thin: each seed; thick: their mean, smoothed over an eighth of the steps.")
    if untrained := [column.label for column in columns if not parts_of(column) and column.method != "none"]:
        notes.append(f"Without a log: {listed(untrained)}.")
    add_below(figure, notes, key if has_phi else ())
    return figure


def parts_of(column: Column) -> list[Trained]:
    """What a system trained, part by part, with the logs of the seeds that have one."""
    names = dict.fromkeys(name for run in column.runs for name in run.training)
    label = short(column.label, _TITLE)
    parts = []
    for name in names:
        logs = [run.training[name] for run in column.runs if run.training.get(name)]
        if logs:
            parts.append(Trained(label if name == _WHOLE else f"{label}: {short(name, 16)}", logs))
    return parts


def line_of(log: Log, name: str) -> tuple[list[int], list[float]]:
    """The steps that have a figure, counted from 1, and the figures."""
    known = [(step, one[name]) for step, one in enumerate(log, 1) if name in one and math.isfinite(one[name])]
    return [step for step, _ in known], [value for _, value in known]


def mean_of(logs: Sequence[Log], name: str) -> tuple[list[int], list[float]]:
    """The mean over seeds at the steps where all of them have a figure."""
    lines = [dict(zip(*line_of(log, name), strict=True)) for log in logs]
    steps = sorted(set.intersection(*(set(line) for line in lines)))
    return steps, [sum(line[step] for line in lines) / len(lines) for step in steps]


def smooth(values: Sequence[float]) -> list[float]:
    """The mean of each value and its neighbours on both sides, an eighth of all in sum; at the ends, of fewer."""
    reach = len(values) // _SMOOTH // 2
    return [
        sum(values[n - near : n + near + 1]) / (2 * near + 1)
        for n in range(len(values))
        for near in [min(reach, n, len(values) - 1 - n)]
    ]


def _draw_pair(left: Axes, right: Axes, one: Trained) -> None:
    _draw_lines(left, one, "loss", INK, "-")
    left.set_ylabel("loss")
    left.set_title(one.label, loc="left")
    for name, (_, colour, line) in _PHI.items():
        _draw_lines(right, one, name, colour, line)
    right.set_ylabel("mean φ")
    if not right.lines:
        right.set_axis_off()
        dash(right, 0.5, 0.5, transform=right.transAxes, ha="center")
    for axes in (left, right) if right.lines else (left,):
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(4))


def _draw_lines(axes: Axes, one: Trained, name: str, colour: str, line: Any) -> None:
    for log in one.logs:
        steps, values = line_of(log, name)
        if steps:
            axes.plot(steps, values, color=colour, linewidth=0.5, alpha=0.45, label=f"{name}, a seed")
    steps, values = mean_of(one.logs, name)
    if steps:
        axes.plot(steps, smooth(values), color=colour, linestyle=line, linewidth=1.3, label=name)
