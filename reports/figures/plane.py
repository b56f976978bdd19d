"""The plane of toxicity and what it costs: its scales, and systems as points with intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray

from bench.errors import MissingError, UsageError, did_you_mean
from reports.figures.style import INK, SOFT, Look
from reports.tradeoff import Figure as Estimate
from reports.tradeoff import Plane

UTILITIES: tuple[Plane, ...] = ("perplexity", "accuracy")
LABELS: dict[Plane, str] = {
    "perplexity": "held-out perplexity, change in % ↓",
    "accuracy": "mean accuracy, change in points ↑",
}
_PERCENT = 100
_TICKS = (-90, -75, -50, -30, -20, -10, -5, 5, 10, 20, 30, 50, 100, 200, 400, 900, 1900, 4900, 9900, 99900, 999900)
_APART = 0.13  # of the axis between two ticks
_LEAST = 0.02  # half the width of the narrowest axis of perplexity, as a logarithm


@dataclass(frozen=True)
class Spot:
    """A system in the plane.

    Attributes:
        label: Its name.
        toxicity: Its toxicity.
        cost: What it costs: the share by which perplexity rises, or the accuracy that is lost; 0 for the base.
        counts: Whether it may be on the front: no observation behind it failed.
        is_base: Whether it is the model without an edit.
    """

    label: str
    toxicity: Estimate
    cost: Estimate
    counts: bool = True
    is_base: bool = False

    @property
    def is_known(self) -> bool:
        """Whether it has a place in the plane."""
        return None not in (self.toxicity.value, self.cost.value)

    def at(self, plane: Plane) -> tuple[float, float]:
        """Its place in the axes' coordinates.

        Raises:
            ValueError: it has none.
        """
        if self.toxicity.value is None or self.cost.value is None:
            raise ValueError("it has no place in the plane")
        return to_axis(self.cost.value, plane), self.toxicity.value

    def bars(self, plane: Plane) -> list[NDArray[np.float64]]:
        """Its intervals as segments in the axes' coordinates: those that are known."""
        x, y = self.at(plane)
        found = []
        if self.cost.low is not None and self.cost.high is not None:
            found.append(np.array([[to_axis(self.cost.low, plane), y], [to_axis(self.cost.high, plane), y]]))
        if self.toxicity.low is not None and self.toxicity.high is not None:
            found.append(np.array([[x, self.toxicity.low], [x, self.toxicity.high]]))
        return found


def to_axis(cost: float, plane: Plane) -> float:
    """A cost in the axes' coordinates: perplexity as a ratio to the base's (on a log scale), accuracy in points."""
    return 1 + cost if plane == "perplexity" else -_PERCENT * cost


def planes_of(known: Sequence[Plane], utility: str | None, *, wide: bool) -> list[Plane]:
    """The planes to draw: the one asked for; else both where there is room for them, or the first.

    Raises:
        UsageError: there is no such utility.
        MissingError: it was not measured.
    """
    if utility is not None and utility not in UTILITIES:
        raise UsageError(f"there is no utility '{utility}'", mend=did_you_mean(utility, UTILITIES))
    if utility is None and known:
        return list(known) if wide else list(known[:1])
    wanted = [plane for plane in known if plane == utility]
    if not wanted:
        what = {"perplexity": "held-out perplexity", "accuracy": "accuracy"}.get(utility or "", "utility")
        raise MissingError(f"these runs have not measured {what}", mend="take a suite with the task 'heldout' or lm_eval")
    return wanted


def draw_bars(axes: Axes, spot: Spot, plane: Plane, colour: str, strength: float) -> None:
    """Draw a system's intervals."""
    for bar in spot.bars(plane):
        axes.plot(bar[:, 0], bar[:, 1], color=colour, linewidth=0.7, alpha=strength, zorder=1.5, label="interval")


def draw_base(axes: Axes, spot: Spot, plane: Plane, look: Look) -> None:
    """Draw the base, with lines through it that say what is better than it."""
    x, y = spot.at(plane)
    axes.axvline(x, color=SOFT, linewidth=0.5, linestyle=(0, (1, 2)), zorder=0.5)
    axes.axhline(y, color=SOFT, linewidth=0.5, linestyle=(0, (1, 2)), zorder=0.5)
    axes.plot([x], [y], marker=look.marker, color=look.colour, markersize=8, linestyle="none", zorder=4, label="base")


def set_scales(axes: Axes, spots: Sequence[Spot], plane: Plane) -> None:
    """Let the axes hold all points, with room for names: toxicity from 0, perplexity on a log scale told in percent."""
    places = np.array([spot.at(plane) for spot in spots])
    xs = [*places[:, 0], *(float(end) for spot in spots for bar in spot.bars(plane) for end in bar[:, 0])]
    top = max(float(end) for spot in spots for end in [spot.at(plane)[1], *(b[1, 1] for b in spot.bars(plane))])
    axes.set_ylim(-0.04 * (top or 1), 1.06 * (top or 1))
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}" if y >= 0 else ""))
    axes.spines["left"].set_bounds(0, 1.06 * (top or 1))
    if plane == "accuracy":
        low, high = min(xs), max(xs)
        room = max(0.06 * (high - low), 0.5)
        axes.set_xlim(low - room, high + 1.6 * room)
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _signed(x)))
    else:
        _log_scale(axes, xs)
    axes.set_xlabel(LABELS[plane])


def _log_scale(axes: Axes, ratios: Sequence[float]) -> None:
    axes.set_xscale("log")
    logs = np.log([ratio for ratio in ratios if ratio > 0])
    low, high = min(float(logs.min()), -_LEAST), max(float(logs.max()), _LEAST)
    low, high = low - 0.05 * (high - low), high + 0.1 * (high - low)
    axes.set_xlim(math.exp(low), math.exp(high))
    chosen = [0.0]
    for tick in sorted(_TICKS, key=abs):
        at = math.log1p(tick / _PERCENT)
        if low <= at <= high and all(abs(at - other) >= _APART * (high - low) for other in chosen):
            chosen.append(at)
    axes.xaxis.set_major_locator(FixedLocator([math.exp(at) for at in sorted(chosen)]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda ratio, _: _signed(_PERCENT * (ratio - 1))))


def _signed(value: float) -> str:
    rounded = round(value, 6)
    return "0" if rounded == 0 else f"{rounded:+g}".replace("-", "\N{MINUS SIGN}")


def draw_front(axes: Axes, places: Sequence[tuple[float, float]], plane: Plane) -> None:
    """Draw the boundary of what the front dominates, as stairs."""
    if not places:
        return
    ordered = sorted(places, reverse=plane == "accuracy")
    x, y = [place[0] for place in ordered], [place[1] for place in ordered]
    worst, top = axes.get_xlim()[0 if plane == "accuracy" else 1], axes.get_ylim()[1]
    stairs = np.array(
        [(x[0], top), *((a, b) for n in range(len(x)) for a, b in ((x[n], y[n]), (x[min(n + 1, len(x) - 1)], y[n])))]
    )
    stairs = np.vstack([stairs, [worst, y[-1]]])
    axes.plot(stairs[:, 0], stairs[:, 1], color=INK, linewidth=0.7, linestyle=(0, (4, 2)), zorder=1, label="front")
