"""Tests of "no difference": exact McNemar, the exchange of whole clusters, and Holm's correction.

If two systems do not differ, what each of them did on a prompt might as well have been the other's. So the clusters
are exchanged between the systems, each with probability 1/2, and the difference that was observed is looked up among
those that this gives (Fisher 1935; for such systems, Noreen 1989 and Dror et al. 2018, ACL). For one right or wrong
answer a question this is the exact test of McNemar (1947), which has a closed form.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bench.stats.estimate import Array, Median, observations, once, sums
from bench.stats.spread import Component, shrunk
from bench.stats.training import Seeds, seeds_of
from bench.store.record import Evidence

_ROUNDING = 1e-12


@dataclass(frozen=True)
class Significance:
    """The outcome of a test of "no difference".

    Attributes:
        p: The two-sided p-value, not corrected for how many tests there are.
        test: `mcnemar` or `permutation`.
        exact: Whether all exchanges were looked at, and not a sample of them.
        n_clusters: Clusters that were compared.
    """

    p: float
    test: Literal["mcnemar", "permutation"]
    exact: bool
    n_clusters: int


def mcnemar(only_a: int, only_b: int) -> float:
    """The exact two-sided p-value of McNemar (1947) for paired right and wrong answers.

    2 P(X <= min(only_a, only_b)) with X binomial of only_a + only_b trials at 1/2, and at most 1.

    Args:
        only_a: Questions that system a alone has right.
        only_b: Questions that system b alone has right.
    """
    trials = only_a + only_b
    term, total = 1, 0
    for k in range(min(only_a, only_b) + 1):
        total += term
        term = term * (trials - k) // (k + 1)
    return min(1.0, 2 * total / (1 << trials))


def holm(ps: Sequence[float | None], others: int = 0) -> list[float | None]:
    """Holm's (1979) adjusted p-values: those <= alpha are significant with a familywise error rate of alpha.

    The k-th smallest of m becomes the largest of (m - j + 1) p_j over j <= k, at most 1.

    Args:
        ps: The raw p-values of one family; None where a test could not be made: it counts as a test, as if p were 1.
        others: Further tests of the family that have no entry.
    """
    known = sorted((p, place) for place, p in enumerate(ps) if p is not None)
    adjusted: list[float | None] = [None] * len(ps)
    largest = 0.0
    for rank, (p, place) in enumerate(known):
        largest = max(largest, min(1.0, (len(ps) + others - rank) * p))
        adjusted[place] = largest
    return adjusted


@dataclass(frozen=True)
class Side:
    """One system of a test.

    Attributes:
        sums: For each cluster, the sums of weight x value and of weights, averaged over seeds (clusters x 2).
        seeds: What its seeds show of its mean.
    """

    sums: Array
    seeds: Seeds

    @property
    def mean(self) -> float:
        """The mean over seeds."""
        return float(_mean(self.sums.sum(axis=0)))

    @property
    def means(self) -> Array:
        """The mean of each cluster."""
        return _mean(self.sums)


def side(evidences: Sequence[Evidence], clusters: Sequence[str], above: float | None = None) -> Side:
    """A system's evidence on `clusters` as a test needs it.

    Args:
        evidences: One entry a seed.
        clusters: The clusters to compare on; each has observations in every entry.
        above: Look at whether a value is larger than this, and not at the value.
    """
    count = len(clusters)
    per_seed = []
    for evidence in evidences:
        values, weights, cluster = observations(evidence, clusters)
        per_seed.append(
            sums(values if above is None else np.greater(values, above).astype(np.float64), weights, cluster, count)
        )
    stacked = np.stack(per_seed)  # seeds x clusters x 2
    totals = stacked.sum(axis=1)
    figures = totals[:, 0] / totals[:, 1]
    # What a cluster does to a seed's mean, to first order; what seeds differ in by prompt alone is sampling noise.
    influence = count * (stacked[..., 0] - figures[:, None] * stacked[..., 1]) / totals[:, 1:]
    own = influence - influence.mean(axis=0)
    noise = float((own**2).sum()) / (max(1, len(per_seed) - 1) * max(1, count - 1) * count)
    return Side(stacked.mean(axis=0), seeds_of(figures, noise))


def pooled_median(evidences: Sequence[tuple[Evidence, float]], clusters: Sequence[str]) -> float:
    """The weighted median of all observations of both systems, each entry's weights multiplied by its number.

    No exchange changes it, so "how many lie above it" can be exchanged in place of the median (Mood 1950).
    """
    parts = [(*observations(evidence, clusters)[:2], factor) for evidence, factor in evidences]
    values = np.concatenate([values for values, _, _ in parts])
    weights = np.concatenate([weights * factor for _, weights, factor in parts])
    return once(Median(values, weights, np.zeros(len(values), np.int64), 1), 1)


def compare(
    a: Side, b: Side, seeds: Sequence[Component], moved: Callable[[], Sequence[Array]], resamples: int
) -> Significance:
    """Test that two systems do not differ.

    Exactly where each answers every question right or wrong and one way over its seeds (McNemar), or where at most
    `resamples` exchanges change anything; else by `resamples` random exchanges, with p = (b + 1) / (m + 1) (Phipson &
    Smyth 2010). Where seeds vary beyond sampling noise, the difference is shrunk first by what they add to its
    variance (`bench.stats.spread`).

    Args:
        a: One system.
        b: The other, on the same clusters.
        seeds: What the seeds of each add to the variance of its mean.
        moved: Gives the random exchanges of `bench.stats.resampling.exchange` for a and b.
        resamples: The number of random exchanges.
    """
    count = len(a.sums)
    if all(_is_right_or_wrong(one.sums) for one in (a, b)) and not any(one.crude for one in seeds):
        gained = a.sums[:, 0] - b.sums[:, 0]
        return Significance(mcnemar(int((gained > 0).sum()), int((gained < 0).sum())), "mcnemar", True, count)
    change = b.sums - a.sums
    change = change[(np.abs(change) > _ROUNDING * (np.abs(a.sums) + np.abs(b.sums))).any(axis=1)]
    exact = len(change) < resamples.bit_length()  # 2^n exchanges are at most `resamples`
    if exact:
        shifts = _subsets(len(change)) @ change
    else:
        of_a, of_b = moved()
        shifts = of_b - of_a
    whole = [one.sums.sum(axis=0) for one in (a, b)]
    exchanged = _mean(whole[0] + shifts) - _mean(whole[1] - shifts)
    observed = abs(float(_mean(whole[0]) - _mean(whole[1])))
    distance = shrunk(observed, float(np.mean(exchanged**2)), seeds)
    hits = int((np.abs(exchanged) >= distance * (1 - 1e-9) - _ROUNDING).sum())
    p = hits / len(exchanged) if exact else (hits + 1) / (len(exchanged) + 1)
    return Significance(p, "permutation", exact, count)


def _is_right_or_wrong(sums: Array) -> bool:
    return bool((sums[:, 1] == 1).all() and np.isin(sums[:, 0], (0, 1)).all())


def _mean(sums: Array) -> Array:
    mean: Array = sums[..., 0] / sums[..., 1]
    return mean


def _subsets(count: int) -> Array:
    """Every subset of `count` things as a row of 0 and 1."""
    return ((np.arange(1 << count)[:, None] >> np.arange(count)) & 1).astype(np.float64)
