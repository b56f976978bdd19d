"""A sweep's trade-off in the terminal: all points, then what each method has to offer within a budget."""

import sys
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from bench.stats.hypervolume import Volume
from reports.table.cells import clean
from reports.table.sheet import ARROWS, AT_MOST, DASH, MINUS, number, resampled, signed
from reports.table.terminal import caption_of, print_drawn
from reports.tradeoff.build import BUDGET, PLANES, REFERENCE, Curve, Estimate, Plane, Point, Tradeoff

_DIGITS = 3
_PERCENT = 100
_LABEL, _MARKS, _CELL, _LAST = 16, 2, 20, 18  # with a space between each two: 80
_NAME, _BEST, _VOLUME = 23, 18, 27  # as above
_LETTER: dict[Plane, str] = {"perplexity": "P", "accuracy": "A"}
_TASKS = 4


def print_tradeoff(tradeoff: Tradeoff, file: TextIO | None = None) -> None:
    """Print a trade-off on stdout or `file`: coloured on a terminal, else plain and 80 columns wide."""
    print_drawn(lambda _: _draw(tradeoff), file or sys.stdout)


def _draw(tradeoff: Tradeoff) -> RenderableType:
    parts: list[RenderableType] = [*caption_of(tradeoff.caption)]
    for grid in (_points(tradeoff), _summary(tradeoff), _volumes(tradeoff)):
        parts += [Text(), grid]
    return Group(*parts, Text(), *_legend(tradeoff))


