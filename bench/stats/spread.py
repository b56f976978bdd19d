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

from bench.stats.estimate import Array

_NORMAL = NormalDist()


@dataclass(frozen=True)
class Component:
    """What seeds add to the variance of a system's figure.

    Attributes:
        variance: The estimated part of the seeds: the seeds' own variance / S, less what is sampling noise; never < 0.
        crude: The same before the noise is subtracted, from which its uncertainty follows; 0 where `variance` is.
        degrees: Degrees of freedom, S - 1.
    """

    variance: float = 0.0
    crude: float = 0.0
    degrees: int = 1

    def scaled(self, factor: float) -> "Component":
        """The component of `factor` times the figure."""
        return Component(self.variance * factor**2, self.crude * factor**2, self.degrees)


def component(figures: Array, noise: float) -> Component:
    """The seeds' part, from the figure of each seed and the variance that sampling noise alone gives one of them."""
    count = len(figures)
    if count == 1:
        return Component()  # one seed says nothing of others: the documentation says so
    crude = float(figures.var(ddof=1)) / count
    variance = crude - noise / count
    return Component(variance, crude, count - 1) if variance > 0 else Component(degrees=count - 1)


def degrees(prompts: float, n_clusters: int, seeds: Sequence[Component]) -> float:
    """Satterthwaite's degrees of freedom of a variance with a part of the prompts and parts of the seeds."""
    total = prompts + sum(one.variance for one in seeds)
    parts = prompts**2 / (n_clusters - 1) + sum(one.crude**2 / one.degrees for one in seeds)
    return max(1.0, total**2 / parts) if parts > 0 else n_clusters - 1.0


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


def shrunk(distance: float, prompts: float, n_clusters: int, seeds: Sequence[Component]) -> float:
    """A distance from 0 made as much smaller as the seeds' spread makes it less surprising.

    The distance that is as improbable under a normal law with the variance `prompts` as the given one is under
    Student's t with the seeds' variance added. A permutation over prompts can then be asked about it.
    """
    added = sum(one.variance for one in seeds)
    if not added or not distance:
        return distance
    tail = student_tail(distance / math.sqrt(prompts + added), degrees(prompts, n_clusters, seeds))
    return min(distance, -_NORMAL.inv_cdf(max(tail, 1e-300)) * math.sqrt(prompts))


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
    tiny = 1e-300  # keeps Lentz's algorithm from dividing by 0
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
