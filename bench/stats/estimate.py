"""A metric's figure as a function of how often each cluster is counted."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.store.record import Evidence

Array = NDArray[np.float64]
LARGEST = 700.0
"""Logarithm of about the largest number there is."""


@dataclass(frozen=True)
class Ratio:
    """A weighted mean, or its exponential.

    Attributes:
        sums: For each cluster, the sum of weight x value and the sum of weights (clusters x 2).
        exp: Whether the figure is the exponential of the mean.
    """

    sums: Array
    exp: bool

    def of(self, totals: Array) -> Array:
        """The figure of each row of summed `sums` (n x 2); NaN where nothing is counted."""
        mean = divide(totals[:, 0], totals[:, 1])
        with np.errstate(over="ignore"):  # beyond all numbers it is infinite, and none is told
            return np.exp(mean) if self.exp else mean

    def __call__(self, counts: Array) -> Array:
        """The figure for each row of counts (n x clusters)."""
        return self.of(counts @ self.sums)


class Median:
    """Weighted median: where the cumulated weight passes one half, the midpoint where it just reaches it.

    Sorted observations are cut into blocks: a product of matrices finds each resample's block, and only that block's
    observations are looked at one by one. Resampled medians lie near the median, so the product covers the blocks
    within six standard errors of it; all blocks where that is not enough.
    """

    def __init__(self, values: Array, weights: Array, cluster: NDArray[np.int64], n_clusters: int) -> None:
        """Sort the observations; `cluster` numbers the cluster of each."""
        order = np.argsort(values, kind="stable")
        self._n_clusters = n_clusters
        self._size = size = max(1, math.isqrt(len(values)) // 2)
        self._n_blocks = n_blocks = max(1, -(-len(values) // size))
        pad = n_blocks * size - len(values)
        self._values = np.pad(values[order], (0, pad))
        self._cluster = np.pad(cluster[order], (0, pad))
        self._weights = np.pad(weights[order], (0, pad))
        self._totals = self._weight_of(0, len(self._values))
        self._near = self._within(*self._window())

    def _weight_of(self, first: int, end: int) -> Array:
        """Each cluster's weight among some of the sorted observations."""
        found = np.bincount(self._cluster[first:end], self._weights[first:end], self._n_clusters)
        return found.astype(np.float64, copy=False)

    def _window(self) -> tuple[int, int]:
        """The blocks within six standard errors of the median: the first, and the one after the last."""
        cumulated = np.cumsum(self._weights.reshape(-1, self._size).sum(axis=1))
        half = cumulated[-1] / 2
        middle = int(np.searchsorted(cumulated, half))
        own = self._weight_of(0, (middle + 1) * self._size) - self._totals / 2
        far = 6 * math.sqrt(float((own**2).sum()))
        low, high = np.searchsorted(cumulated, [half - far, half + far])
        return max(0, int(low) - 1), min(self._n_blocks, int(high) + 2)

    def _within(self, low: int, high: int) -> tuple[int, Array]:
        """The first block, and each cluster's weight before it, in each block of the window, and in all.

        Only the window is held: all blocks of all clusters would be as large as the square root of the observations
        allows, once for each system.
        """
        first, end, count = low * self._size, high * self._size, high - low
        places = self._cluster[first:end] * count + np.arange(end - first) // self._size
        inside = np.bincount(places, self._weights[first:end], self._n_clusters * count)
        return low, np.column_stack([self._weight_of(0, first), inside.reshape(-1, count), self._totals])

    def __call__(self, counts: Array) -> Array:
        """The median for each row of counts (n x clusters); NaN where nothing is counted."""
        median, outside = self._find(counts, *self._near)
        if outside.any():
            median[outside] = self._find(counts[outside], *self._within(0, self._n_blocks))[0]
        return median

    def _find(self, counts: Array, low: int, weights: Array) -> tuple[Array, NDArray[np.bool_]]:
        """The median of each row by some of the blocks, and the rows of which it lies in none of these."""
        reached = counts @ weights
        total, reached = reached[:, -1], np.cumsum(reached[:, :-1], axis=1)
        half = total[:, None] / 2
        median, exactly = self._pick(counts, reached, half, low, past=False)
        if exactly.any():
            above, _ = self._pick(counts[exactly], reached[exactly], half[exactly], low, past=True)
            median[exactly] = (median[exactly] + above) / 2
        outside = (reached[:, 0] >= half[:, 0]) | (reached[:, -1] <= half[:, 0])
        return np.where(total > 0, median, np.nan), outside & (total > 0)

    def _pick(
        self, counts: Array, reached: Array, half: Array, low: int, *, past: bool
    ) -> tuple[Array, NDArray[np.bool_]]:
        """The first value at which the cumulated weight reaches (or goes past) one half, and whether it is half."""
        block = np.argmax(reached[:, 1:] > half if past else reached[:, 1:] >= half, axis=1)
        rows = np.arange(len(counts))
        inside = (low + block)[:, None] * self._size + np.arange(self._size)
        inner = counts[rows[:, None], self._cluster[inside]] * self._weights[inside]
        cumulated = reached[rows, block][:, None] + np.cumsum(inner, axis=1)
        hit = cumulated > half if past else cumulated >= half
        offset = np.where(hit.any(axis=1), np.argmax(hit, axis=1), self._size - 1)  # rounding may hide the last one
        chosen: Array = self._values[(low + block) * self._size + offset]
        return chosen, cumulated[rows, offset] <= half[:, 0]


