"""Strength sweeps: each method's curve in the plane of the attribute and what it costs, from the base on."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NoReturn

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.errors import MissingError, UsageError, did_you_mean
from bench.hashing import hash_json
from bench.store.runs import Run
from reports.plots import labels
from reports.plots.plane import (
    HOLLOW,
    UTILITIES,
    Spot,
    axis_label,
    draw_bars,
    draw_base,
    planes_of,
    refuse_unmeasured,
    set_scales,
)
from reports.plots.records import listed, named
from reports.plots.style import BASE, INK, SOFT, add_below, describe, freeze, look, new_figure, short
from reports.table.cells import clean
from reports.table.comparable import refuse_incomparable
from reports.table.models import refuse_several
from reports.table.sheet import ARROWS
from reports.tradeoff.build import BUDGET, Curve, Plane, Point, Tradeoff, build

_BASE = "none"
_NAME = 30
_ALL_SETTINGS = 4  # curves up to which every point says its setting; beyond, the last one alone
_FEWEST = 2


def draw(runs: Sequence[Run], *, wide: bool, utility: str | None = None, over: str | None = None) -> Figure:
    """Draw the curves of some runs.

    Args:
        runs: Runs that may share a table, the base among them.
        wide: Both planes side by side, in the width of a page's text.
        utility: `perplexity` or `accuracy`; None for what was measured.
        over: The option that the points of a curve differ in; None for the one that gives each method most points.
    """
    finished = [run for run in runs if run.result]
    refuse_several(finished, "a sweep's figure")
    refuse_incomparable(finished)
    options = options_of(finished, over)
    if finished and not any(options.values()):
        _refuse_single(over)
    tradeoff = build(runs, options)
    if not any(len(curve.points) >= _FEWEST for curve in tradeoff.curves):
        _refuse_single(over)
    points = [tradeoff.base, *(point for curve in tradeoff.curves for point in curve.points)]
    refuse_unmeasured(named(tradeoff.attribute), [point.attribute.value for point in points])
    known = [plane for plane in UTILITIES if sum(_spot(point, plane).is_known for point in points) >= _FEWEST]
    planes = planes_of(known, utility, wide=wide)
    figure = new_figure(wide=wide, height=2.7)
    describe(figure, "Strength sweeps", tradeoff.caption)
    panes = figure.subplots(1, len(planes), squeeze=False, sharey=True)[0]
    for axes, plane in zip(panes, planes, strict=True):
        _draw_plane(axes, tradeoff, plane)
        axes.set_xlabel(axis_label(plane, tradeoff.utility))
    panes[0].set_ylabel(f"{named(tradeoff.attribute)} {ARROWS[tradeoff.higher_is_better]}")
    freeze(figure)
    unnamed: set[int] = set()
    for axes, plane in zip(panes, planes, strict=True):
        unnamed |= _name(axes, tradeoff, plane)
    _close(figure, tradeoff, planes, sorted(unnamed), wide=wide)
    return figure


def _refuse_single(over: str | None) -> NoReturn:
    what = f"no method here has two values of '{over}'" if over else "no method here has two points that differ"
    raise MissingError(what, mend="'bench sweep' measures methods at several strengths")


def options_of(runs: Sequence[Run], over: str | None) -> dict[str, str | None]:
    """For each method the option that its points differ in, or None where it has one point.

    Raises:
        UsageError: no method has the option `over`.
    """
    configs: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for run in runs:
        if run.method != _BASE:
            config = dict(run.manifest.method.get("config") or {})
            configs[clean(run.method)][hash_json(config)] = config  # as a table names it
    if over is not None:
        known = {key for some in configs.values() for config in some.values() for key in config}
        if over not in known:
            raise UsageError(f"no method here has the option '{over}'", mend=did_you_mean(over, known))
        return {method: over if any(over in one for one in some.values()) else None for method, some in configs.items()}
    return {method: _option(list(some.values())) for method, some in configs.items()}


def _option(configs: Sequence[dict[str, Any]]) -> str | None:
    """The option with the most values while all others stay as they are; of several the first, numbers first."""
    best, option = 1, None
    for key in configs[0]:
        same: dict[str, set[str]] = defaultdict(set)
        for config in configs:
            same[hash_json({name: one for name, one in config.items() if name != key})].add(repr(config.get(key)))
        most = max(len(values) for values in same.values())
        if most > best:
            best, option = most, key
    return option


def _spot(point: Point, plane: Plane) -> Spot:
    return Spot(point.label, point.attribute, point.costs[plane], point.counts)


def _draw_plane(axes: Axes, tradeoff: Tradeoff, plane: Plane) -> None:
    base = _spot(tradeoff.base, plane)
    found = [[_spot(point, plane) for point in curve.points] for curve in tradeoff.curves]
    set_scales(axes, [spot for some in [[base], *found] for spot in some if spot.is_known], plane)
    most = -100 * BUDGET[plane] if plane == "accuracy" else 100 * BUDGET[plane]
    axes.axvline(most, color=SOFT, linewidth=0.6, linestyle=(0, (5, 3)), zorder=0.5, label="budget")
    for n, (curve, spots) in enumerate(zip(tradeoff.curves, found, strict=True)):
        own, known = look(n), [spot for spot in spots if spot.is_known]
        path = [spot.at(plane) for spot in ([base] if base.is_known else []) + known]
        axes.plot(
            [x for x, _ in path],
            [y for _, y in path],
            color=own.colour,
            linestyle=own.line,
            zorder=2,
            label=curve.label,
        )
        for spot in known:
            draw_bars(axes, spot, plane, own.colour, 0.35)
            x, y = spot.at(plane)
            face = own.colour if spot.counts else "white"
            axes.plot(
                [x], [y], marker=own.marker, color=own.colour, markerfacecolor=face, markeredgecolor=own.colour,
                linestyle="none", zorder=3, label=spot.label,
            )  # fmt: skip
    if base.is_known:
        draw_bars(axes, base, plane, BASE.colour, 0.5)
        draw_base(axes, base, plane, BASE)


def _setting(point: Point) -> str:
    value = point.setting
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:g}".replace("-", "\N{MINUS SIGN}")
    return short(value, 14)


def _names(curve: Curve, known: Sequence[Point], *, everywhere: bool) -> list[str]:
    """What stands beside the points: the last one says the method, the others their settings."""
    if curve.over is None or len(curve.points) < _FEWEST:
        return [short(curve.label, _NAME)]
    last = short(f"{curve.label}, {curve.over} {_setting(known[-1])}", _NAME)
    return [*(_setting(point) if everywhere else "" for point in known[:-1]), last]


def _name(axes: Axes, tradeoff: Tradeoff, plane: Plane) -> set[int]:
    """Write names beside the points; the places of the curves without one."""
    base = _spot(tradeoff.base, plane)
    everywhere = len(tradeoff.curves) <= _ALL_SETTINGS
    entries: list[tuple[int, str, Spot]] = [(-1, "none (base)", base)] if base.is_known else []
    settings: list[tuple[int, str, Spot]] = []
    for n, curve in enumerate(tradeoff.curves):
        known = [point for point in curve.points if _spot(point, plane).is_known]
        if not known:
            continue
        names = _names(curve, known, everywhere=everywhere)
        spots = [_spot(point, plane) for point in known]
        entries.append((n, names[-1], spots[-1]))
        settings += [(n, name, spot) for name, spot in zip(names[:-1], spots[:-1], strict=True)]
    named = len(entries)
    entries += settings
    inks = [look(n).ink if n >= 0 else INK for n, _, _ in entries]
    bars = [bar for _, _, spot in entries for bar in spot.bars(plane)]
    places = [spot.at(plane) for _, _, spot in entries]
    left = labels.place(axes, places, [name for _, name, _ in entries], bars, inks)
    return {entries[n][0] for n in left if n < named and entries[n][0] >= 0}


def _close(figure: Figure, tradeoff: Tradeoff, planes: Sequence[Plane], unnamed: Sequence[int], *, wide: bool) -> None:
    key = [
        (
            Line2D([], [], color=look(n).colour, linestyle=look(n).line, marker=look(n).marker),
            tradeoff.curves[n].label,
        )
        for n in unnamed
    ]
    told = {"perplexity": f"{100 * BUDGET['perplexity']:g} % of perplexity", "accuracy": "1 point of utility"}
    notes = [f"Dashed: a loss of {' and '.join(told[plane] for plane in planes)}."]
    absent = [point.label for curve in tradeoff.curves for point in curve.points if not _drawn(point, planes)]
    if absent:
        notes.append(f"Not drawn, for want of a figure: {listed(absent)}.")
    if not all(point.counts for curve in tradeoff.curves for point in (tradeoff.base, *curve.points)):
        notes.append(HOLLOW)
    add_below(figure, notes, key, 4 if wide else 2)


def _drawn(point: Point, planes: Sequence[Plane]) -> bool:
    return all(_spot(point, plane).is_known for plane in planes)
