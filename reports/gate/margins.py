"""What a gate tolerates of each metric, and how large a loss a check of some size is sure to see."""

import math
from decimal import ROUND_CEILING, Context
from statistics import NormalDist

from bench.stats.estimate import capped
from bench.stats.margin import Error, unseen
from bench.stats.spread import student_quantile
from bench.store.record import Role

ALPHA = 0.05
"""The share of checks of an unchanged method that may raise an alarm, over all metrics together."""
LEVEL = 0.95
"""How sure a check must be that a loss is below the limit."""
_ATTRIBUTE, _SHARE, _RELATIVE = 0.03, 0.02, 0.05
_TIMES = 2
_SURE, _LEAST = 0.8, 0.01
_ROUNDED_UP = Context(prec=4, rounding=ROUND_CEILING)


def alpha_of(n_judged: int, *, is_primary: bool) -> float:
    """A metric's share of the false alarms: half for the primary one, the other half for all others together."""
    if n_judged == 1:
        return ALPHA
    return ALPHA / 2 if is_primary else ALPHA / 2 / (n_judged - 1)


def default_tolerance(role: Role, *, relative: bool) -> float:
    """5 % of a perplexity, 0.03 of the attribute, 0.02 of an accuracy or any other share."""
    if relative:
        return _RELATIVE
    return _ATTRIBUTE if role == "attribute" else _SHARE


def error_of(repeat: float, n_clusters: int, n_answers: int | None, share: float) -> Error:
    """The standard error of a difference between repeats of the same seeds.

    Args:
        repeat: How much one seed's figure differs, as a variance.
        n_clusters: Prompts or questions.
        n_answers: Observations of one seed, where each is right or wrong; else None.
        share: 1 / seeds of one side + 1 / seeds of the other.
    """
    # Few answers differ between repeats, so what is seen of that is little: count as if one more had.
    more = 1 / n_answers**2 if n_answers else 0.0
    return Error(math.sqrt((repeat + more) * share), n_clusters - 1)


def planned(error: Error, degrees: int) -> Error:
    """The error that a check is planned with: larger than the one estimated, as few seeds and prompts may hide some.

    The upper end of its one-sided 80 % interval, by Wilson & Hilferty's (1931) quantile of the chi-squared law.

    Args:
        error: The error, estimated from the baseline.
        degrees: Degrees of freedom of that estimate.
    """
    spread = 2 / (9 * degrees)
    share = (1 - spread + NormalDist().inv_cdf(1 - _SURE) * math.sqrt(spread)) ** 3
    return Error(error.value / math.sqrt(max(share, _LEAST)), error.degrees)


def limit_of(tolerance: float, error: Error, n_clusters: int, alpha: float, *, relative: bool) -> float:
    """The smallest loss that a check with this error does not let pass, at 95 % confidence.

    A method that is as far off as is tolerated must stay below the limit with all but its share of the alarms, and at
    once the end of its interval has to. So the limit lies both quantiles above the tolerance; it is at least twice the
    tolerance.

    Args:
        tolerance: The loss that is tolerated; a share of the figure where `relative`.
        error: Of the difference, or of its logarithm.
        n_clusters: Prompts or questions.
        alpha: The metric's share of the false alarms.
        relative: Whether losses are shares of the figure.

    Returns:
        The limit, on the tolerance's scale.
    """
    if error.is_nothing:
        reach = 0.0 if relative else unseen(LEVEL, n_clusters)
    else:
        reach = sum(student_quantile(p, error.degrees) for p in (LEVEL, 1 - alpha)) * error.value
    limit = math.expm1(capped(math.log1p(tolerance) + reach)) if relative else tolerance + reach
    rounded = float(_ROUNDED_UP.create_decimal(repr(limit)))  # down, the same run again might be beyond it
    return max(rounded, _TIMES * tolerance)
