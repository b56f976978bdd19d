"""How well a score tells two kinds of texts apart: shares with Wilson's interval, the area under the ROC curve."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from bench.stats.estimate import Array

_LEVEL = 0.95


@dataclass(frozen=True)
class Estimated:
    """A figure in [0, 1] with its 95 % interval; None where it rests on nothing."""

    value: float | None
    low: float | None
    high: float | None
    n: int


def told(one: Estimated) -> str:
    """A figure with its interval, as it is printed; a dash where it rests on nothing."""
    if one.value is None:
        return "\N{EN DASH}"
    return f"{one.value:.2f}" + (f" [{one.low:.2f}, {one.high:.2f}]" if one.low is not None else "")


def share(hits: int, n: int) -> Estimated:
    """A share of independent texts with Wilson's (1927) score interval."""
    if not n:
        return Estimated(None, None, None, 0)
    z = _quantile()
    middle = (hits + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * math.sqrt(hits * (n - hits) / n + z * z / 4)
    return Estimated(hits / n, max(0.0, middle - half), min(1.0, middle + half), n)


def auc(positives: Sequence[float], negatives: Sequence[float]) -> Estimated:
    """The area under the ROC curve: the chance that a positive has the higher score, ties counted by half.

    Its variance is DeLong's (1988), and the interval is symmetric in the logit, so that it stays within [0, 1]; none
    where all positives are above all negatives, or below.

    Args:
        positives: Scores of texts of the one kind.
        negatives: Scores of the others.
    """
    over, under = np.asarray(positives, np.float64), np.asarray(negatives, np.float64)
    n = len(over) + len(under)
    if not len(over) or not len(under):
        return Estimated(None, None, None, n)
    wins: Array = (over[:, None] > under).astype(np.float64) + 0.5 * (over[:, None] == under)
    area = float(wins.mean())
    if min(len(over), len(under)) == 1 or not 0 < area < 1:
        return Estimated(area, None, None, n)
    variance = float(wins.mean(axis=1).var(ddof=1)) / len(over) + float(wins.mean(axis=0).var(ddof=1)) / len(under)
    half = _quantile() * math.sqrt(variance) / (area * (1 - area))
    logit = math.log(area / (1 - area))
    return Estimated(area, 1 / (1 + math.exp(half - logit)), 1 / (1 + math.exp(-half - logit)), n)


def _quantile() -> float:
    return NormalDist().inv_cdf((1 + _LEVEL) / 2)
