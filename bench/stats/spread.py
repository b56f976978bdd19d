"""How wide an interval must be: few clusters, and what another training seed would do.

Prompts and seeds are crossed, so the variance of a figure over S seeds and n prompts has a part of the prompts and a
part of the seeds (Searle, Casella & McCulloch 1992, "Variance Components", ch. 4). Resampling the seeds as well, as
one would resample prompts, is wrong both ways: it counts sampling noise three times (Owen 2007, "The pigeonhole
bootstrap"), and of three seeds it sees two thirds of the variance and none of its uncertainty. So the prompts are
resampled, and the seeds' part is estimated and added, with Satterthwaite's (1946) degrees of freedom.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from bench.stats.estimate import Array

_NORMAL = NormalDist()
_POINTS, _CLOSE, _TINY = 240, 1e-10, 1e-300


@dataclass(frozen=True)
class Component:
    """What seeds add to the variance of a system's figure.

    Attributes:
        crude: The seeds' own variance / S, sampling noise included.
        noise: The part of it that sampling noise explains.
        degrees: Degrees of freedom of `crude`: S - 1, or more where they are borrowed from other systems.
    """

    crude: float = 0.0
    noise: float = 0.0
    degrees: float = 1

    @property
    def variance(self) -> float:
        """The estimated part of the seeds, never below 0."""
        return max(0.0, self.crude - self.noise)

    def scaled(self, factor: float) -> "Component":
        """The component of `factor` times the figure."""
        return Component(self.crude * factor**2, self.noise * factor**2, self.degrees)


def degrees(prompts: float, n_clusters: int, seeds: Sequence[Component]) -> float:
    """Satterthwaite's degrees of freedom of a variance with a part of the prompts and parts of the seeds."""
    total = prompts + sum(one.variance for one in seeds)
    if total <= 0:
        return n_clusters - 1.0
    shares = [(prompts / total, n_clusters - 1.0), *((one.crude / total, one.degrees) for one in seeds if one.variance)]
    return max(1.0, 1 / sum(share**2 / own for share, own in shares))  # squares of the parts themselves may underflow


def widened(
    figure: float, ends: tuple[float, float], prompts: float, n_clusters: int, seeds: Sequence[Component], level: float
) -> tuple[float, float]:
    """A percentile interval made as wide as few clusters and the seeds ask for.

    Each arm (the figure to one end) becomes (t / z) sqrt(n / (n - 1) arm^2 + z^2 V), with V the seeds' variance and t
    the quantile of Student's t. It is the percentile interval where there are many clusters and the seeds agree, and
    figure +- t sqrt(V) where the prompts agree.

    Args:
        figure: The figure.
        ends: The percentile interval, on the same scale.
        prompts: The variance of the bootstrap's draws, n / (n - 1) times.
        n_clusters: The number of clusters.
        seeds: The parts of the seeds, one a system.
        level: Confidence level.
    """
    normal = _NORMAL.inv_cdf((1 + level) / 2)
    factor = student_quantile((1 + level) / 2, degrees(prompts, n_clusters, seeds)) / normal
    added = normal**2 * sum(one.variance for one in seeds)
    low, high = (
        factor * math.sqrt(n_clusters / (n_clusters - 1) * max(0.0, arm) ** 2 + added)
        for arm in (figure - ends[0], ends[1] - figure)
    )
    return figure - low, figure + high


def stretched(
    figure: float,
    ends: tuple[float, float],
    prompts: float,
    n_clusters: int,
    seeds: Sequence[Component],
    level: float,
    *,
    unseen: float = 0.0,
) -> tuple[float, float]:
    """A percentile interval of a difference made as wide as few clusters and the seeds ask for.

    Arguments as for `widened`. Each arm is widened by t / z sqrt(n / (n - 1)) for few clusters; its square then grows
    by what the seeds add to that of the distance that chance exceeds with probability 1 - level (`tail`). A rare event
    may have been seen on hardly any cluster, so one more counts, with a difference of `unseen` either way (for the
    reason that Agresti & Min 2005 add half an observation to each cell of matched proportions).
    """
    normal = _NORMAL.inv_cdf((1 + level) / 2)
    factor = student_quantile((1 + level) / 2, n_clusters - 1) / normal * math.sqrt(n_clusters / (n_clusters - 1))
    added = exceeded(prompts, seeds, (1 - level) / 2) ** 2 - normal**2 * prompts if _any(seeds) else 0.0
    added = max(0.0, added) + (normal * unseen / n_clusters) ** 2
    low, high = (math.sqrt((factor * max(0.0, arm)) ** 2 + added) for arm in (figure - ends[0], ends[1] - figure))
    return figure - low, figure + high


