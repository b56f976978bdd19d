"""Intervals and paired differences by the cluster bootstrap, in numpy alone.

Continuations of one prompt are not independent, so what is resampled is the prompt (the cluster) with everything that
was observed on it (Cameron, Gelbach & Miller 2008, "Bootstrap-based improvements for inference with clustered errors";
Field & Welsh 2007), and then the seeds. Intervals are percentile intervals (Efron & Tibshirani 1993, "An Introduction
to the Bootstrap", ch. 13). A statistic is computed per seed and averaged over seeds. With two or three seeds the
spread between seeds is understated by the factor (S - 1) / S: read the interval as what other prompts would do.

Every draw depends on `seed` and on the numbers of clusters and seeds alone.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.errors import MissingError
from bench.store.record import Evidence

Array = NDArray[np.float64]
_Statistic = Callable[[Array], Array]
"""Counts of each cluster (resamples x clusters) to the statistic of each resample; NaN where nothing was drawn."""

_FEWEST = 2
"""Clusters below which nothing can be said of their spread."""
_SAME = 1e-12
"""Resamples closer to each other than this differ by rounding alone."""
_CELLS = 1 << 19
"""Counts held at a time: 4 MiB, so that a chunk stays in the processor's cache whatever the number of prompts."""


@dataclass(frozen=True)
class Interval:
    """A confidence interval, both ends included."""

    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """A paired difference `a - b` (or `a / b - 1`) with its interval.

    Attributes:
        value: The difference on the clusters that both sides have.
        low: Lower end of the interval, or None where there are fewer than two clusters.
        high: Upper end, or None.
        n_clusters: Clusters that were compared.
        n_left_out: Clusters that only some of the evidence has; they are in no figure here.
    """

    value: float
    low: float | None
    high: float | None
    n_clusters: int
    n_left_out: int

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval is known and holds no zero."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def value(evidence: Evidence) -> float | None:
    """The metric's figure from its evidence; None where there is no observation."""
    return average([evidence])


def average(evidences: Sequence[Evidence]) -> float | None:
    """The figure of a system: the statistic of each seed's evidence, averaged; None where a seed has none."""
    clusters = sorted(set().union(*map(_present, evidences)))
    if not clusters:
        return None
    figure = _estimate([_statistic(evidence, clusters) for evidence in evidences], len(clusters))
    return figure if math.isfinite(figure) else None


