"""The hypervolume of noisy points: what chance adds to it is taken away, and what is left has an interval.

A hypervolume takes the best of several points at every cost, and the best of several noisy figures is better than it
truly is: five points of a method that does nothing would seem to gain something. So points are chosen on some of the
prompts and measured on the others (cross-validation: Stone 1974), over and over. What is measured then owes nothing to
chance, and points that gain nothing have about 0. Where points are hard to tell apart, those that are chosen on half of
the prompts are not always the best, and the value lies a little below the truth, as the apparent one lies above it.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.stats.estimate import Array
from bench.stats.spread import student_quantile

_PARTITIONS = 20
"""How often clusters are halved anew: the value is the mean, so that it hardly hangs on how they were."""
_FEWEST = 4
"""Clusters below which a half has no spread."""
_LARGEST_ERROR = 1 / 3
"""The base's standard error, as a share of its figure, from which on no share of it is told (docs/statistics.md)."""

Places = NDArray[np.int64]


@dataclass(frozen=True)
class Axis:
    """One coordinate of several points.

    Attributes:
        figures: The coordinate of each point by each seed (seeds x points).
        influence: What each cluster adds to it, to first order, with a mean of 0 (seeds x clusters x points).
    """

    figures: Array
    influence: Array

    def at(self, seeds: Places, clusters: Places) -> Array:
        """The coordinates that these clusters alone give by these seeds."""
        found: Array = (self.figures[seeds] + self.influence[np.ix_(seeds, clusters)].mean(axis=1)).mean(axis=0)
        return found


@dataclass(frozen=True)
class Volume:
    """A hypervolume.

    Attributes:
        apparent: That of the point estimates, in which chance counts as gain.
        value: That without what chance adds; None where there is too little evidence to tell.
        low: Lower end of its interval; None also where nothing was seen to vary.
        high: Upper end, likewise.
    """

    apparent: float
    value: float | None = None
    low: float | None = None
    high: float | None = None


def is_known(base: Axis) -> bool:
    """Whether a base's figure is known well enough for shares of it: to first order they err as far as it does.

    Where toxic texts are so rare that a cluster more or less moves the base by much, that is far from true.
    """
    own = base.influence.mean(axis=(0, 2))
    return len(own) >= _FEWEST and math.sqrt(_variance(own)) < _LARGEST_ERROR * float(base.figures.mean())


def relative(points: Axis, base: Axis) -> Axis:
    """Figures as shares of the base's, on the same clusters."""
    middle, own = base.figures.mean(), base.influence.mean(axis=(0, 2))
    shares = points.figures / middle
    return Axis(shares, (points.influence - shares[:, None] * own[None, :, None]) / middle)


def hypervolume(points: Sequence[tuple[float, float]]) -> float:
    """Area of the unit square that some points dominate: exact, coordinates below 0 count as 0."""
    area, best = 0.0, 1.0
    for x, y in sorted((max(x, 0.0), max(y, 0.0)) for x, y in points):
        if x < 1 and y < best:
            area += (1 - x) * (best - y)
            best = y
    return area