def shrunk(distance: float, prompts: float, seeds: Sequence[Component]) -> float:
    """A distance from 0 made as much smaller as the seeds' spread makes it less surprising.

    The distance that is as improbable under a normal law with the variance `prompts` as the given one is with what the
    seeds add (`tail`). A permutation over prompts can then be asked about it.
    """
    if not _any(seeds) or not distance:
        return distance
    surprise = max(tail(distance, prompts, seeds), _TINY)
    return max(0.0, min(distance, -_NORMAL.inv_cdf(surprise) * math.sqrt(prompts)))


def tail(distance: float, prompts: float, seeds: Sequence[Component]) -> float:
    """The probability of a difference of `distance` or more where there is none, with the seeds' variance uncertain.

    Given the variance v between seeds, sampling noise included, the difference is normal with the variance `prompts`
    and what of v is not noise. Of v is known that the observed one / v has a chi-squared law over its degrees of
    freedom; the probability is averaged over it (Welch's and Satterthwaite's problem, by fiducial integration, as
    Behrens and Fisher did). Where the noise is 0 and the prompts agree this is Student's t. A variance that happens to
    be estimated as 0 does not count as known to be 0. Where no seed is said to add anything it is the normal tail.
    """
    if not _any(seeds):
        return float(_upper(np.array([distance / math.sqrt(max(prompts, _TINY))]))[0])
    crude, noise = sum(one.crude for one in seeds), sum(one.noise for one in seeds)
    free = 1 / sum((one.crude / crude) ** 2 / one.degrees for one in seeds if one.crude)  # squares may underflow
    weights, logs = _chi_squared(round(free, 2))
    variances = prompts + np.maximum(0.0, crude * np.exp(-logs) - noise)
    return float(weights @ _upper(distance / np.sqrt(np.maximum(variances, _TINY))))


@lru_cache(maxsize=256)
def _chi_squared(free: float) -> tuple[Array, Array]:
    """Weights of the logarithm of a chi-squared variable over its degrees of freedom, and the places that have them."""
    reach = 60 / free
    logs = np.linspace(-max(reach, 12 / math.sqrt(free)), min(3.0, 12 / math.sqrt(free)), _POINTS)
    weights = free / 2 * (logs - np.exp(logs))
    weights = np.exp(weights - weights.max())
    return weights / weights.sum(), logs


def _upper(z: Array) -> Array:
    """The upper tail of the normal law."""
    return np.array([math.erfc(one / math.sqrt(2)) / 2 for one in z])


def exceeded(prompts: float, seeds: Sequence[Component], surprise: float) -> float:
    """The distance whose `tail` is `surprise`, to one part in 10^10; arguments as for `tail`.

    By the secant between two distances around it (the Illinois method), on the logarithm of the tail, which bends
    little.
    """

    def above(distance: float) -> float:
        return math.log(max(tail(distance, prompts, seeds), _TINY) / surprise)

    if prompts <= 0 and not _any(seeds):
        return 0.0
    before, here = 0.0, math.sqrt(prompts) + math.sqrt(sum(one.crude for one in seeds))
    at_before, at_here = above(before), above(here)
    while at_here > 0:
        before, at_before, here = here, at_here, 2 * here
        at_here = above(here)
    moved = here
    while at_here and moved > _CLOSE * here:
        crossing = here - at_here * (here - before) / (at_here - at_before)
        at_crossing = above(crossing)
        if at_crossing * at_here > 0:
            at_before /= 2  # the other end stays, and counts half, so that it does not stay for ever
        else:
            before, at_before = here, at_here
        moved, here, at_here = abs(crossing - here), crossing, at_crossing
    return here


def _any(seeds: Sequence[Component]) -> bool:
    return any(one.crude > 0 for one in seeds)


def student_tail(t: float, df: float) -> float:
    """P(T >= t) for t >= 0 and Student's T with `df` degrees of freedom."""
    return _incomplete_beta(df / 2, 0.5, df / (df + t * t)) / 2


@lru_cache(maxsize=4096)
def student_quantile(p: float, df: float) -> float:
    """The t below which Student's T with `df` degrees of freedom falls with probability p > 1/2, by bisection."""
    low, high = 0.0, 1.0
    while student_tail(high, df) > 1 - p:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if student_tail(middle, df) > 1 - p else (low, middle)
    return (low + high) / 2


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b) by its continued fraction (Abramowitz & Stegun 26.5.8)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):  # the fraction converges fast on the other side
        return 1 - _incomplete_beta(b, a, 1 - x)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a
    tiny = _TINY  # keeps Lentz's algorithm from dividing by 0
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1) or tiny)
    result = d
    for m in range(1, 500):
        for numerator in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            c, d = 1 + numerator / c or tiny, 1 / (1 + numerator * d or tiny)
            result *= c * d
        if abs(c * d - 1) < 1e-15:  # noqa: PLR2004
            break
    return front * result
