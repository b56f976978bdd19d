"""The plane of the attribute and what it costs: its scales, and systems as points with intervals."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray

from bench.errors import MissingError, UsageError, did_you_mean
from reports.plots.style import INK, SOFT, Look
from reports.tradeoff.build import Estimate, Plane

UTILITIES: tuple[Plane, ...] = ("perplexity", "accuracy")
HOLLOW = "Hollow: flagged, or some measurement failed; on no front."
"""What a reader must know of marks that are not filled."""
_PERCENT = 100
_TICKS = (-80, -50, -20, -10, -5, 5, 10, 20, 50, 100, 200, 500, 1000, 10_000, 100_000, 1_000_000)
_APART = 0.1  # of the axis between two ticks
_LINEAR = 10.0  # percent of perplexity about which the scale turns from even steps to even factors
_LEAST = {"perplexity": 2.0, "accuracy": 1.0}
"""Half the width of the narrowest axis."""


@dataclass(frozen=True)
class Spot:
    """A system in the plane.

    Attributes:
        label: Its name.
        attribute: How much of the attribute its texts have.
        cost: What it costs: the share by which perplexity rises, or the accuracy that is lost; 0 for the base.
        counts: Whether it may be on the front: it is not flagged, and no observation behind it failed.
        is_base: Whether it is the model without an edit.
        higher_is_better: Whether much of the attribute is wanted.
        model: What its base model is called, where there are several.
    """

    label: str
    attribute: Estimate
    cost: Estimate
    counts: bool = True
    is_base: bool = False
    higher_is_better: bool = False
    model: str = ""

    @property
    def is_known(self) -> bool:
        """Whether it has a place in the plane."""
        return None not in (self.attribute.value, self.cost.value)

    def at(self, plane: Plane) -> tuple[float, float]:
        """Its place in the axes' coordinates.

        Raises:
            ValueError: it has none.
        """
        if self.attribute.value is None or self.cost.value is None:
            raise ValueError("it has no place in the plane")
        return to_axis(self.cost.value, plane), self.attribute.value

    def bars(self, plane: Plane) -> list[NDArray[np.float64]]:
        """Its intervals as segments in the axes' coordinates: those that are known."""
        x, y = self.at(plane)
        found = []
        if self.cost.low is not None and self.cost.high is not None:
            found.append(np.array([[to_axis(self.cost.low, plane), y], [to_axis(self.cost.high, plane), y]]))
        if self.attribute.low is not None and self.attribute.high is not None:
            found.append(np.array([[x, self.attribute.low], [x, self.attribute.high]]))
        return found


def to_axis(cost: float, plane: Plane) -> float:
    """A cost in the axes' coordinates: the change of perplexity in percent, of accuracy in points."""
    return _PERCENT * cost if plane == "perplexity" else -_PERCENT * cost


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
        raise MissingError(
            f"{what} was not measured in all of these systems", mend="take a suite with the task 'heldout' or lm_eval"
        )
    return wanted


def refuse_unmeasured(attribute: str, values: Iterable[float | None]) -> None:
    """Refuse systems of which none has a value of the attribute: a plane would be empty.

    Raises:
        MissingError: they have none.
    """
    if all(value is None for value in values):
        what = f"no system here has a value of {attribute}"
        raise MissingError(what, mend="'bench table' says what failed; run those experiments again")


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


def axis_label(plane: Plane, utility: str) -> str:
    """What stands below the axis of a cost; `utility` is the metric that is the mean over the tasks."""
    if plane == "perplexity":
        return "held-out perplexity, change in % ↓"
    return f"{utility.replace('_', ' ')}, change in points ↑"


def set_scales(axes: Axes, spots: Sequence[Spot], plane: Plane) -> None:
    """Let the axes hold all points, with room for names: the attribute from 0, perplexity in steps, then in factors."""
    xs = [spot.at(plane)[0] for spot in spots] + [
        end for spot in spots for bar in spot.bars(plane) for end in bar[:, 0]
    ]
    ys = [spot.at(plane)[1] for spot in spots] + [
        end for spot in spots for bar in spot.bars(plane) for end in bar[:, 1]
    ]
    top = 1.06 * (float(max(ys)) or 1)
    axes.set_ylim(-0.04 * top, top)
    axes.spines["left"].set_bounds(0, top)
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}" if y >= 0 else ""))
    low, high = min(float(min(xs)), -_LEAST[plane]), max(float(max(xs)), _LEAST[plane])
    if plane == "perplexity":
        axes.set_xscale("asinh", linear_width=_LINEAR)
        start, end = _bent(low), _bent(high)
        room = end - start
        start, end = start - 0.05 * room, end + 0.12 * room
        axes.set_xlim(_LINEAR * math.sinh(start), _LINEAR * math.sinh(end))
        axes.xaxis.set_major_locator(FixedLocator(_chosen(start, end)))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        room = high - low
        axes.set_xlim(low - 0.06 * room, high + 0.1 * room)
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _signed(x)))


def _bent(percent: float) -> float:
    """Where the scale of perplexity puts a change."""
    return math.asinh(percent / _LINEAR)


def _chosen(start: float, end: float) -> list[float]:
    """Ticks that are not too near to each other, 0 and the next ones first."""
    chosen = [0.0]
    for tick in sorted(_TICKS, key=abs):
        at = _bent(tick)
        if start <= at <= end and all(abs(at - _bent(other)) >= _APART * (end - start) for other in chosen):
            chosen.append(float(tick))
    return sorted(chosen)


def _signed(value: float) -> str:
    rounded = round(value, 6)
    return "0" if rounded == 0 else f"{rounded:+g}".replace("-", "\N{MINUS SIGN}")


def front_stairs(axes: Axes, spots: Sequence[Spot], plane: Plane) -> NDArray[np.float64]:
    """The boundary of what some systems dominate, as stairs between the two worse sides of the axes: n x 2."""
    ordered = sorted((spot.at(plane) for spot in spots), reverse=plane == "accuracy")
    worst = axes.get_xlim()[0 if plane == "accuracy" else 1]
    stairs = [(ordered[0][0], axes.get_ylim()[0 if spots[0].higher_is_better else 1])]
    for n, (x, y) in enumerate(ordered):
        stairs += [(x, y), (ordered[n + 1][0] if n + 1 < len(ordered) else worst, y)]
    return np.array(stairs)


def draw_front(axes: Axes, stairs: NDArray[np.float64]) -> None:
    """Draw the front."""
    axes.plot(stairs[:, 0], stairs[:, 1], color=INK, linewidth=0.7, linestyle=(0, (4, 2)), zorder=1, label="front")