def cross_validated(distance: Axis, cost: Axis, apparent: float, *, level: float = 0.95, seed: int = 0) -> Volume:
    """The hypervolume of points without what chance adds to it.

    Points are chosen on half of the clusters, and by all seeds but one where there are several; the area of the stairs
    that they make is measured on the other half, by the other seed, where what they lose is negative. The error is
    Student's, from what each cluster adds to the area and, with several seeds, from how the area differs between them.
    The interval reaches that far below the value, and that far above the apparent one, since the truth is seldom
    outside of the two.

    Args:
        distance: How far each point is from the wanted end, as a share of the base.
        cost: What it costs, as a share of the reference.
        apparent: The hypervolume of the point estimates.
        level: Confidence level.
        seed: Seed of the partitions.
    """
    n_seeds = len(distance.figures)
    sizes = [axis.influence.shape[1] for axis in (distance, cost)]
    if min(sizes) < _FEWEST:
        return Volume(apparent)
    areas = np.zeros(n_seeds)
    added = [np.zeros((n_seeds, size)) for size in sizes]  # what each cluster adds to the area of each seed
    for one in range(n_seeds):
        held = np.array([one])
        others = np.array([n for n in range(n_seeds) if n != one or n_seeds == 1])
        for (in_, out), (in_cost, out_cost) in _halves(sizes, seed):
            chosen = stairs(distance.at(others, in_), cost.at(others, in_cost))
            areas[one] += _area(chosen, distance.at(held, out), cost.at(held, out_cost))
            mean = distance.figures.mean(axis=0), cost.figures.mean(axis=0)
            by_distance, by_cost = _slopes(chosen, *mean)
            added[0][one, out] += distance.influence[one][out] @ by_distance
            added[1][one, out_cost] += cost.influence[one][out_cost] @ by_cost
    areas /= 2 * _PARTITIONS
    added = [part / _PARTITIONS for part in added]
    value = float(areas.mean())
    far = _reach(areas, added, level)
    if not far:  # no half chose a point, or no cluster differs: there is nothing to take an error from
        return Volume(apparent, min(1.0, max(0.0, value)))
    return Volume(apparent, *(min(1.0, max(0.0, one)) for one in (value, value - far, max(value, apparent) + far)))


def stairs(distance: Array, cost: Array) -> list[int]:
    """The points that the hypervolume consists of, from the cheapest on: each is nearer than all before it."""
    chosen: list[int] = []
    best = 1.0
    for place in np.lexsort((distance, np.maximum(cost, 0.0))):
        if cost[place] < 1 and distance[place] < best:
            chosen.append(int(place))
            best = float(distance[place])
    return [place for n, place in enumerate(chosen) if n + 1 == len(chosen) or max(cost[chosen[n + 1]], 0.0) > 0]


def _area(chosen: Sequence[int], distance: Array, cost: Array) -> float:
    """The area of some stairs by other figures: what they gain times how far the step reaches, of either sign."""
    ends = [*(float(cost[place]) for place in chosen), 1.0]
    return sum((1 - float(distance[place])) * (ends[n + 1] - ends[n]) for n, place in enumerate(chosen))


def _slopes(chosen: Sequence[int], distance: Array, cost: Array) -> tuple[Array, Array]:
    """By how much the area changes with each point's distance, and with its cost."""
    by_distance, by_cost = np.zeros(len(distance)), np.zeros(len(cost))
    ends = [*(float(cost[place]) for place in chosen), 1.0]
    for n, place in enumerate(chosen):
        by_distance[place] = ends[n] - ends[n + 1]
        gain = 1 - float(distance[place])
        by_cost[place] -= gain
        if n + 1 < len(chosen):
            by_cost[chosen[n + 1]] += gain
    return by_distance, by_cost


def _halves(sizes: Sequence[int], seed: int) -> Iterator[list[tuple[Places, Places]]]:
    """For either half of each partition: of each axis, the clusters to choose on and those to measure on."""
    generator = np.random.default_rng([seed, 5])
    for _ in range(_PARTITIONS):
        halves = [np.array_split(generator.permutation(size), 2) for size in sizes]
        yield [(one, other) for one, other in halves]
        yield [(other, one) for one, other in halves]


def _reach(areas: Array, added: Sequence[Array], level: float) -> float:
    """Half the width of the interval."""
    parts = [_variance(part.mean(axis=0)) for part in added]
    prompts, seeds = sum(parts), 0.0
    uncertain = prompts**2 / (min(part.shape[1] for part in added) - 1)
    if len(areas) > 1:
        crude = float(areas.var(ddof=1)) / len(areas)
        noise = sum(_variance(one) for part in added for one in part - part.mean(axis=0)) / (len(areas) - 1)
        seeds = max(0.0, crude - noise / len(areas))
        uncertain += crude**2 / (len(areas) - 1) if seeds else 0.0
    if not prompts + seeds:
        return 0.0
    degrees = max(1.0, (prompts + seeds) ** 2 / uncertain)  # Satterthwaite's
    return student_quantile((1 + level) / 2, degrees) * math.sqrt(prompts + seeds)


def _variance(added: Array) -> float:
    """The variance of a mean over clusters."""
    return float(added.var(ddof=1)) / len(added)
