"""How far two scorers agree over the same texts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.stats.estimate import Array

Labels = NDArray[np.bool_]


@dataclass(frozen=True)
class Agreement:
    """What two scorers say of the same texts.

    Attributes:
        kappa: Cohen's kappa of their labels; None where each calls all texts the same and chance says all.
        correlation: Spearman's rank correlation of their scores; None where one gives all texts the same score.
        n: Texts.
    """

    kappa: float | None
    correlation: float | None
    n: int


def agreement(a: Sequence[float], b: Sequence[float], thresholds: tuple[float, float]) -> Agreement:
    """The agreement of two scorers, whose labels are whether a score reaches the scorer's threshold.

    Args:
        a: One scorer's scores.
        b: The other's, of the same texts in the same order.
        thresholds: That of `a`, that of `b`.
    """
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    labels = (first >= thresholds[0], second >= thresholds[1])
    return Agreement(kappa(*labels), rank_correlation(first, second), len(first))


def kappa(a: Labels, b: Labels) -> float | None:
    """Cohen's kappa (1960) of two lists of labels: (p_o - p_e) / (1 - p_e), with p_e from the labels' own rates."""
    if not len(a):
        return None
    chance = float(a.mean() * b.mean() + (1 - a.mean()) * (1 - b.mean()))
    return None if chance == 1 else (float((a == b).mean()) - chance) / (1 - chance)


def rank_correlation(a: Array, b: Array) -> float | None:
    """Spearman's rank correlation (1904): Pearson's of the ranks, ties with their mean rank."""
    if not len(a) or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(np.corrcoef(_ranks(a), _ranks(b))[0, 1])


def _ranks(values: Array) -> Array:
    """Each value's rank, from 1; equal values have the mean of theirs."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return np.asarray((last - (count - 1) / 2)[place], np.float64)