def interval(
    evidences: Sequence[Evidence], *, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> Interval | None:
    """Bootstrap interval of a system's figure: clusters are resampled, then seeds.

    Where every observation of a bounded metric is the same, every resample is too, and the bootstrap would claim
    certainty. Then the share of clusters that might yet differ has the exact binomial bound for none seen among n,
    b = 1 - (alpha / 2)^(1 / n) (Clopper & Pearson 1934), and the interval is what such clusters could do to the mean:
    [0, b] at 0, [1 - b, 1] at 1.

    Args:
        evidences: The evidence of one metric of one system, one entry per seed.
        level: Confidence level.
        resamples: Bootstrap resamples.
        seed: Seed of the draws.

    Returns:
        The interval, or None where there are fewer than two clusters or a seed without observations.
    """
    clusters = sorted(set().union(*map(_present, evidences)))
    figure = average(evidences)
    if figure is None or len(clusters) < _FEWEST:
        return None
    observed = np.concatenate([evidence.value for evidence in evidences])
    if all(evidence.bounded for evidence in evidences) and np.ptp(observed) == 0:
        return _exact(float(observed[0]), len(clusters), (0.0, 1.0), level)
    statistics = [_statistic(evidence, clusters) for evidence in evidences]
    (drawn,) = _bootstrap([statistics], len(clusters), resamples, seed)
    return _percentiles(drawn, level)


def difference(
    a: Sequence[Evidence],
    b: Sequence[Evidence],
    *,
    relative: bool = False,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Difference:
    """Paired difference `a - b` of two systems on the same clusters.

    Each resample draws one set of clusters for both sides and the seeds of each side on their own. Where the figure
    is a bounded mean and no cluster differs from any other in its difference, the interval is the exact one of
    `interval`, on [-1, 1]: systems that agree on n questions may still differ on the next.

    Args:
        a: One side's evidence, one entry per seed.
        b: The other side's, of the same metric.
        relative: Return a / b - 1 instead (perplexity reads as +x %).
        level: Confidence level.
        resamples: Bootstrap resamples.
        seed: Seed of the draws.

    Raises:
        MissingError: no cluster was observed in every entry of both sides, or b's figure is 0 and `relative`.
    """
    present = [_present(evidence) for evidence in (*a, *b)]
    clusters = sorted(set.intersection(*present)) if a and b else []
    if not clusters:
        raise MissingError("the two runs have no prompt or question in common", mend="compare runs on the same data")
    left_out = len(set.union(*present)) - len(clusters)
    sides = [[_statistic(evidence, clusters) for evidence in side] for side in (a, b)]
    first, second = (_estimate(side, len(clusters)) for side in sides)
    if relative and second == 0:
        raise MissingError("a relative difference to 0 is not defined", mend="compare the absolute one")
    figure = first / second - 1 if relative else first - second
    ends: Interval | None = None
    if len(clusters) >= _FEWEST:
        drawn_a, drawn_b = _bootstrap(sides, len(clusters), resamples, seed)
        drawn = _divide(drawn_a, drawn_b) - 1 if relative else drawn_a - drawn_b
        means = all(evidence.bounded and evidence.statistic == "mean" for evidence in (*a, *b))
        if means and not relative and np.ptp(drawn) < _SAME:
            ends = _exact(figure, len(clusters), (-1.0, 1.0), level)
        else:
            ends = _percentiles(drawn, level)
    return Difference(figure, ends.low if ends else None, ends.high if ends else None, len(clusters), left_out)


def _present(evidence: Evidence) -> set[str]:
    """The clusters that have at least one observation."""
    return {evidence.cluster_ids[index] for index in set(evidence.cluster)}


def _statistic(evidence: Evidence, clusters: list[str]) -> _Statistic:
    """The evidence's statistic as a function of how often each of `clusters` was drawn."""
    place = {name: index for index, name in enumerate(clusters)}
    places = np.array([place.get(name, -1) for name in evidence.cluster_ids], dtype=np.int64)
    cluster = places[np.asarray(evidence.cluster, dtype=np.int64)]
    kept = cluster >= 0
    values = np.asarray(evidence.value, dtype=np.float64)[kept]
    weights = np.ones_like(values) if evidence.weight is None else np.asarray(evidence.weight, np.float64)[kept]
    if evidence.statistic == "median":
        return _median(values, weights, cluster[kept], len(clusters))
    sums = np.stack(
        [np.bincount(cluster[kept], mass, minlength=len(clusters)) for mass in (weights * values, weights)], axis=1
    )

    def mean(counts: Array) -> Array:
        total = counts @ sums
        return _divide(total[:, 0], total[:, 1])

    return mean if evidence.statistic == "mean" else lambda counts: np.exp(mean(counts))


def _median(values: Array, weights: Array, cluster: NDArray[np.int64], n_clusters: int) -> _Statistic:
    """Weighted median: where the cumulated weight passes one half, the midpoint where it just reaches it.

    Sorted observations are cut into about sqrt(n) blocks: a product of matrices finds each resample's block, and only
    that block's observations are looked at one by one.
    """
    order = np.argsort(values, kind="stable")
    size = max(1, math.isqrt(len(values)))
    n_blocks = -(-len(values) // size)
    pad = n_blocks * size - len(values)
    values, cluster = np.pad(values[order], (0, pad), "edge"), np.pad(cluster[order], (0, pad), "edge")
    weights = np.pad(weights[order], (0, pad))
    blocks = np.zeros((n_clusters, n_blocks))
    np.add.at(blocks, (cluster, np.arange(len(values)) // size), weights)

    def pick(counts: Array, cumulated: Array, *, past: bool) -> Array:
        """The first value at which the cumulated weight reaches (or goes past) one half."""
        half = cumulated[:, -1:] / 2
        block = np.argmax(cumulated > half if past else cumulated >= half, axis=1)
        rows = np.arange(len(counts))
        before = np.where(block > 0, cumulated[rows, block - 1], 0.0)
        inside = block[:, None] * size + np.arange(size)
        reached = before[:, None] + np.cumsum(counts[rows[:, None], cluster[inside]] * weights[inside], axis=1)
        hit = reached > half if past else reached >= half
        offset = np.where(hit.any(axis=1), np.argmax(hit, axis=1), size - 1)  # rounding may hide the last one
        chosen: Array = values[block * size + offset]
        return chosen

    def median(counts: Array) -> Array:
        cumulated = np.cumsum(counts @ blocks, axis=1)
        middle = (pick(counts, cumulated, past=False) + pick(counts, cumulated, past=True)) / 2
        return np.where(cumulated[:, -1] > 0, middle, np.nan)

    return median if len(values) else lambda counts: np.full(len(counts), np.nan)


def _estimate(statistics: list[_Statistic], n_clusters: int) -> float:
    """The average over seeds with every cluster counted once."""
    once = np.ones((1, n_clusters))
    return float(np.mean([statistic(once)[0] for statistic in statistics]))


def _bootstrap(sides: list[list[_Statistic]], n_clusters: int, resamples: int, seed: int) -> list[Array]:
    """For each side, the seed-averaged statistic of every resample; clusters are shared by the sides, seeds are not."""
    drawn = [np.empty((resamples, len(side))) for side in sides]
    for rows, counts in _draws(n_clusters, resamples, seed):
        for side, out in zip(sides, drawn, strict=True):
            for column, statistic in enumerate(side):
                out[rows, column] = statistic(counts)
    averaged = []
    for number, out in enumerate(drawn):
        picks = np.random.default_rng([seed, 1, number]).integers(0, out.shape[1], size=out.shape)
        averaged.append(np.take_along_axis(out, picks, axis=1).mean(axis=1))
    return averaged


def _draws(n_clusters: int, resamples: int, seed: int) -> Iterator[tuple[slice, Array]]:
    """Multinomial cluster counts of all resamples, in chunks of bounded memory."""
    generator = np.random.default_rng([seed, 0])
    step = max(1, _CELLS // n_clusters)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        picks = generator.integers(0, n_clusters, size=(rows, n_clusters))
        picks += np.arange(rows)[:, None] * n_clusters
        counts = np.bincount(picks.ravel(), minlength=rows * n_clusters)
        yield slice(start, start + rows), counts.reshape(rows, n_clusters).astype(np.float64)


def _divide(numerator: Array, denominator: Array) -> Array:
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator != 0)


def _percentiles(drawn: Array, level: float) -> Interval | None:
    known = drawn[np.isfinite(drawn)]  # a resample without any observation says nothing
    if not len(known):
        return None
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def _exact(figure: float, n_clusters: int, support: tuple[float, float], level: float) -> Interval:
    """The interval where all clusters agree: at most a share b of them could be anywhere in `support`."""
    share = 1 - ((1 - level) / 2) ** (1 / n_clusters)
    return Interval(figure - share * (figure - support[0]), figure + share * (support[1] - figure))
