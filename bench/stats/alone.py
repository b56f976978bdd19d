"""The figures of one system, or of two, each from its own evidence alone."""

from collections.abc import Sequence

from bench.stats.outcome import Difference, Interval
from bench.stats.systems import Systems
from bench.stats.testing import Significance
from bench.store.record import Evidence


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
