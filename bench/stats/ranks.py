"""Which ranks a system may have, and which may be the best: simultaneous confidence sets from all pairs of a row.

Ranks: every two systems are compared, and the error that any two are told apart in the wrong order is kept over all
pairs together by the step-down method of the largest statistic (Romano & Wolf 2005): each pair's difference over its
standard error is set against the largest that chance makes of all pairs that are still open. A system's rank is then at
least one more than how many are clearly better, and at most as many as are not clearly worse; these sets hold the ranks
of all systems at once (Mogstad, Romano, Shaikh & Wilhelm 2024).

The best: who may be it asks for less than all ranks, so each system is compared with the others alone, in the one
direction that speaks against it (Hsu 1984, "Constrained simultaneous confidence intervals for multiple comparisons with
the best"). A system is out where another is better by more than the largest that chance makes of all others; the best
one is then kept with the level.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from bench.stats.estimate import Array
from bench.stats.spread import Component, shrunk

DRAWS = 4000
"""Draws that the largest statistic's law is taken from: its 95 % point is then known to 0.3 points."""
_CELLS = 1 << 21
_CLOSE = 1e-9

Parts = Callable[[int, int], Sequence[Component]]
"""What the seeds of two systems add to the variance of their difference."""


@dataclass(frozen=True)
class Ranks:
    """The ranks that a system may have, both ends included, 1 being the best.

    Attributes:
        low: One more than how many systems are clearly better.
        high: How many are not clearly worse, itself among them.
        of: How many systems were compared.
        may_be_best: Whether no other is better than it by more than chance makes, by the comparison with the best.
    """

    low: int
    high: int
    of: int
    may_be_best: bool

    @property
    def is_best(self) -> bool:
        """Whether it is clearly better than every other."""
        return self.high == 1


def ranks_of(
    figures: Array, errors: Array, parts: Parts, *, higher_is_better: bool, level: float, seed: int
) -> list[Ranks]:
    """The sets of ranks that hold all true ranks at once with probability `level`, and who may be the best.

    That those who may be it hold the best has the same probability, by itself.

    Args:
        figures: The systems' figures [systems].
        errors: What chance over prompts makes of each figure's error, the same draws for all [draws, systems].
        parts: By two places in `figures`, what their seeds add.
        higher_is_better: The direction.
        level: The joint confidence level.
        seed: Of the draws of trainings.
    """
    count = len(figures)
    own = [parts(n, n)[0] for n in range(count)]
    rng = np.random.default_rng([seed, 3])
    normal = rng.standard_normal(errors.shape)
    drawn = errors + normal * np.sqrt([one.variance for one in own])
    better = figures if higher_is_better else -figures
    beats = told_apart(figures, errors, drawn, parts, level) & (better[:, None] > better)
    errors = errors if higher_is_better else -errors
    spread = drawn if higher_is_better else -drawn
    candidates = may_be_best(better, errors + normal * _uncertain(own, rng, len(errors)), spread, level)
    return [
        Ranks(1 + int(beats[:, n].sum()), count - int(beats[n].sum()), count, bool(candidates[n])) for n in range(count)
    ]


def _uncertain(seeds: Sequence[Component], rng: np.random.Generator, draws: int) -> Array:
    """Standard deviations that what trainings add may have, in view of the seeds [draws, systems].

    Draws from the generalised pivot of a variance of which sampling noise is part (Weerahandi 1993).
    """
    crude, noise, free = (np.array([getattr(one, name) for one in seeds]) for name in ("crude", "noise", "degrees"))
    found: Array = np.sqrt(np.maximum(0.0, crude * free / rng.chisquare(free, size=(draws, len(seeds))) - noise))
    return found


def may_be_best(better: Array, errors: Array, drawn: Array, level: float) -> NDArray[np.bool_]:
    """Which systems no other is clearly better than [systems].

    Args:
        better: The systems' figures, larger being better.
        errors: What chance makes of each figure's error, trainings and how little is known of them included [draws,
            systems].
        drawn: The same with what is estimated that trainings add: the differences' standard errors.
        level: The confidence that the best is among them.
    """
    count = len(better)
    candidates = np.ones(count, dtype=bool)
    for n in range(count):
        others = np.delete(np.arange(count), n)
        spread = np.sqrt(_squares(drawn, others, np.full_like(others, n)))
        others, spread = others[spread > 0], spread[spread > 0]
        if len(others):
            largest = ((errors[:, others] - errors[:, [n]]) / spread).max(axis=1)
            critical = max(0.0, float(np.quantile(largest, level))) * (1 + _CLOSE)
            candidates[n] = not (better[others] - better[n] > critical * spread).any()
    return candidates


def told_apart(figures: Array, errors: Array, drawn: Array, parts: Parts, level: float) -> NDArray[np.bool_]:
    """Which two systems differ, all pairs being judged together [systems, systems].

    Arguments as for `ranks_of`; `drawn` are the errors with what trainings add.
    """
    count = len(figures)
    first, second = (np.array(places, dtype=np.int64) for places in zip(*combinations(range(count), 2), strict=True))
    prompts = _squares(errors, first, second)
    spread = np.sqrt(_squares(drawn, first, second))
    distance = np.abs(figures[first] - figures[second])
    observed = np.divide(distance, np.sqrt(prompts), out=np.zeros_like(distance), where=prompts > 0)
    is_open = np.ones(len(first), dtype=bool)
    is_shrunk = np.zeros(len(first), dtype=bool)
    while is_open.any():
        critical = float(np.quantile(_largest(drawn, first[is_open], second[is_open], spread[is_open]), level))
        critical += _CLOSE * critical
        for pair in np.flatnonzero(is_open & ~is_shrunk & (observed > critical)):
            seeds = parts(int(first[pair]), int(second[pair]))
            observed[pair] = shrunk(distance[pair], prompts[pair], seeds) / math.sqrt(prompts[pair])
            is_shrunk[pair] = True
        found = is_open & (observed > critical)
        if not found.any():
            break
        is_open &= ~found
    apart = np.zeros((count, count), dtype=bool)
    apart[first, second] = apart[second, first] = ~is_open
    return apart


def _squares(drawn: Array, first: NDArray[np.int64], second: NDArray[np.int64]) -> Array:
    """The mean square of each pair's difference over the draws."""
    products = drawn.T @ drawn / len(drawn)
    own = np.diag(products)
    squares: Array = own[first] + own[second] - 2 * products[first, second]
    return np.where(squares > _CLOSE * (own[first] + own[second]), squares, 0.0)


def _largest(drawn: Array, first: NDArray[np.int64], second: NDArray[np.int64], spread: Array) -> Array:
    """Of each draw the largest of the pairs' differences, each over its standard error."""
    largest = np.zeros(len(drawn))
    step = max(1, _CELLS // len(first))
    scale = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)
    for start in range(0, len(drawn), step):
        rows = drawn[start : start + step]
        largest[start : start + step] = (np.abs(rows[:, first] - rows[:, second]) * scale).max(axis=1)
    return largest
