"""How much worse one system is than another, and how sure that is against a margin: for non-inferiority, not for "=".

A test of "no difference" cannot say that two systems are alike, nor that a loss is larger than somebody tolerates. For
that, the paired difference is set against a margin by Student's t over clusters, and by the end of its one-sided
interval (Schuirmann 1987; Piaggio et al. 2012, CONSORT for non-inferiority). What another training seed would do is
added to the standard error where the two sides do not share their seeds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.errors import MissingError
from bench.stats.estimate import Array, once, present, statistic
from bench.stats.resampling import resample
from bench.stats.spread import Component, component, degrees, student_quantile, student_tail
from bench.store.record import Evidence

_FEWEST = 2
_SAME = 1e-12


@dataclass(frozen=True)
class Contrast:
    """A paired difference `a - b`, or `log(a / b)`, with its standard error.

    Attributes:
        value: The difference on the clusters that both sides have.
        error: Its standard error over clusters, and over trainings where those count.
        degrees: Degrees of freedom of the error.
        n_clusters: Clusters that were compared.
        n_left_out: Clusters that only some of the evidence has.
        bounded: Whether the difference lies in [-1, 1] by definition.
    """

    value: float
    error: float
    degrees: float
    n_clusters: int
    n_left_out: int
    bounded: bool

    def p_above(self, margin: float) -> float:
        """One-sided p-value of "the difference is at most `margin`".

        Where all clusters agree, a share of them that was not seen might yet differ: 1 - p^(1 / n) (Clopper & Pearson
        1934), which a bounded difference is judged by.
        """
        if self.error > _SAME:
            t = (self.value - margin) / self.error
            tail = student_tail(abs(t), self.degrees)
            return tail if t > 0 else 1 - tail
        if self.value <= margin:
            return 1.0
        return float(((1 + margin) / (1 + self.value)) ** self.n_clusters) if self.bounded else 0.0

    def reach(self, level: float) -> float:
        """How far the end of the one-sided interval of that level lies from the value."""
        if self.error > _SAME:
            return student_quantile(level, self.degrees) * self.error
        return unseen(level, self.n_clusters) * (1 - self.value) if self.bounded else 0.0


@dataclass(frozen=True)
class Repeatability:
    """By how much a figure differs when the same is done again with another seed.

    Attributes:
        sampling: Variance of one seed's figure over new samples on the same prompts.
        training: What another training adds to it, with its uncertainty.
    """

    sampling: float
    training: Component


def unseen(level: float, n_clusters: int) -> float:
    """The largest share of clusters of which none need have been seen among n, with that confidence."""
    return 1 - math.pow(1 - level, 1 / n_clusters)


def contrast(
    a: Sequence[Evidence],
    b: Sequence[Evidence],
    *,
    relative: bool = False,
    training: Component | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> Contrast:
    """The paired difference of two systems' figures, each averaged over its seeds.

    Args:
        a: One side's evidence, one entry a seed.
        b: The other side's, of the same metric.
        relative: Return log(a / b) (for perplexities).
        training: What trainings add to the variance of one seed's figure, or of its logarithm; None where both sides
            share their seeds, so that trainings are no luck of one side.
        resamples: Bootstrap resamples that the standard error comes from.
        seed: Seed of the draws.

    Raises:
        MissingError: fewer than two clusters were observed in every entry of both sides, or `relative` and a figure is
            not above 0.
    """
    found = [present(one) for one in (*a, *b)]
    clusters = sorted(set.intersection(*found)) if a and b else []
    if len(clusters) < _FEWEST:
        raise MissingError("the two sides have fewer than two prompts or questions in common")
    figures, drawn = _resampled([*a, *b], clusters, resamples, seed)
    values = [float(figures[: len(a)].mean()), float(figures[len(a) :].mean())]
    sides = [drawn[:, : len(a)].mean(axis=1), drawn[:, len(a) :].mean(axis=1)]
    if relative:
        if min(values) <= 0:
            raise MissingError("a relative difference needs two figures above 0")
        with np.errstate(divide="ignore", invalid="ignore"):
            sides, values = [np.log(one) for one in sides], [math.log(one) for one in values]
    prompts = _variance(sides[0] - sides[1], len(clusters))
    error, free = spread(prompts, len(clusters), training, 1 / len(a) + 1 / len(b))
    return Contrast(
        value=values[0] - values[1],
        error=error,
        degrees=free,
        n_clusters=len(clusters),
        n_left_out=len(set.union(*found)) - len(clusters),
        bounded=not relative and all(one.bounded and one.statistic == "mean" for one in (*a, *b)),
    )


def spread(prompts: float, n_clusters: int, training: Component | None, share: float) -> tuple[float, float]:
    """Standard error and degrees of freedom of a variance over prompts and `share` times that of trainings."""
    seeds = [] if training is None else [training.scaled(math.sqrt(share))]
    return math.sqrt(prompts + sum(one.variance for one in seeds)), degrees(prompts, n_clusters, seeds)


def repeatability(
    evidences: Sequence[Evidence], *, relative: bool = False, resamples: int = 10_000, seed: int = 0
) -> Repeatability | None:
    """How much a figure's repeats differ, from the same method under several seeds.

    With one seed nothing is known of repeats; what is returned then is the figure's variance over prompts, which is
    larger than that of sampling: it holds also how prompts differ from each other.

    Args:
        evidences: The evidence of one metric, one entry a seed.
        relative: Take the figure's logarithm.
        resamples: Bootstrap resamples.
        seed: Seed of the draws.

    Returns:
        The two parts; None with fewer than two clusters, or `relative` and a figure not above 0.
    """
    clusters = sorted(set.intersection(*map(present, evidences))) if evidences else []
    if len(clusters) < _FEWEST:
        return None
    figures, drawn = _resampled(evidences, clusters, resamples, seed)
    if relative:
        if figures.min() <= 0:
            return None
        with np.errstate(divide="ignore", invalid="ignore"):
            figures, drawn = np.log(figures), np.log(drawn)
    count = len(figures)
    if count == 1:
        return Repeatability(_variance(drawn[:, 0], len(clusters)), Component())
    own = drawn - drawn.mean(axis=1, keepdims=True)
    noise = sum(_variance(column, len(clusters)) for column in own.T) / (count - 1)
    # `component` is of the mean over seeds: one seed's is larger by their number.
    return Repeatability(noise, component(figures, noise).scaled(math.sqrt(count)))


def _resampled(
    evidences: Sequence[Evidence], clusters: Sequence[str], resamples: int, seed: int
) -> tuple[Array, Array]:
    """Each entry's figure, and what the resampled clusters make of it (resamples x entries)."""
    statistics = [statistic(one, clusters) for one in evidences]
    figures = np.array([once(one, len(clusters)) for one in statistics])
    return figures, resample(statistics, len(clusters), resamples, seed)


def _variance(drawn: Array, n_clusters: int) -> float:
    """The variance of a bootstrap's draws, as of clusters whose own mean is not known."""
    known = drawn[np.isfinite(drawn)]
    return float(known.var()) * n_clusters / (n_clusters - 1) if len(known) else math.inf
