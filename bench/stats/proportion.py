"""Intervals of a mean of bounded observations in clusters: shares, scores, accuracies.

A bootstrap knows nothing of prompts that it has not seen. Where few are toxic, and some of these very, the next one may
be worse than all so far, and percentile intervals are too short on that side. Gaffke (2005, "Three test statistics for
a nonparametric one-sided hypothesis on the mean of a nonnegative variable") gives the upper end one cluster more, as
far up as there can be one, and draws the weights of all from a flat Dirichlet law; the lower end likewise, from below.
For clusters of 0 and 1 these are the ends of Clopper & Pearson (1934), and so they are where all clusters agree. No law
for which the ends fail is known (Phan, Thomas & Learned-Miller 2021, "Towards practical mean bounds for small
samples"); `docs/statistics.md` has what simulations say.

What another training would do is added by draws from the generalised pivot of its variance (Weerahandi 1993;
Krishnamoorthy & Mathew 2009, ch. 5): a sampled variance (S - 1) s^2 / chi^2, less what sampling noise explains. A plain
estimate is 0 by chance where seeds happen to agree; this one is as uncertain as few seeds are.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bench.stats.estimate import Array, observations, sums
from bench.stats.resampling import CELLS, KEPT, one_thread
from bench.store.record import Evidence

_SUPPORT = (0.0, 1.0)
_WEIGHTS, _TRAININGS = 3, 4
"""What the draws are for: with the seed, what their generator begins with."""

Ends = tuple[float, float]


def applies(evidences: Sequence[Evidence]) -> bool:
    """Whether a figure is a mean of observations in [0, 1]."""
    return all(
        one.bounded and one.statistic == "mean" and not (one.value and (min(one.value) < 0 or max(one.value) > 1))
        for one in evidences
    )


def intervals(
    systems: Sequence[Sequence[Evidence]],
    clusters: Sequence[str],
    *,
    trained: Sequence[bool] | None = None,
    level: float,
    resamples: int,
    seed: int,
) -> list[Ends]:
    """The interval of each system's figure, all by the same draws.

    Args:
        systems: For each system its evidence, one entry a seed, to which `applies`; observed on no other clusters.
        clusters: At least two.
        trained: For each system whether another seed is another training, None for all; without one, seeds sample the
            same model, and what they differ in is noise that the prompts' part holds.
        level: Confidence level.
        resamples: How many draws.
        seed: Seed of the draws.
    """
    shares = [_shares(evidences, clusters) for evidences in systems]
    below, above = _weighted([one.mean(axis=0) for one in shares], resamples, seed)
    found = []
    for place, one in enumerate(shares):
        moved = _moved(one, resamples, seed) if trained is None or trained[place] else np.zeros(resamples)
        found.append(_ends(float(one[..., 0].mean()), below[:, place] + moved, above[:, place] + moved, level))
    return found


def _shares(evidences: Sequence[Evidence], clusters: Sequence[str]) -> Array:
    """Sums of weight x value and of weights, so that those of a seed average 1 (seeds x clusters x 2)."""
    found = np.stack([sums(*observations(one, clusters), len(clusters)) for one in evidences])
    scaled: Array = found / found[..., 1].mean(axis=1)[:, None, None]
    return scaled


def _ends(figure: float, below: Array, above: Array, level: float) -> Ends:
    """The ends, from what the draws make of the mean over seeds; the figure itself always lies between them."""
    low, high = float(np.quantile(below, (1 - level) / 2)), float(np.quantile(above, (1 + level) / 2))
    return max(_SUPPORT[0], min(low, figure)), min(_SUPPORT[1], max(high, figure))


def _moved(shares: Array, resamples: int, seed: int) -> Array:
    """How far the mean over these trainings may lie from that over all of them, in draws."""
    n_seeds, n_clusters = shares.shape[:2]
    if n_seeds == 1:
        return np.zeros(resamples)  # one seed says nothing of others: the documentation says so
    figures = shares[..., 0].mean(axis=1)
    # What a cluster does to a seed's mean, to first order; what seeds differ in by prompt alone is sampling noise.
    influence = shares[..., 0] - figures[:, None] * shares[..., 1]
    own = influence - influence.mean(axis=0)
    noise = float((own**2).sum()) / ((n_seeds - 1) * (n_clusters - 1) * n_clusters)
    normal, chi = _trainings(n_seeds, resamples, seed)
    spread = np.maximum(0.0, (n_seeds - 1) * float(figures.var(ddof=1)) / chi - noise) / n_seeds
    moved: Array = normal * np.sqrt(spread)
    return moved


@lru_cache(maxsize=8)
def _trainings(n_seeds: int, resamples: int, seed: int) -> tuple[Array, Array]:
    """Draws of the normal law and of the chi-squared one with a degree of freedom less than seeds."""
    generator = np.random.default_rng([seed, _TRAININGS])
    return generator.standard_normal(resamples), generator.chisquare(n_seeds - 1, resamples)


def _weighted(sides: Sequence[Array], resamples: int, seed: int) -> tuple[Array, Array]:
    """The mean of each entry (clusters x 2) and one cluster more at 0, and at 1, by draws of the weights.

    Returns:
        Both as resamples x entries.
    """
    n_clusters = len(sides[0])
    columns = np.concatenate(sides, axis=1)
    below, above = np.empty((2, resamples, len(sides)))
    with one_thread():
        for rows, weights in _chunks(n_clusters + 1, resamples, seed):
            totals = weights[:, :-1] @ columns
            own, all_ = totals[:, ::2], totals[:, 1::2] + weights[:, -1:]
            below[rows], above[rows] = own / all_, (own + weights[:, -1:]) / all_
    return below, above


def _chunks(n_clusters: int, resamples: int, seed: int) -> Iterator[tuple[slice, Array]]:
    """The weights of all draws, in chunks of bounded memory; kept for the next metric where they are few enough."""
    drawn = _kept if 2 * n_clusters * resamples <= KEPT else _drawn
    step = max(1, CELLS // n_clusters)
    start = 0
    for chunk in drawn(n_clusters, resamples, seed, step):
        yield slice(start, start := start + len(chunk)), chunk.astype(np.float64)


@lru_cache(maxsize=2)
def _kept(n_clusters: int, resamples: int, seed: int, step: int) -> tuple[NDArray[np.float32], ...]:
    return tuple(_drawn(n_clusters, resamples, seed, step))


def _drawn(n_clusters: int, resamples: int, seed: int, step: int) -> Iterator[NDArray[np.float32]]:
    """Exponential weights: divided by their sum, they have the flat Dirichlet law."""
    generator = np.random.default_rng([seed, _WEIGHTS])
    for start in range(0, resamples, step):
        yield generator.standard_exponential((min(step, resamples - start), n_clusters), np.float32)
