"""How much worse one system is than another on the same prompts, and how sure that is against a margin.

A test of "no difference" cannot say that two systems are alike, nor that a loss is larger than somebody tolerates. For
that, the paired difference is set against a margin (Schuirmann 1987; Piaggio et al. 2012, CONSORT for
non-inferiority). The prompts are taken as they are: what is asked is whether the same thing was done again, not what
other prompts would show. So the error is that of repeats, which the seeds of the two sides show: new samples on the
same prompts and, where the two sides do not share their seeds, other trainings.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.errors import MissingError
from bench.stats.estimate import Array, once, present, statistic
from bench.stats.resampling import resample
from bench.stats.spread import student_quantile, student_tail
from bench.store.record import Evidence

_FEWEST = 2
_SAME = 1e-12


@dataclass(frozen=True)
class Error:
    """A standard error with its degrees of freedom."""

    value: float
    degrees: float

    @property
    def is_nothing(self) -> bool:
        """Whether it is 0 but for rounding."""
        return self.value <= _SAME


@dataclass(frozen=True)
class Contrast:
    """A paired difference `a - b`, or `log(a / b)`, with its standard error.

    Attributes:
        value: The difference on the clusters that both sides have.
        error: Its standard error.
        n_clusters: Clusters that were compared.
        n_left_out: Clusters that only some of the evidence has.
        bounded: Whether the difference lies in [-1, 1] by definition.
    """

    value: float
    error: Error
    n_clusters: int
    n_left_out: int
    bounded: bool

    def p_above(self, margin: float) -> float:
        """One-sided p-value of "the difference is at most `margin`".

        Where all clusters agree, a share of them that was not seen might yet differ: 1 - p^(1 / n) (Clopper & Pearson
        1934), which a bounded difference is judged by.
        """
        if not self.error.is_nothing:
            t = (self.value - margin) / self.error.value
            tail = student_tail(abs(t), self.error.degrees)
            return tail if t > 0 else 1 - tail
        if self.value <= margin:
            return 1.0
        return float(((1 + margin) / (1 + self.value)) ** self.n_clusters) if self.bounded else 0.0

    def reach(self, level: float) -> float:
        """How far the end of the one-sided interval of that level lies from the value."""
        if not self.error.is_nothing:
            return student_quantile(level, self.error.degrees) * self.error.value
        return unseen(level, self.n_clusters) * (1 - self.value) if self.bounded else 0.0


def unseen(level: float, n_clusters: int) -> float:
    """The largest share of clusters of which none need have been seen among n, with that confidence."""
    return 1 - math.pow(1 - level, 1 / n_clusters)


def contrast(
    a: Sequence[Evidence],
    b: Sequence[Evidence],
    *,
    relative: bool = False,
    error: Error | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> Contrast:
    """The paired difference of two systems' figures, each averaged over its seeds.

    Args:
        a: One side's evidence, one entry a seed.
        b: The other side's, of the same metric.
        relative: Return log(a / b) (for perplexities).
        error: The standard error, where it is known from repeats; None for that over prompts, which is larger: it holds
            how prompts differ as well.
        resamples: Bootstrap resamples.
        seed: Seed of the draws.

    Raises:
        MissingError: fewer than two clusters were observed in every entry of both sides, or `relative` and a figure is
            not above 0.
    """
    observed = [present(one) for one in (*a, *b)]
    clusters = sorted(set.intersection(*observed)) if a and b else []
    if len(clusters) < _FEWEST:
        raise MissingError("the two sides have fewer than two prompts or questions in common")
    statistics = [statistic(one, clusters) for one in (*a, *b)]
    figures = [once(one, len(clusters)) for one in statistics]
    values = [sum(figures[: len(a)]) / len(a), sum(figures[len(a) :]) / len(b)]
    if relative and not min(values) > 0:
        raise MissingError("a relative difference needs two figures above 0")
    if error is None:
        drawn = resample(statistics, len(clusters), resamples, seed)
        sides = [drawn[:, : len(a)].mean(axis=1), drawn[:, len(a) :].mean(axis=1)]
        sides = [_log(one) for one in sides] if relative else sides
        error = Error(math.sqrt(_variance(sides[0] - sides[1], len(clusters))), len(clusters) - 1)
    gap = math.log(values[0] / values[1]) if relative else values[0] - values[1]
    return Contrast(
        value=gap if abs(gap) > _SAME else 0.0,  # the same observations in another order
        error=error,
        n_clusters=len(clusters),
        n_left_out=len(set.union(*observed)) - len(clusters),
        bounded=not relative and all(one.bounded and one.statistic == "mean" for one in (*a, *b)),
    )


def repeatability(
    *systems: Sequence[Evidence], relative: bool = False, resamples: int = 10_000, seed: int = 0
) -> float | None:
    """How much a figure of one seed differs where the same is sampled again, on the same prompts.

    Args:
        systems: For each of one or two systems the evidence of one metric, one entry a seed; what the systems differ in
            does not count.
        relative: Take the figure's logarithm.
        resamples: Bootstrap resamples.
        seed: Seed of the draws.

    Returns:
        The variance, pooled; None where no system has two seeds, with fewer than two clusters, or `relative` and a
        figure not above 0.
    """
    several = [system for system in systems if len(system) > 1]
    clusters = sorted(set.intersection(*(present(one) for system in several for one in system))) if several else []
    if len(clusters) < _FEWEST:
        return None
    noise = 0.0
    free = sum(len(system) - 1 for system in several)
    for system in several:
        figures, drawn = _resampled(system, clusters, resamples, seed)
        if relative:
            if figures.min() <= 0:
                return None
            figures, drawn = np.log(figures), _log(drawn)
        with np.errstate(invalid="ignore"):  # a resample beyond all numbers says nothing
            own = drawn - drawn.mean(axis=1, keepdims=True)
        noise += sum(_variance(column, len(clusters)) for column in own.T) / free
    return noise


def over_prompts(evidence: Evidence, *, relative: bool = False, resamples: int = 10_000, seed: int = 0) -> float | None:
    """What one seed alone can say of repeats: its variance over prompts, which holds how prompts differ as well."""
    clusters = sorted(present(evidence))
    if len(clusters) < _FEWEST:
        return None
    figures, drawn = _resampled([evidence], clusters, resamples, seed)
    if relative and figures.min() <= 0:
        return None
    return _variance((_log(drawn) if relative else drawn)[:, 0], len(clusters))


def _resampled(
    evidences: Sequence[Evidence], clusters: Sequence[str], resamples: int, seed: int
) -> tuple[Array, Array]:
    """Each entry's figure, and what the resampled clusters make of it (resamples x entries)."""
    statistics = [statistic(one, clusters) for one in evidences]
    figures = np.array([once(one, len(clusters)) for one in statistics])
    return figures, resample(statistics, len(clusters), resamples, seed)


def _log(drawn: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        logs: Array = np.log(drawn)
    return logs


def _variance(drawn: Array, n_clusters: int) -> float:
    """The variance of a bootstrap's draws, as of clusters whose own mean is not known."""
    known = drawn[np.isfinite(drawn)]
    return float(known.var()) * n_clusters / (n_clusters - 1) if len(known) else math.inf
