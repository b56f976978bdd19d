"""The attribute against utility: every system with its intervals, the base, and the Pareto front."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.errors import MissingError
from bench.hashing import hash_json
from bench.store.runs import Run
from reports.plots import FIGURES, labels
from reports.plots.plane import (
    HOLLOW,
    UTILITIES,
    Spot,
    axis_label,
    draw_bars,
    draw_base,
    draw_front,
    front_stairs,
    planes_of,
    refuse_unmeasured,
    set_scales,
)
from reports.plots.records import attribute_metric, listed, named
from reports.plots.style import BASE, INK, Look, add_below, base_look, describe, freeze, look, new_figure, shorts
from reports.table.accuracy import mean_of
from reports.table.cells import OWN, MetricRow, System, Table
from reports.table.comparable import WHY_APART, crossed, within_of
from reports.table.models import across, labelled, parted
from reports.table.roles import all_metrics, primary
from reports.table.sheet import ARROWS
from reports.tradeoff.build import Estimate, Plane, cost_of, front

_MOST = 60
"""Systems above which only the base and the front are named."""
_NAME = 26
_FRONT = "Dashed: Pareto front. Better lies where both arrows point."
_CROWD = 14  # systems from which intervals are drawn paler


def draw(runs: Sequence[Run], *, wide: bool, metric: str | None = None, utility: str | None = None) -> Figure:
    """Draw the trade-off of some runs, one point a system.

    Args:
        runs: Runs that may share a table, the base among them.
        wide: Both planes side by side, in the width of a page's text.
        metric: How the attribute is measured; None for the metric that speaks for it.
        utility: `perplexity` or `accuracy`; None for what was measured.
    """
    measured = attribute_metric(runs, metric)
    means = [mean_of(some) for some in parted(runs).runs.values()]
    mean = means[0].metric
    keys: dict[str, str] = {"attribute": measured.key, "accuracy": mean.key}
    if fluency := primary(all_metrics(runs), "fluency"):
        keys["perplexity"] = fluency.key
    table = across(runs, wanted=lambda shown: shown.key in keys.values())
    if table.reference is None:
        raise MissingError("there is no run of the base (method none) to compare with", mend="run it, or name it too")
    rows = {row.key: row for row in table.rows}
    drawn = _drawn(table, rows, keys)
    planes = planes_of(list(drawn), utility, wide=wide)
    figure = new_figure(wide=wide, height=2.7)
    describe(figure, FIGURES["tradeoff"].heading(table.caption.attribute), table.caption)
    panes = figure.subplots(1, len(planes), squeeze=False, sharey=True)[0]
    spots = {plane: drawn[plane] for plane in planes}
    looks = _looks(table.systems)
    for axes, plane in zip(panes, planes, strict=True):
        _draw_plane(axes, spots[plane], plane, looks)
        axes.set_xlabel(axis_label(plane, mean.name))
    panes[0].set_ylabel(f"{named(measured.key)} {ARROWS[measured.higher_is_better]}")
    freeze(figure)
    unnamed: set[int] = set()
    for axes, plane in zip(panes, planes, strict=True):
        unnamed |= _name(axes, spots[plane], plane, looks)
    notes = [_FRONT] if any(fronts_of(found) for found in spots.values()) else []
    notes += _apart(table, measured.key) if table.reference == OWN else []
    if "accuracy" in planes and len({one.keys for one in means}) > 1:
        notes.append(f"{mean.name.replace('_', ' ').capitalize()} is not over the same tasks of each model.")
    _close(figure, [spot for found in spots.values() for spot in found], table, unnamed, notes, looks, wide=wide)
    return figure


def _drawn(table: Table, rows: Mapping[str, MetricRow], keys: Mapping[str, str]) -> dict[Plane, list[Spot]]:
    """The systems in each plane that has a difference to the base and a place for any of them.

    Raises:
        MissingError: no system has a value of the attribute.
    """
    attribute = rows[keys["attribute"]]
    refuse_unmeasured(named(attribute.key), [cell.value for cell in attribute.cells])
    measured = {plane: row for plane in UTILITIES if _is_measured(row := rows.get(keys.get(plane, "")))}
    found = {plane: _spots(table, attribute, row) for plane, row in measured.items() if row is not None}
    return {plane: spots for plane, spots in found.items() if any(spot.is_known for spot in spots)}


def _is_measured(row: MetricRow | None) -> bool:
    """Whether any system but the base has a difference to it."""
    return row is not None and any(cell.difference is not None for cell in row.cells)


def _spots(table: Table, attribute: MetricRow, utility: MetricRow) -> list[Spot]:
    """The systems in the table's order."""
    better = -1 if utility.higher_is_better else 1
    return [
        Spot(
            label=system.label,
            attribute=Estimate(own.value, own.low, own.high),
            cost=cost_of(cell, better, is_base=system.is_reference),
            counts=not own.n_failed and not system.flags,
            is_base=system.is_reference,
            higher_is_better=bool(attribute.higher_is_better),
            model=system.model,
        )
        for system, own, cell in zip(table.systems, attribute.cells, utility.cells, strict=True)
    ]


def fronts_of(spots: Sequence[Spot]) -> list[list[int]]:
    """The places of those on the Pareto front of each model: what a system costs is a change to its own base."""
    found = (_front_of(spots, model) for model in dict.fromkeys(spot.model for spot in spots))
    return [places for places in found if places]


