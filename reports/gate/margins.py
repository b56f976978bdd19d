"""What a gate tolerates of each metric, and how large a loss a check of some size is sure to see."""

import math
from dataclasses import dataclass

from bench.stats.margin import Repeatability, spread, unseen
from bench.stats.spread import student_quantile

ALPHA = 0.05
"""The share of checks of an unchanged method that may raise an alarm, over all metrics together."""
LEVEL = 0.95
"""How sure a check must be that a loss is below the limit."""
_TOXICITY, _SHARE, _RELATIVE = 0.03, 0.02, 0.05
_TIMES = 2
_DIGITS = 4


@dataclass(frozen=True)
class Design:
    """What a check will look like for one metric.

    Attributes:
        n_clusters: Prompts or questions.
        n_observed: Observations of one seed, where each is right or wrong; else None.
        seeds: The baseline's seeds, and those of a check.
        alpha: The metric's share of the false alarms.
        relative: Whether losses are shares of the figure.
    """

    n_clusters: int
    n_observed: int | None
    seeds: tuple[int, int]
    alpha: float
    relative: bool


def alpha_of(n_judged: int, *, is_primary: bool) -> float:
    """A metric's share of the false alarms: half for the primary one, the other half for all others together."""
    if n_judged == 1:
        return ALPHA
    return ALPHA / 2 if is_primary else ALPHA / 2 / (n_judged - 1)


def default_tolerance(name: str, *, relative: bool) -> float:
    """5 % of a perplexity, 0.03 of a toxicity, 0.02 of an accuracy or any other share."""
    if relative:
        return _RELATIVE
    return _TOXICITY if "toxic" in name else _SHARE


def limit_of(tolerance: float, repeat: Repeatability, design: Design) -> float:
    """The smallest loss that a check as designed does not let pass, at 95 % confidence.

    A method that is as far off as is tolerated must stay below the limit with all but its share of the alarms, and at
    once the end of its interval has to. So the limit lies both quantiles above the tolerance; it is at least twice the
    tolerance.

    Args:
        tolerance: The loss that is put up with; a share of the figure where `design.relative`.
        repeat: How much the figure's repeats differ; its logarithm's, where relative.
        design: What a check will look like.

    Returns:
        The limit, on the tolerance's scale.
    """
    share = sum(1 / count for count in design.seeds)
    sampling = repeat.sampling
    if design.n_observed:
        # Few answers differ between seeds, so what is seen of that is little: as if one more had.
        sampling += 1 / design.n_observed**2
    error, free = spread(sampling * share, design.n_clusters, repeat.training, share)
    reach = (student_quantile(LEVEL, free) + student_quantile(1 - design.alpha, free)) * error
    if design.relative:
        limit = math.expm1(min(700.0, math.log1p(tolerance) + reach))
    else:
        limit = tolerance + max(reach, unseen(LEVEL, design.n_clusters))
    return max(float(f"{limit:.{_DIGITS}g}"), _TIMES * tolerance)
