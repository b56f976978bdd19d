"""Names beside their points, so that none covers another: greedy, then mended; what finds no place is told."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.transforms import IdentityTransform
from numpy.typing import NDArray

from reports.plots.style import SOFT

Array = NDArray[np.float64]

_GAPS = (3.0, 6.0, 10.0, 15.0, 21.0, 28.0, 36.0, 46.0)
"""Distances between a point and its name that are tried, in points (1/72 in)."""
_ANGLES = np.arange(24) * (2 * math.pi / 24)
_MARK = 3.2
"""Half the side of what a point itself takes up."""
_NEAR = 7.0
"""From this distance on a line leads from the point to its name."""
_FORBIDDEN = 1000.0
_THROUGH = 6.0  # for each piece of a bar that a name lies on, five of them at most
_CROSSING = 25.0  # a leading line past another point
_ROUNDS = 3
_GROUND = {"boxstyle": "square,pad=0.02", "facecolor": "white", "edgecolor": "none", "alpha": 0.75}
"""Behind a name: an outline of its letters would make the file three times as large."""


def place(
    axes: Axes,
    points: Sequence[tuple[float, float]],
    names: Sequence[str],
    bars: Sequence[Array],
    colours: Sequence[str],
) -> list[int]:
    """Write names beside points in axes whose layout is final.

    Args:
        axes: Where.
        points: Of each name, in data coordinates; names come in the order of their claim to a place.
        names: The names; an empty one needs none, its point is in the others' way all the same.
        bars: Segments ([[x, y], [x, y]], data coordinates) that names had better not lie on.
        colours: Of the names.

    Returns:
        The names that found no place.
    """
    figure = axes.get_figure(root=True)
    if figure is None or not points:
        return []
    unit = figure.dpi / 72
    anchors = np.asarray(axes.transData.transform(np.asarray(points, dtype=float))) / unit
    frame = axes.get_window_extent()
    bounds = np.array([frame.x0, frame.y0, frame.x1, frame.y1]) / unit
    crosses = [np.asarray(axes.transData.transform(bar)) / unit for bar in bars]
    solver = _Solver(anchors, [_size(axes, name, unit) for name in names], bounds, crosses)
    found = solver.solve([n for n, name in enumerate(names) if name])
    for n, (box, gap) in found.items():
        if gap >= _NEAR:
            end = np.clip(anchors[n], box[:2], box[2:])
            ends = np.vstack([anchors[n], end]) * unit
            line = axes.transData.inverted().transform(ends)
            axes.plot(line[:, 0], line[:, 1], color=SOFT, linewidth=0.4, zorder=2.5, scalex=False, scaley=False)
        centre = (box[:2] + box[2:]) / 2 - anchors[n]
        axes.annotate(
            names[n],
            points[n],
            xytext=tuple(centre),
            textcoords="offset points",
            ha="center",
            va="center",
            zorder=5,
            color=colours[n],
            bbox=_GROUND,
        )
    return [n for n, name in enumerate(names) if name and n not in found]


def _size(axes: Axes, name: str, unit: float) -> tuple[float, float]:
    """Width and height of a name in points."""
    if not name:
        return 0.0, 0.0
    probe = axes.text(0, 0, name, transform=IdentityTransform())
    extent = probe.get_window_extent()
    probe.remove()
    return extent.width / unit, extent.height / unit


class _Solver:
    """Looks for a box for each name."""

    def __init__(
        self, anchors: Array, sizes: Sequence[tuple[float, float]], bounds: Array, bars: Sequence[Array]
    ) -> None:
        self._anchors, self._sizes, self._bounds = anchors, sizes, bounds
        self._marks = np.hstack([anchors - _MARK, anchors + _MARK])
        steps = np.linspace(0, 1, 12)[:, None]
        self._bars = np.vstack([bar[0] + steps * (bar[1] - bar[0]) for bar in bars]) if bars else np.empty((0, 2))
        self._found: dict[int, tuple[Array, float]] = {}

    def solve(self, order: Sequence[int]) -> dict[int, tuple[Array, float]]:
        """Boxes (x0, y0, x1, y1) and distances by name, for those that have a place."""
        for _ in range(_ROUNDS):
            for n in order:
                self._found.pop(n, None)
                boxes, gaps, cost = self._candidates(n)
                best = int(cost.argmin())
                if cost[best] < _FORBIDDEN:
                    self._found[n] = boxes[best], float(gaps[best])
        return self._found

    def _candidates(self, n: int) -> tuple[Array, Array, Array]:
        width, height = self._sizes[n]
        gap, angle = (grid.ravel() for grid in np.meshgrid(_GAPS, _ANGLES, indexing="ij"))
        reach = gap + _MARK * 0.5
        centre = self._anchors[n] + np.column_stack(
            [np.cos(angle) * (width / 2 + reach), np.sin(angle) * (height / 2 + reach)]
        )
        half = np.array([width, height]) / 2
        boxes = np.hstack([centre - half, centre + half])
        outside = (boxes[:, :2] < self._bounds[:2]).any(axis=1) | (boxes[:, 2:] > self._bounds[2:]).any(axis=1)
        others = np.array([box for m, (box, _) in self._found.items() if m != n]).reshape(-1, 4)
        taken = np.vstack([others, self._marks])
        cost = gap + 2 * np.abs(np.sin(angle)) - np.cos(angle)  # beside it rather than above, right rather than left
        cost = cost + _FORBIDDEN * (outside + _overlaps(boxes, taken).sum(axis=1))
        cost = cost + _THROUGH * np.minimum(_holds(boxes, self._bars).sum(axis=1), 5)
        leads = self._leads(n, boxes)
        away = np.delete(self._marks, n, axis=0)
        cost = cost + np.where(gap >= _NEAR, _CROSSING * self._hits(leads, away), 0)
        cost = cost + np.where(gap >= _NEAR, _FORBIDDEN * self._hits(leads, others), 0)
        return boxes, gap, cost

    def _leads(self, n: int, boxes: Array) -> Array:
        """Points along the line from the anchor to each box: boxes x 10 x 2."""
        ends = np.clip(self._anchors[n], boxes[:, :2], boxes[:, 2:])
        steps = np.linspace(0.1, 1, 10)[None, :, None]
        line: Array = self._anchors[n] + steps * (ends - self._anchors[n])[:, None, :]
        return line

    @staticmethod
    def _hits(leads: Array, boxes: Array) -> Array:
        """How many of some boxes each line goes through."""
        inside = (leads[:, :, None, :] > boxes[None, None, :, :2]) & (leads[:, :, None, :] < boxes[None, None, :, 2:])
        hits: Array = np.all(inside, axis=-1).any(axis=1).sum(axis=1).astype(float)
        return hits


def _overlaps(boxes: Array, others: Array) -> NDArray[np.bool_]:
    """Which boxes overlap which others."""
    low = boxes[:, None, :2] < others[None, :, 2:]
    high = boxes[:, None, 2:] > others[None, :, :2]
    found: NDArray[np.bool_] = np.all(low & high, axis=-1)
    return found


def _holds(boxes: Array, spots: Array) -> NDArray[np.bool_]:
    """Which boxes hold which spots."""
    inside = (spots[None] > boxes[:, None, :2]) & (spots[None] < boxes[:, None, 2:])
    found: NDArray[np.bool_] = np.all(inside, axis=-1)
    return found