def _front_of(spots: Sequence[Spot], model: str) -> list[int]:
    places = [n for n, spot in enumerate(spots) if spot.is_known and spot.counts and spot.model == model]
    found = [
        (
            (-1 if spots[n].higher_is_better else 1) * float(spots[n].attribute.value or 0),
            float(spots[n].cost.value or 0),
        )
        for n in places
    ]
    return [n for n, is_on in zip(places, front(found), strict=True) if is_on]


def _looks(systems: Sequence[System]) -> list[Look]:
    """How each system is drawn; of several models, each has a mark of its own, and each method a colour."""
    models = list(dict.fromkeys(system.model for system in systems))
    if len(models) == 1:
        return [look(place - 1) if place else BASE for place in range(len(systems))]
    edits = list(dict.fromkeys(_edit(system) for system in systems if not system.is_reference))
    looks = []
    for system in systems:
        own = base_look(models.index(system.model))
        looks.append(own if system.is_reference else replace(look(edits.index(_edit(system))), marker=own.marker))
    return looks


def _edit(system: System) -> str:
    """What a system has in common with those of other models."""
    return hash_json([system.method, system.config])


def _apart(table: Table, attribute: str) -> Iterator[str]:
    """What a reader must know of several models."""
    yield "The mark says the model. Changes are to the base of the same model, and each model has its own front."
    runs = [run for some in table.runs for run in some]
    how = within_of(one for run in runs if run.result for one in run.result.metrics if one.key == attribute)
    if how in crossed(runs):
        yield f"{named(attribute).capitalize()} cannot be compared across these models ({WHY_APART[how]})."


def _draw_plane(axes: Axes, spots: Sequence[Spot], plane: Plane, looks: Sequence[Look]) -> None:
    shown = [(n, spot) for n, spot in enumerate(spots) if spot.is_known]
    set_scales(axes, [spot for _, spot in shown], plane)
    fronts = fronts_of(spots)
    on_front = {n for places in fronts for n in places}
    for places in fronts:
        draw_front(axes, front_stairs(axes, [spots[n] for n in sorted(places)], plane))
    strength = 0.75 if len(shown) < _CROWD else 0.4 if len(shown) <= _MOST else 0.15
    for n, spot in shown:
        draw_bars(axes, spot, plane, looks[n].colour, strength)
        if spot.is_base:
            draw_base(axes, spot, plane, looks[n])
            continue
        is_on_front, (x, y) = n in on_front, spot.at(plane)
        size = 4.0 if is_on_front or len(shown) <= _MOST else 2.5
        mark = _mark(looks[n], spot, is_on_front=is_on_front)
        axes.plot([x], [y], **mark, markersize=size, zorder=3.5 if is_on_front else 3)


def _mark(found: Look, spot: Spot, *, is_on_front: bool) -> dict[str, Any]:
    return {
        "marker": found.marker,
        "linestyle": "none",
        "markerfacecolor": found.colour if spot.counts else "white",
        "markeredgecolor": INK if is_on_front else found.ink,
        "markeredgewidth": 0.8 if is_on_front or not spot.counts else 0.4,
        "label": spot.label,
    }


def _name(axes: Axes, spots: Sequence[Spot], plane: Plane, looks: Sequence[Look]) -> set[int]:
    """Write names beside the points; the places of those without one."""
    fronts = fronts_of(spots)
    on_front = {n for places in fronts for n in places}
    shown = [n for n, spot in enumerate(spots) if spot.is_known]
    few = len(shown) <= _MOST
    order = sorted(shown, key=lambda n: (not spots[n].is_base, n not in on_front, n))
    told = shorts([_told(spots[n]) for n in order], _NAME)
    has_name = [few or spots[n].is_base or n in on_front for n in order]
    names = [name if wanted else "" for name, wanted in zip(told, has_name, strict=True)]
    bars = [bar for n in shown for bar in spots[n].bars(plane)]
    for places in fronts:
        stairs = front_stairs(axes, [spots[n] for n in sorted(places)], plane)
        bars += [stairs[n : n + 2] for n in range(len(stairs) - 1)]
    left = labels.place(axes, [spots[n].at(plane) for n in order], names, bars, [looks[n].ink for n in order])
    return {order[n] for n in left}


def _told(spot: Spot) -> str:
    """What stands beside a point; of several models, its mark says which."""
    own = spot.label.removesuffix(labelled("", spot.model))
    return f"{spot.model or own} (base)" if spot.is_base else own


def _close(
    figure: Figure,
    spots: Sequence[Spot],
    table: Table,
    unnamed: set[int],
    notes: list[str],
    looks: Sequence[Look],
    *,
    wide: bool,
) -> None:
    """The key to models and to what has no name beside it, and what a reader must know."""
    bases = {system.model: looks[n] for n, system in enumerate(table.systems) if system.model and system.is_reference}
    key = [
        (Line2D([], [], linestyle="none", marker=own.marker, color=own.colour), model) for model, own in bases.items()
    ]
    key += [(Line2D([], [], **_mark(looks[n], spots[n], is_on_front=False)), spots[n].label) for n in sorted(unnamed)]
    if absent := dict.fromkeys(spot.label for spot in spots if not spot.is_known):
        notes.append(f"Not drawn, for want of a figure: {listed(list(absent))}.")
    if any(not spot.counts for spot in spots):
        notes.append(HOLLOW)
    if len(table.systems) > _MOST:
        notes.append(f"{len(table.systems)} systems: those that are not on the front have no name.")
    add_below(figure, notes, key, 4 if wide else 2)
