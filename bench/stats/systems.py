"""Intervals, paired differences and tests of several systems that were measured on the same things."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.errors import MissingError
from bench.stats import proportion, testing
from bench.stats.estimate import Array, average, once, present, statistic
from bench.stats.resampling import exchange, resample
from bench.stats.spread import Component, component, widened
from bench.stats.testing import Side, Significance
from bench.store.record import Evidence

_FEWEST = 2
"""Clusters below which nothing can be said of their spread."""
_SAME = 1e-12
"""Resamples closer to each other than this differ by rounding alone."""

Clusters = tuple[str, ...]


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


class Systems:
    """The evidence of one metric of several systems: all are resampled at once, each as if it were alone.

    What is asked of the same systems again costs next to nothing: twenty systems share each draw of prompts.
    """

    def __init__(
        self, systems: Sequence[Sequence[Evidence]], *, level: float = 0.95, resamples: int = 10_000, seed: int = 0
    ) -> None:
        """Take the evidence; nothing is resampled yet.

        Args:
            systems: For each system its evidence of the metric, one entry per seed; an empty one has none.
            level: Confidence level.
            resamples: Bootstrap resamples, and random exchanges of the tests.
            seed: Seed of the draws.
        """
        self._systems = [list(system) for system in systems]
        self._present = [[present(evidence) for evidence in system] for system in systems]
        self._level, self._resamples, self._seed = level, resamples, seed
        self._bootstrapped: dict[tuple[Clusters, int], _Drawn] = {}
        self._exchanged: dict[tuple[Clusters, int], Array] = {}
        self._shares: dict[tuple[Clusters, int], Interval] = {}
        self._sides: dict[tuple[Clusters, int], Side] = {}

    def one_sided(self) -> "Systems":
        """The same, with intervals of which either end alone has the level; what was resampled is shared."""
        other = copy.copy(self)
        other._level = 2 * self._level - 1
        return other

    def interval(self, system: int) -> Interval | None:
        """The interval of a system's figure: see `bench.stats.interval`."""
        evidences = self._systems[system]
        figure = average(evidences) if evidences else None
        clusters = tuple(sorted(set().union(*self._present[system])))
        if figure is None or len(clusters) < _FEWEST:
            return None
        bounded = all(evidence.bounded for evidence in evidences)
        observed = np.concatenate([evidence.value for evidence in evidences])
        if bounded and np.ptp(observed) == 0:
            return _exact(float(observed[0]), len(clusters), (0.0, 1.0), self._level)
        if proportion.applies(evidences):
            return self._share(clusters, system)
        drawn = self._bootstrap(clusters, system)
        if all(evidence.statistic != "mean" and _is_positive(evidence) for evidence in evidences):
            ends = self._ends(drawn.log(), len(clusters))
            return ends and Interval(math.exp(ends.low), math.exp(ends.high))
        return self._ends(drawn, len(clusters), (0.0, 1.0) if bounded else None)

    def difference(self, a: int, b: int, *, relative: bool = False) -> Difference:
        """The paired difference of two systems: see `bench.stats.difference`."""
        clusters, left_out = self._common(a, b)
        first, second = self._bootstrap(clusters, a), self._bootstrap(clusters, b)
        if relative and not (first.figure > 0 and second.figure > 0):
            raise MissingError("a relative difference needs two figures above 0", mend="compare the absolute one")
        gap = first.log() - second.log() if relative else first - second
        evidences = [*self._systems[a], *self._systems[b]]
        shares = not relative and all(one.bounded and one.statistic == "mean" for one in evidences)
        ends: Interval | None = None
        if len(clusters) >= _FEWEST:
            agree = np.ptp(gap.drawn) < _SAME and not any(one.variance > _SAME for one in gap.seeds)
            if shares and agree:
                ends = _exact(gap.figure, len(clusters), (-1.0, 1.0), self._level)
            else:
                ends = self._ends(gap, len(clusters), (-1.0, 1.0) if shares else None)
        if relative:
            ends = ends and Interval(math.expm1(ends.low), math.expm1(ends.high))
        value = math.expm1(gap.figure) if relative else gap.figure
        return Difference(value, ends.low if ends else None, ends.high if ends else None, len(clusters), left_out)

    def significance(self, a: int, b: int) -> Significance:
        """The test that two systems do not differ: see `bench.stats.significance`."""
        clusters, _ = self._common(a, b)
        pair = [self._systems[a], self._systems[b]]
        if any(one.statistic == "median" for one in pair[0]):
            cut = testing.pooled_median([(one, 1 / len(side)) for side in pair for one in side], clusters)
            first, second = (testing.side(one, clusters, cut) for one in pair)
            return testing.compare(first, second, lambda: self._moved(clusters, [first, second]), self._resamples)
        first, second = self._side(clusters, a), self._side(clusters, b)
        return testing.compare(first, second, lambda: self._exchange(clusters, a, b), self._resamples)

    def _common(self, a: int, b: int) -> tuple[Clusters, int]:
        """The clusters with observations in every entry of both systems, and how many only some have."""
        observed = [*self._present[a], *self._present[b]]
        clusters = sorted(set.intersection(*observed)) if self._systems[a] and self._systems[b] else []
        if not clusters:
            raise MissingError(
                "the two runs have no prompt or question in common", mend="compare runs on the same data"
            )
        return tuple(clusters), len(set.union(*observed)) - len(clusters)

    def _sharing(self, clusters: Clusters, *wanted: int) -> list[int]:
        """These systems and all others that were observed on all of `clusters`."""
        every = set(clusters)
        others = (n for n, found in enumerate(self._present) if found and all(every <= one for one in found))
        return sorted({*wanted, *others})

    def _bootstrap(self, clusters: Clusters, system: int) -> "_Drawn":
        if (clusters, system) not in self._bootstrapped:
            systems = self._sharing(clusters, system)
            statistics = [[statistic(one, clusters) for one in self._systems[n]] for n in systems]
            drawn = resample([one for some in statistics for one in some], len(clusters), self._resamples, self._seed)
            start = 0
            for n, some in zip(systems, statistics, strict=True):
                figures = np.array([once(one, len(clusters)) for one in some])
                own = drawn[:, start : (start := start + len(some))]
                self._bootstrapped[clusters, n] = _drawn(figures, own, len(clusters))
        return self._bootstrapped[clusters, system]

    def _share(self, clusters: Clusters, system: int) -> Interval:
        """The interval of a bounded mean, made for all systems that share the clusters."""
        if (clusters, system) not in self._shares:
            systems = [n for n in self._sharing(clusters, system) if proportion.applies(self._systems[n])]
            found = proportion.intervals(
                [self._systems[n] for n in systems],
                clusters,
                level=self._level,
                resamples=self._resamples,
                seed=self._seed,
            )
            self._shares |= {(clusters, n): Interval(*ends) for n, ends in zip(systems, found, strict=True)}
        return self._shares[clusters, system]

    def _side(self, clusters: Clusters, system: int) -> Side:
        if (clusters, system) not in self._sides:
            self._sides[clusters, system] = testing.side(self._systems[system], clusters)
        return self._sides[clusters, system]

    def _exchange(self, clusters: Clusters, a: int, b: int) -> tuple[Array, Array]:
        """The random exchanges of two systems, made for all that share the clusters."""
        if not {(clusters, a), (clusters, b)} <= self._exchanged.keys():
            systems = self._sharing(clusters, a, b)
            moved = self._moved(clusters, [self._side(clusters, n) for n in systems])
            self._exchanged |= {(clusters, n): one for n, one in zip(systems, moved, strict=True)}
        return self._exchanged[clusters, a], self._exchanged[clusters, b]

    def _moved(self, clusters: Clusters, sides: Sequence[Side]) -> list[Array]:
        return exchange([side.sums for side in sides], len(clusters), self._resamples, self._seed)

    def _ends(self, drawn: "_Drawn", n_clusters: int, support: tuple[float, float] | None = None) -> Interval | None:
        """The widened percentile interval, kept within `support`."""
        known = drawn.drawn[np.isfinite(drawn.drawn)]  # a resample without any observation says nothing
        if not len(known):
            return None
        tails = np.quantile(known, [(1 - self._level) / 2, (1 + self._level) / 2])
        prompts = float(known.var()) * n_clusters / (n_clusters - 1)
        low, high = widened(
            drawn.figure, (float(tails[0]), float(tails[1])), prompts, n_clusters, drawn.seeds, self._level
        )
        return Interval(max(low, support[0]), min(high, support[1])) if support else Interval(low, high)


