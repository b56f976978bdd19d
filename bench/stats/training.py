"""How much one training differs from another, borrowed across the systems of a table.

Three seeds of one method leave two degrees of freedom, and with them Student's t asks for 4.3 standard errors, or for
17 after a correction for twenty comparisons. The trainings of twenty methods leave forty. So the variance between
trainings is estimated from all systems together, on a scale on which it is about the same for all of them (the logit of
a share, the logarithm of a perplexity): by restricted maximum likelihood, with each system's own sampling noise. How
far methods may differ in it is read off the data as well: a system's own variance is moderated towards the common one
by an inverse gamma law whose degrees of freedom are those of greatest likelihood (Smyth 2004, "Linear models and
empirical Bayes methods", with the noise known). Where the systems agree it is pooled; where they do not, or where there
are few, each keeps mostly its own, with few degrees of freedom.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.stats.estimate import Array
from bench.stats.spread import Component

PRIORS = np.array([1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 1e6])
"""Degrees of freedom of the law of the systems' variances: the last is "all have the same"."""
_SCALES = np.exp(np.linspace(-3, 1.5, 37))
_CAUTION = 1.0
"""How far below the greatest log-likelihood the fewest degrees of freedom may lie that are taken."""
_LEAST, _TINY = 1e-6, 1e-100
_ROUNDS = 100
_ROUNDING = 1e-24
_MANY = 6


@dataclass(frozen=True)
class Seeds:
    """What the seeds of one system show.

    Attributes:
        figure: The average of the seeds' figures.
        between: The variance of the figures of S seeds; 0 with one.
        noise: The part of `between` that sampling on the same prompts explains.
        count: S.
    """

    figure: float
    between: float = 0.0
    noise: float = 0.0
    count: int = 1

    def alone(self) -> Component:
        """What they add to the variance of the average, from this system alone."""
        return Component(self.between / self.count, self.noise / self.count, max(1, self.count - 1))

    def scaled(self, factor: float) -> "Seeds":
        """The same on a scale on which the figure changes `factor` times as fast."""
        return Seeds(self.figure, self.between * factor**2, self.noise * factor**2, self.count)


def seeds_of(figures: Array, noise: float) -> Seeds:
    """The seeds' figures, and the variance that sampling noise alone gives one of them."""
    count = len(figures)
    between = float(figures.var(ddof=1)) if count > 1 else 0.0
    between, noise = (0.0 if one < _ROUNDING else one for one in (between, noise))
    return Seeds(float(figures.mean()), between, noise, count)


def borrowed(systems: Sequence[Seeds]) -> list[Component]:
    """What the seeds of each system add to the variance of its average, estimated from all of them.

    Args:
        systems: Those whose training depends on the seed, each with two seeds or more, on a scale on which the variance
            between trainings is about the same. One with NaN (a share of 0 has no logit) teaches nothing and is given
            what the others teach.

    Returns:
        A component a system, on the same scale.
    """
    telling = np.array([math.isfinite(one.between) and math.isfinite(one.noise) for one in systems], dtype=bool)
    if not telling.any():
        return [Component() for _ in systems]
    told = [one for one, is_telling in zip(systems, telling, strict=True) if is_telling]
    between, noise = (np.array([getattr(one, name) for one in told]) for name in ("between", "noise"))
    free = np.array([one.count - 1.0 for one in told])
    common = _common(between, noise, free)
    expected = common + noise
    ratio = np.maximum(between / np.maximum(expected, _TINY), _LEAST)
    prior, scale = _law(ratio, free)
    found = iter(zip((prior * scale + free * ratio) / (prior + free), expected, noise, free, strict=True))
    components = []
    for one, is_telling in zip(systems, telling, strict=True):
        moderated, total, own, degrees = next(found) if is_telling else (scale, common, 0.0, 0.0)
        known = float(max(1.0, min(prior + degrees, free.sum())))
        components.append(Component(moderated * total / one.count, own / one.count, known))
    return components


def _common(between: Array, noise: Array, free: Array) -> float:
    """The variance between trainings beside each system's noise, of greatest restricted likelihood; never below 0."""
    common = max(0.0, float(np.average(between - noise, weights=free)))
    for _ in range(_ROUNDS):
        weight = free / np.maximum(common + noise, _TINY) ** 2
        weight /= weight.max()
        new = max(0.0, float((weight * (between - noise)).sum() / weight.sum()))
        moved, common = abs(new - common), new
        if moved <= _LEAST * common:
            break
    return common


def _law(ratio: Array, free: Array) -> tuple[float, float]:
    """The prior's degrees of freedom and scale, from each system's variance over the one that is expected.

    The ratios have F laws. Of the priors that are about as likely as the likeliest, the one of fewest degrees is taken:
    what is borrowed in error makes alarms, what is not costs power alone. From a few systems no other scale can be told
    than the one that is expected.
    """
    scales = _SCALES[:, np.newaxis]
    likelihood = np.array([_log_f(ratio / scales, free, prior) for prior in PRIORS]) - len(ratio) * np.log(scales[:, 0])
    best = likelihood.max(axis=1)
    place = int(np.argmax(best >= best.max() - _CAUTION))
    if place == len(PRIORS) - 1 or len(ratio) < _MANY:
        return float(PRIORS[place]), 1.0
    return float(PRIORS[place]), float(_SCALES[likelihood[place].argmax()])


def _log_f(ratio: Array, free: Array, prior: float) -> Array:
    """The log-likelihoods of rows of ratios [rows, systems] under F laws with `free` and `prior` degrees of freedom."""
    gammas = np.array([math.lgamma((one + prior) / 2) - math.lgamma(one / 2) - math.lgamma(prior / 2) for one in free])
    terms = gammas + free / 2 * np.log(free / prior) + (free / 2 - 1) * np.log(ratio)
    return np.asarray((terms - (free + prior) / 2 * np.log1p(free * ratio / prior)).sum(axis=-1))
