"""Shares of texts, as `bench.stats.planning` plans by them, and what records say of them.

A prompt's chance of a text that reaches the threshold is p ~ Beta(m c, (1 - m) c): m is the share over all prompts, and
c says how alike prompts are (the samples of one prompt agree by 1 / (1 + c), the intraclass correlation). A method
moves all logits of p by one amount, a training by a normal one of standard deviation `training` more.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from bench.stats.estimate import Array, observations, present
from bench.stats.planning import EDGE, Parts
from bench.store.record import Evidence

_DRAWS = 4000
_FEWEST = 2
_PRIOR = 4
"""Degrees of freedom that the assumed training variance counts for."""


@dataclass(frozen=True)
class Shares:
    """What prompts, samples and trainings are like.

    Attributes:
        share: The base's share of texts that reach the threshold, in (0, 1).
        agreement: c, above 0.
        training: Standard deviation, in logits, of what another training seed does.
        best: The share that is wanted, 0 or 1.
    """

    share: float
    agreement: float
    training: float
    best: float = 0.0

    @property
    def figure(self) -> float:
        """The base's figure."""
        return self.share

    def parts(self, target: float) -> Parts:
        """The parts of the variance of (a method's share - the base's), where the method brings it to `target`."""
        base = _chances(self.share, self.agreement)
        moved = _moved(base, target)
        slope = float(np.mean(moved * (1 - moved)))
        within = float(np.mean(base * (1 - base)))
        return Parts(float(np.var(moved - base)), within + slope, slope, (slope * self.training) ** 2)


def agreement_of(evidences: Sequence[Evidence]) -> float | None:
    """C of a system's share, from its observations; None where prompts have one sample each or all are alike.

    The analysis of variance's estimate of the intraclass correlation (Donner & Koval 1980), of which c = 1 / rho - 1.
    """
    between, within, size = _variances(evidences)
    if within is None or between + (size - 1) * within <= 0:
        return None
    correlation = (between - within) / (between + (size - 1) * within)
    return 1 / min(max(correlation, 1e-3), 1 - 1e-3) - 1


def training_of(systems: Sequence[Sequence[Evidence]], assumed: float) -> float | None:
    """Standard deviation in logits between trainings, over systems of several seeds.

    Of each system: the variance of its seeds' shares less what sampling explains of it, as logits of prompts. These are
    averaged by their degrees of freedom, with the variance that is assumed as if four more had shown it (as empirical
    Bayes does, Smyth 2004): two or three seeds that happen to agree do not say that all would.

    Args:
        systems: The evidence of each trained method, one entry a seed.
        assumed: The standard deviation without any record.

    Returns:
        None where no system has two seeds with shares between 0 and 1 and samples of a prompt that differ.
    """
    found: list[tuple[float, int]] = []
    for evidences in systems:
        figures = [float(np.mean(evidence.value)) for evidence in evidences if evidence.value]
        if len(figures) < _FEWEST or not all(0 < figure < 1 for figure in figures):
            continue
        within = float(np.mean([_within(evidence) for evidence in evidences]))
        if within <= 0:  # all samples of each prompt agree: their chances are 0 or 1, and have no logits
            continue
        noise = float(np.mean([within / len(evidence.value) for evidence in evidences]))
        # A shift of all prompts' logits moves the share by the mean of p (1 - p) for each logit.
        found.append(((float(np.var(figures, ddof=1)) - noise) / within**2, len(figures) - 1))
    free = sum(count for _, count in found)
    if not free:
        return None
    seen = sum(variance * count for variance, count in found)
    return math.sqrt(max(0.0, seen + _PRIOR * assumed**2) / (free + _PRIOR))


def _within(evidence: Evidence) -> float:
    """Variance of one observation of a prompt around the prompt's own chance, the mean of p (1 - p)."""
    within = _variances([evidence])[1]
    return float(np.var(evidence.value)) if within is None else within


def _variances(evidences: Sequence[Evidence]) -> tuple[float, float | None, float]:
    """Mean squares between and within prompts (None with one sample each), and the samples of a prompt."""
    clusters = sorted(set().union(*map(present, evidences)))
    sums, squares, counts = (np.zeros(len(clusters)) for _ in range(3))
    for evidence in evidences:
        values, _, places = observations(evidence, clusters)
        np.add.at(sums, places, values)
        np.add.at(squares, places, values**2)
        np.add.at(counts, places, 1.0)
    total, groups = float(counts.sum()), len(clusters)
    if groups < _FEWEST or total <= groups:
        return 0.0, None, 1.0
    means = sums / counts
    overall = float(sums.sum() / total)
    between = float((counts * (means - overall) ** 2).sum()) / (groups - 1)
    within = float((squares - counts * means**2).sum()) / (total - groups)
    return between, within, (total - float((counts**2).sum()) / total) / (groups - 1)


@lru_cache(maxsize=64)
def _chances(share: float, agreement: float) -> Array:
    """Chances of many prompts, the same at each call."""
    drawn = np.random.default_rng(0).beta(share * agreement, (1 - share) * agreement, size=_DRAWS)
    return np.clip(drawn, EDGE, 1 - EDGE)


def _moved(chances: Array, share: float) -> Array:
    """The chances with all logits moved by what brings their mean to `share`, by bisection."""
    logits = np.log(chances) - np.log1p(-chances)
    low, high = -60.0, 60.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if float(np.mean(_sigmoid(logits + middle))) < share else (low, middle)
    return _sigmoid(logits + (low + high) / 2)


def _sigmoid(logits: Array) -> Array:
    found: Array = 1 / (1 + np.exp(-np.clip(logits, -700, 700)))
    return found
