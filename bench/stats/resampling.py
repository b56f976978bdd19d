"""The draws: which clusters are counted how often (bootstrap), and which are exchanged (permutation test)."""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from bench.stats.estimate import Array, Median, Ratio, Statistic

CELLS = 1 << 17
"""Counts held at a time: 1 MiB, so that a chunk stays in the processor's cache whatever the number of prompts."""
KEPT = 1 << 25
"""Draws up to this size are kept for the next metric on as many clusters: 64 MiB as 16-bit numbers."""


def resample(statistics: Sequence[Statistic], n_clusters: int, resamples: int, seed: int) -> Array:
    """The bootstrap: clusters are drawn with replacement, the same ones for all statistics.

    Returns:
        Every statistic of every resample (resamples x statistics); NaN where nothing was drawn.
    """
    drawn = np.empty((resamples, len(statistics)))
    ratios = [(place, one) for place, one in enumerate(statistics) if isinstance(one, Ratio)]
    columns, places = _distinct([one.sums for _, one in ratios], n_clusters)
    with one_thread():
        for rows, counts in _chunks(n_clusters, resamples, seed):
            totals = counts @ columns
            for (place, ratio), pair in zip(ratios, places, strict=True):
                drawn[rows, place] = ratio.of(totals[:, pair])
            for place, one in enumerate(statistics):
                if isinstance(one, Median):
                    drawn[rows, place] = one(counts)
    return drawn


def exchange(sums: Sequence[Array], n_clusters: int, resamples: int, seed: int) -> list[Array]:
    """What moves where each cluster is exchanged with probability 1/2: the sums over the exchanged clusters.

    Where two systems exchange clusters, one gives these sums and receives the other's.

    Args:
        sums: Sums by cluster (clusters x 2), one entry a system.
        n_clusters: The number of clusters.
        resamples: How often to draw which clusters are exchanged.
        seed: Seed of the draws.

    Returns:
        For each entry of `sums`, resamples x 2.
    """
    columns, places = _distinct(sums, n_clusters)
    totals = np.empty((resamples, columns.shape[1]))
    generator = np.random.default_rng([seed, 1])
    step = max(1, CELLS // n_clusters)
    with one_thread():
        for start in range(0, resamples, step):
            rows = min(step, resamples - start)
            words = generator.integers(0, 1 << 64, size=(rows, -(-n_clusters // 64)), dtype=np.uint64)
            coins = np.unpackbits(words.view(np.uint8), axis=1, count=n_clusters)
            totals[start : start + rows] = coins.astype(np.float64) @ columns
    return [totals[:, pair] for pair in places]


def one_thread() -> threadpool_limits:
    """Products as small as these are faster on one thread; on a busy machine threads would wait for each other."""
    return threadpool_limits(1, user_api="blas")


def _distinct(sums: Sequence[Array], n_clusters: int) -> tuple[Array, list[list[int]]]:
    """All different columns (systems often share their weights), and where each entry's two are among them."""
    columns: dict[bytes, int] = {}
    places = [[columns.setdefault(column.tobytes(), len(columns)) for column in one.T] for one in sums]
    return np.array([np.frombuffer(column) for column in columns]).reshape(-1, n_clusters).T.copy(), places


def _chunks(n_clusters: int, resamples: int, seed: int) -> Iterator[tuple[slice, Array]]:
    """Multinomial cluster counts of all resamples, in chunks of bounded memory."""
    kept = _kept(n_clusters, resamples, seed) if n_clusters * resamples <= KEPT else None
    step = max(1, CELLS // n_clusters)
    if kept is None:
        yield from _drawn(n_clusters, resamples, seed, step)
        return
    for start in range(0, resamples, step):
        yield slice(start, min(start + step, resamples)), kept[start : start + step].astype(np.float64)


@lru_cache(maxsize=2)
def _kept(n_clusters: int, resamples: int, seed: int) -> NDArray[np.uint16] | None:
    """All counts; None where one does not fit (of a single cluster, say, drawn very often)."""
    counts = np.empty((resamples, n_clusters), np.uint16)
    for rows, chunk in _drawn(n_clusters, resamples, seed, max(1, CELLS // n_clusters)):
        if chunk.max() > np.iinfo(np.uint16).max:
            return None
        counts[rows] = chunk
    return counts


def _drawn(n_clusters: int, resamples: int, seed: int, step: int) -> Iterator[tuple[slice, Array]]:
    generator = np.random.default_rng([seed, 0])
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        picks = generator.integers(0, n_clusters, size=(rows, n_clusters))
        picks += np.arange(rows)[:, None] * n_clusters
        counts = np.bincount(picks.ravel(), minlength=rows * n_clusters)
        yield slice(start, start + rows), counts.reshape(rows, n_clusters).astype(np.float64)