@dataclass(frozen=True)
class _Drawn:
    """A figure, what the resampled prompts make of it, and what its seeds add to its variance."""

    figure: float
    drawn: Array
    seeds: tuple[Component, ...]

    def __sub__(self, other: "_Drawn") -> "_Drawn":
        return _Drawn(self.figure - other.figure, self.drawn - other.drawn, self.seeds + other.seeds)

    def log(self) -> "_Drawn":
        """The logarithm of a figure above 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            drawn = np.log(self.drawn)
        return _Drawn(math.log(self.figure), drawn, tuple(one.scaled(1 / self.figure) for one in self.seeds))


def interval(
    evidences: Sequence[Evidence], *, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> Interval | None:
    """The interval of a system's figure over clusters, and over seeds where there are several.

    A mean of bounded observations has Gaffke's interval (`bench.stats.proportion`). Other figures have the bootstrap's:
    percentiles over resampled clusters, widened for few clusters and seeds. Where every observation of a bounded metric
    is the same, the share of clusters that might yet differ has the exact binomial bound for none seen among n,
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
    return Systems([evidences], level=level, resamples=resamples, seed=seed).interval(0)


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

    Each resample draws one set of clusters for both sides; what each side's seeds add is estimated on its own. Where
    the figure is a bounded mean and no cluster differs from any other in its difference, the interval is the exact one
    of `interval`, on [-1, 1]: systems that agree on n questions may still differ on the next.

    Args:
        a: One side's evidence, one entry per seed.
        b: The other side's, of the same metric.
        relative: Return a / b - 1 instead (perplexity reads as +x %).
        level: Confidence level.
        resamples: Bootstrap resamples.
        seed: Seed of the draws.

    Raises:
        MissingError: no cluster was observed in every entry of both sides, or `relative` and a figure is not above 0.
    """
    return Systems([a, b], level=level, resamples=resamples, seed=seed).difference(0, 1, relative=relative)


def significance(
    a: Sequence[Evidence], b: Sequence[Evidence], *, resamples: int = 10_000, seed: int = 0
) -> Significance:
    """Test that two systems do not differ: exact McNemar for right and wrong answers, else the exchange of clusters.

    Means and perplexities are compared as such (a perplexity by its logarithm), medians by the share of observations
    above the pooled median. With several seeds, a cluster's observations are averaged over them first.

    Args:
        a: One side's evidence, one entry per seed.
        b: The other side's, of the same metric.
        resamples: Random exchanges, where there are too many to look at all.
        seed: Seed of the draws.

    Raises:
        MissingError: no cluster was observed in every entry of both sides.
    """
    return Systems([a, b], resamples=resamples, seed=seed).significance(0, 1)


def _drawn(figures: Array, drawn: Array, n_clusters: int) -> _Drawn:
    """The average over seeds, and the seeds' part: what seeds differ in by the draw of prompts alone is noise."""
    averaged = drawn.mean(axis=1)
    if len(figures) == 1 or n_clusters < _FEWEST:
        return _Drawn(float(figures.mean()), averaged, (Component(),))
    own = (drawn - averaged[:, None])[np.isfinite(averaged)]
    noise = float(own.var(axis=0).sum()) / (len(figures) - 1) * n_clusters / (n_clusters - 1)
    return _Drawn(float(figures.mean()), averaged, (component(figures, noise),))


def _is_positive(evidence: Evidence) -> bool:
    return evidence.statistic == "exp_mean" or min(evidence.value, default=0.0) > 0


def _exact(figure: float, n_clusters: int, support: tuple[float, float], level: float) -> Interval:
    """The interval where all clusters agree: at most a share b of them could be anywhere in `support`."""
    share = 1 - ((1 - level) / 2) ** (1 / n_clusters)
    return Interval(figure - share * (figure - support[0]), figure + share * (support[1] - figure))