def _grid(*columns: tuple[str, int]) -> Grid:
    grid = Grid(box=SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    for name, width in columns:
        grid.add_column(name, width=width, overflow="fold", vertical="top")
    return grid


def _points(tradeoff: Tradeoff) -> Grid:
    measured = f"{clean(tradeoff.attribute, 40).replace('_', ' ')} {ARROWS[tradeoff.higher_is_better]}"
    heads = ((measured, _CELL), ("perplexity ↓ (%)", _CELL), (f"{_utility(tradeoff)} ↑ (pt)", _LAST))
    grid = _grid(("", _LABEL), ("", _MARKS), *heads)
    base = tradeoff.base
    own = (number(base.perplexity.value, 1), number(base.accuracy.value, _DIGITS))
    grid.add_row(Text("none (base)", style="bold"), _marks(base), _figure(base.attribute), *own)
    for curve in tradeoff.curves:
        grid.add_section()
        grid.add_row(Text(curve.label, style="bold"))
        for point in curve.points:
            changes = (_change(point, plane) for plane in PLANES)
            name = Text(f" {_setting(curve, point)}")
            name.append(f"\n {', '.join(point.flags)}" if point.flags else "", style="bold red")
            grid.add_row(name, _marks(point), _figure(point.attribute), *changes)
    return grid


def _setting(curve: Curve, point: Point) -> str:
    return "one point" if curve.over is None else f"{curve.over} {_value(point.setting)}"


def _value(setting: Any) -> str:
    return f"{setting:g}".replace("-", MINUS) if isinstance(setting, int | float) else clean(setting, 40)


def _marks(point: Point) -> Text:
    if not point.counts:
        return Text("!", style="red")
    return Text("".join(_LETTER[plane] for plane in point.fronts), style="green")


def _figure(figure: Estimate) -> str:
    return f"{number(figure.value, _DIGITS)}{_interval(figure)}"


def _interval(figure: Estimate) -> str:
    if figure.low is None or figure.high is None:
        return ""
    return f" [{number(figure.low, _DIGITS)}, {number(figure.high, _DIGITS)}]"


def _change(point: Point, plane: Plane) -> str:
    """The change to the base: of perplexity in percent, of utility in points with the most that may be lost."""
    cost, sign = point.costs[plane], 1 if plane == "perplexity" else -1
    if cost.value is None:
        return DASH
    ends = [] if cost.low is None or cost.high is None else sorted((sign * cost.low, sign * cost.high))
    value, *shown = (_percent(one) for one in (sign * cost.value, *ends))
    lost = "" if cost.at_most is None else f"\nloses {AT_MOST} {_PERCENT * max(0.0, cost.at_most):.1f}"
    return f"{value}{f' [{shown[0]}, {shown[1]}]' if shown else ''}{lost}"


def _percent(share: float) -> str:
    return signed(round(_PERCENT * share, 1), 1)


def _summary(tradeoff: Tradeoff) -> RenderableType:
    cheap = {
        "perplexity": f"≤ {_PERCENT * BUDGET['perplexity']:g} % perplexity",
        "accuracy": f"≤ {_PERCENT * BUDGET['accuracy']:g} pt {_short(tradeoff)}",
    }
    heads = [(cheap[plane], _BEST) for plane in PLANES]
    grid = _grid((f"{_wanted(tradeoff)} at a loss of", _NAME), *heads, ("both", _BEST))
    for curve in tradeoff.curves:
        bests = (_best(curve, curve.best[name]) for name in (*PLANES, "both"))
        grid.add_row(Text(curve.label, style="bold"), *bests)
    return grid


def _utility(tradeoff: Tradeoff) -> str:
    """What utility is measured by, for a reader: `accuracy`, `gold probability`."""
    return tradeoff.utility.removeprefix("mean_").replace("_", " ")


def _short(tradeoff: Tradeoff) -> str:
    return _utility(tradeoff).removeprefix("gold ")


def _volumes(tradeoff: Tradeoff) -> RenderableType:
    grid = _grid(("hypervolume", _NAME), *((f"HV {_LETTER[plane]}", _VOLUME) for plane in PLANES))
    for curve in tradeoff.curves:
        grid.add_row(Text(curve.label, style="bold"), *(_volume(curve.hypervolume[plane]) for plane in PLANES))
    return grid


def _volume(found: Volume | None) -> str:
    if found is None:
        return DASH
    if found.value is None:
        return f"{number(found.apparent, _DIGITS)} apparent"
    return _figure(Estimate(found.value, found.low, found.high))


def _wanted(tradeoff: Tradeoff) -> str:
    """What the best point is called."""
    return f"{'most' if tradeoff.higher_is_better else 'least'} {tradeoff.caption.adjective.replace('_', ' ')}"


def _best(curve: Curve, place: int | None) -> str:
    if place is None:
        return DASH
    point = curve.points[place]
    at = "" if curve.over is None else f" at {_value(point.setting)}"
    return f"{number(point.attribute.value, _DIGITS)}{at}\n{_interval(point.attribute).strip()}"


def _legend(tradeoff: Tradeoff) -> Iterator[Text]:
    tasks = [key.split("/", 1)[0].removeprefix("embedded_") for key in tradeoff.accuracies]
    mean = f"mean over {_joined(tasks)}" if tasks else "not measured"
    most = {plane: f"{_PERCENT * REFERENCE[plane]:g}" for plane in PLANES}
    attribute, lower = tradeoff.caption.attribute.replace("_", " "), not tradeoff.higher_is_better
    points = (tradeoff.base, *(point for curve in tradeoff.curves for point in curve.points))
    over = resampled(len(point.seeds) for point in points)
    lines = [
        f"[…] 95 % interval over {over}; held-out perplexity and {_utility(tradeoff)}",
        f"({mean}): paired change to the base, in % and points",
        f"loses {AT_MOST} x: a larger loss is excluded at 95 % (one-sided)",
        f"P, A on the Pareto front of {attribute} with perplexity, with {_utility(tradeoff)} (all points)",
        f"{_wanted(tradeoff)}: by point estimates, intervals may reach past the loss allowed",
        f"HV hypervolume: 1 is {'no' if lower else 'full'} {attribute} at no loss, 0 nothing gained before a loss of",
        f"{most['perplexity']} % of perplexity (P), {most['accuracy']} points of {_utility(tradeoff)} (A);",
        "without what chance adds to the best of several points",
    ]
    volumes = [volume for curve in tradeoff.curves for volume in curve.hypervolume.values() if volume]
    if any(volume.value is None for volume in volumes):
        lines.append("apparent: chance counts as gain, there is too little evidence to take it away")
        lines.append("(few prompts or seeds in common, or the base's error is a third of its figure)")
    if any(volume.value is not None and volume.low is None for volume in volumes):
        lines.append("HV without an interval: no half of the prompts chose a point, or none varies")
    if tradeoff.without_signal:
        silent = [key.split("/", 1)[0].removeprefix("embedded_") for key in tradeoff.without_signal]
        lines.append(f"no signal, in no mean: {_joined(silent)} (the base is not above answers without a model)")
    if any(curve.over is None for curve in tradeoff.curves):
        lines.append("one point: the method has no option to move along")
    if not all(point.counts for curve in tradeoff.curves for point in (tradeoff.base, *curve.points)):
        lines.append(f"! flagged, or some measurement of {attribute} failed: on no front, never best, no hypervolume")
    yield from (Text(line, style="dim") for line in lines)
    yield from (Text(note, style="yellow") for note in tradeoff.footnotes)


def _joined(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= _TASKS else f"{len(names)} tasks"