Statistic = Ratio | Median


def value(evidence: Evidence) -> float | None:
    """The metric's figure from its evidence; None where there is no observation."""
    return average([evidence])


def average(evidences: Sequence[Evidence]) -> float | None:
    """The figure of a system: the statistic of each seed's evidence, averaged; None where a seed has none."""
    clusters = sorted(set().union(*map(present, evidences)))
    if not clusters:
        return None
    figure = float(np.mean([once(statistic(evidence, clusters), len(clusters)) for evidence in evidences]))
    return figure if math.isfinite(figure) else None


def capped(log: float) -> float:
    """A logarithm, lowered where its exponential would be larger than any number, as it may be at an interval's end."""
    return min(LARGEST, log)


def present(evidence: Evidence) -> set[str]:
    """The clusters that have at least one observation."""
    return {evidence.cluster_ids[index] for index in set(evidence.cluster)}


def observations(evidence: Evidence, clusters: Sequence[str]) -> tuple[Array, Array, NDArray[np.int64]]:
    """Values, weights and places in `clusters` of the observations on these clusters."""
    place = {name: index for index, name in enumerate(clusters)}
    places = np.array([place.get(name, -1) for name in evidence.cluster_ids], dtype=np.int64)
    cluster = places[np.asarray(evidence.cluster, dtype=np.int64)]
    kept = cluster >= 0
    values = np.asarray(evidence.value, dtype=np.float64)[kept]
    weights = np.ones_like(values) if evidence.weight is None else np.asarray(evidence.weight, np.float64)[kept]
    return values, weights, cluster[kept]


def sums(values: Array, weights: Array, cluster: NDArray[np.int64], n_clusters: int) -> Array:
    """For each cluster, the sum of weight x value and the sum of weights (clusters x 2)."""
    return np.stack([np.bincount(cluster, mass, minlength=n_clusters) for mass in (weights * values, weights)], axis=1)


def statistic(evidence: Evidence, clusters: Sequence[str]) -> Statistic:
    """The evidence's statistic as a function of how often each of `clusters` is counted."""
    observed = observations(evidence, clusters)
    if evidence.statistic == "median":
        return Median(*observed, len(clusters))
    return Ratio(sums(*observed, len(clusters)), exp=evidence.statistic == "exp_mean")


def once(statistic: Statistic, n_clusters: int) -> float:
    """The figure with every cluster counted once."""
    return float(statistic(np.ones((1, n_clusters)))[0])


def divide(numerator: Array, denominator: Array) -> Array:
    """The quotient; NaN where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator != 0)
