"""Distributions of scores: the share of texts whose score is at least so high, on a log scale, where the tail shows."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import NDArray

from bench.errors import MissingError, UsageError, did_you_mean
from bench.store.runs import Run
from reports.plots.records import caption_of, flagged, listed, scores_of, systems_of
from reports.plots.style import (
    BASE,
    POINTS,
    SOFT,
    Look,
    add_below,
    base_look,
    describe,
    freeze,
    look,
    new_figure,
    short,
    shorts,
)
from reports.table.columns import Column
from reports.table.models import across

Array = NDArray[np.float64]

_TOGETHER = 6
"""Systems that share one pane; more have a pane each, with the base in all."""
_STEPS = 1000  # of a line: a curve of more texts is drawn at these many of its scores
_DECADES = (1.0, 0.1, 0.01, 1e-3, 1e-4, 1e-5)
_ACROSS = {False: 3, True: 6}
_TITLE = {False: 17, True: 18}


def draw(runs: Sequence[Run], *, wide: bool, attribute: str | None = None) -> Figure:
    """Draw the distributions of some runs, all seeds of a system together.

    Args:
        runs: Runs that may share a table.
        wide: In the width of a page's text.
        attribute: What was scored; None for what the suite's scorers score.
    """
    columns, notes = systems_of(runs)
    attribute = attribute or caption_of(runs).scored.name
    known: dict[str, Array] = {}
    attributes: set[str] = set()
    failed: dict[str, int] = {}
    for column in columns:
        found = [score for run in column.runs for score in scores_of(run)]
        attributes |= {name for score in found for name in score.scores or ()}
        values = [score.scores[attribute] for score in found if score.scores and attribute in score.scores]
        if values:
            known[column.label] = np.sort(values)
        failed[column.label] = len(found) - len(values)
    _refuse_none(known, attributes, attribute)
    own_look = _looks(columns)
    caption = caption_of(runs)
    threshold = math.nan if caption.threshold is None else caption.threshold
    base_of = _bases(columns, known)
    if len(known) <= _TOGETHER or known.keys() <= set(base_of.values()):
        figure = _together(known, own_look, threshold, attribute, wide=wide)
        key = []
        for label in known:
            key.append((Line2D([], [], color=own_look[label].colour, linestyle=own_look[label].line), label))
    else:
        figure = _apart(known, own_look, base_of, threshold, attribute, wide=wide)
        handle = Line2D([], [], color=BASE.colour, linestyle=(0, (2, 1)), linewidth=0.8)
        bases = list(dict.fromkeys(base_of.values()))
        key = [(handle, f"{bases[0]} (base)" if len(bases) == 1 else "the base of its own model")] if bases else []
    describe(figure, "Distribution of scores", caption)
    freeze(figure)
    for axes in figure.axes:
        axes.yaxis.set_minor_locator(NullLocator())
    notes.append(f"Dotted: the threshold, {threshold:g}.")
    if missing := [label for label in own_look if label not in known]:
        notes.append(f"Without scores: {listed(missing)}.")
    if lost := {label: count for label, count in failed.items() if count and label in known}:
        told = listed([f"{short(label, 28)} {count}" for label, count in lost.items()])
        notes.append(f"Scores that failed are left out: {told}.")
    notes += flagged(across(runs, wanted=lambda _: False).systems[: len(columns)])
    add_below(figure, notes, key, 4 if wide else 2)
    return figure


def _looks(columns: Sequence[Column]) -> dict[str, Look]:
    """How each system is drawn: the base black, or each of the bases where there are several models."""
    bases = [column.label for column in columns if column.method == "none"]
    others = [column.label for column in columns if column.method != "none"]
    looks = {label: BASE if len(bases) == 1 else base_look(place) for place, label in enumerate(bases)}
    looks |= {label: look(place) for place, label in enumerate(others)}
    return {column.label: looks[column.label] for column in columns}


def _bases(columns: Sequence[Column], known: dict[str, Array]) -> dict[str, str]:
    """By each system the base of its own model, where that has scores."""
    bases = {column.model: column.label for column in columns if column.method == "none" and column.label in known}
    return {column.label: bases[column.model] for column in columns if column.model in bases}


def _refuse_none(known: dict[str, Array], attributes: set[str], attribute: str) -> None:
    if known:
        return
    if attributes:
        raise UsageError(f"nothing here was scored for '{attribute}'", mend=did_you_mean(attribute, attributes))
    raise MissingError("there are no scored texts in these runs", mend="take runs whose folder holds the samples")


def curve(scores: Array) -> tuple[Array, Array]:
    """Where the share of scores that are at least t changes, and that share up to there: from 0 to the highest score.

    The share belongs to the step that ends at its t.
    """
    values, first = np.unique(scores, return_index=True)
    shares = 1 - first / len(scores)
    if len(values) > _STEPS:
        kept = np.unique(np.concatenate([np.linspace(0, len(values) - 1, _STEPS).round(), [len(values) - 1]])).astype(
            int
        )
        values, shares = values[kept], shares[kept]
    return np.concatenate([[0.0], values]), np.concatenate([[1.0], shares])


def _draw_curve(axes: Axes, label: str, scores: Array, own: Look, **how: Any) -> None:
    x, y = curve(scores)
    style = {"color": own.colour, "linestyle": own.line} | how
    axes.step(x, y, where="pre", label=label, **style)


def _set_up(axes: Axes, known: dict[str, Array], threshold: float) -> None:
    least = min(1 / len(scores) for scores in known.values())
    axes.set_yscale("log")
    axes.set_ylim(0.8 * least, 1.15)
    axes.set_xlim(0, 1.01)
    axes.axvline(threshold, color=SOFT, linewidth=0.6, linestyle=(0, (1, 2)), zorder=0.5)
    axes.yaxis.set_major_locator(FixedLocator([tick for tick in _DECADES if tick >= 0.8 * least]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    axes.xaxis.set_major_locator(FixedLocator([0, 0.5, 1]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))


def _together(
    known: dict[str, Array], looks: dict[str, Look], threshold: float, attribute: str, *, wide: bool
) -> Figure:
    figure = new_figure(wide=wide, height=2.3)
    axes = figure.subplots()
    _set_up(axes, known, threshold)
    axes.xaxis.set_major_locator(FixedLocator([0, 0.2, 0.4, 0.6, 0.8, 1]))
    for label, scores in reversed(known.items()):
        _draw_curve(axes, label, scores, looks[label])
    axes.set_xlabel(f"{short(attribute, 30)} of a text")
    axes.set_ylabel("share of texts at or above")
    return figure


def _apart(
    known: dict[str, Array],
    looks: dict[str, Look],
    base_of: dict[str, str],
    threshold: float,
    attribute: str,
    *,
    wide: bool,
) -> Figure:
    """A pane for each system but the bases, which are in all of their model."""
    shown = [label for label in known if label not in base_of.values()]
    across = min(_ACROSS[wide], len(shown))
    down = -(-len(shown) // across)
    figure = new_figure(wide=wide, height=0.95 * down + 0.35)
    panes = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True).ravel()
    titles = shorts(shown, _TITLE[wide])
    for axes, label, title in zip(panes, shown, titles, strict=False):
        _set_up(axes, known, threshold)
        if base := base_of.get(label):
            _draw_curve(axes, base, known[base], BASE, linestyle=(0, (2, 1)), linewidth=0.8)
        _draw_curve(axes, label, known[label], looks[label], linestyle="-")
        axes.set_title(title, color=looks[label].ink)
    for axes in panes[len(shown) :]:
        axes.remove()
    for axes in panes[max(0, len(shown) - across) : len(shown)]:
        axes.tick_params(labelbottom=True)
    figure.supxlabel(f"{short(attribute, 30)} of a text", fontsize=POINTS)
    figure.supylabel("share of texts at or above", fontsize=POINTS)
    return figure
