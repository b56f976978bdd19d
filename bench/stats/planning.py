"""What an experiment of some size can tell: the power of a paired comparison of shares, before it is run.

A prompt's chance of a text that reaches the threshold is p ~ Beta(m c, (1 - m) c): m is the share over all prompts, and
c says how alike prompts are (the samples of one prompt agree by 1 / (1 + c), the intraclass correlation). A method
moves all logits of p by one amount, a training by a normal one of standard deviation `training` more. With n prompts,
k samples of each and S seeds, the paired difference to the base then has the variance (crossed prompts and seeds:
Searle, Casella & McCulloch 1992, chapter 4; Miller 2024, arXiv 2411.00640)

    V_prompts / n + V_samples / (n k S) + V_training / S

With one seed, power is that of Student's t over prompts. With several it is that of the tests of a table, which know
the variance between trainings from a few seeds only: those of all methods, moderated as in `bench.stats.training`. The
power is averaged over what the seeds may happen to show.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from bench.stats.estimate import Array, observations, present
from bench.stats.spread import Component, exceeded, student_quantile, student_tail
from bench.stats.training import Seeds, borrowed
from bench.store.record import Evidence

ALPHA = 0.05
"""Two-sided level of the tests that a table makes."""
_NORMAL = NormalDist()
_DRAWS = 4000
_TABLES = 16
"""What the seeds of so many tables may happen to show is averaged over."""
_EDGE = 1e-12
_MOST = 100_000
_FEWEST = 2
_PRIOR = 4
"""Degrees of freedom that the assumed training variance counts for."""


@dataclass(frozen=True)
class Population:
    """What prompts, samples and trainings are like.

    Attributes:
        share: The base's share of texts that reach the threshold, in (0, 1).
        agreement: c, above 0.
        training: Standard deviation, in logits, of what another training seed does.
    """

    share: float
    agreement: float
    training: float


@dataclass(frozen=True)
class Design:
    """How much is measured.

    Attributes:
        prompts: Prompts, at least 2.
        samples: Continuations of each.
        seeds: Training seeds of each method.
        methods: Methods that a table compares with the base: by Holm's correction the first of them has to be
            significant at a level of 0.05 / methods; what seeds add is estimated over all of them.
    """

    prompts: int
    samples: int
    seeds: int
    methods: int = 1


@dataclass(frozen=True)
class Parts:
    """Parts of the variance of a paired difference; see the module.

    Attributes:
        prompts: V_prompts.
        samples: V_samples, of both systems.
        method: The method's part of V_samples.
        training: V_training.
    """

    prompts: float
    samples: float
    method: float
    training: float

    def over_prompts(self, design: Design) -> float:
        """The variance of the difference but for what trainings add."""
        count = design.prompts
        return self.prompts / count + self.samples / (count * design.samples * design.seeds)


def parts(population: Population, share: float) -> Parts:
    """The parts of the variance of (a method's share - the base's), where the method brings it to `share`."""
    base = _chances(population.share, population.agreement)
    moved = _moved(base, share)
    slope = float(np.mean(moved * (1 - moved)))
    within = float(np.mean(base * (1 - base)))
    return Parts(float(np.var(moved - base)), within + slope, slope, (slope * population.training) ** 2)


def power(population: Population, share: float, design: Design) -> float:
    """The chance that the difference is significant, where a method brings the share to `share`.

    With one seed it is the chance to find that this training differs: nothing is known of another.
    """
    split = parts(population, share)
    over_prompts = split.over_prompts(design)
    distance = abs(share - population.share)
    if not over_prompts:
        return float(distance > 0)
    if design.seeds == 1:
        return _of_one_training(distance / math.sqrt(over_prompts), design)
    error = math.sqrt(over_prompts + split.training / design.seeds)
    # The tests exchange prompts between the systems, so that a difference is part of its own yardstick.
    yardstick = over_prompts + distance**2 / design.prompts
    needed = (exceeded(yardstick, [one], ALPHA / 2 / design.methods) for one in _seen(split, population, share, design))
    return float(np.mean([_NORMAL.cdf((distance - one) / error) for one in needed]))


def _of_one_training(distance: float, design: Design) -> float:
    """The power of Student's t over prompts; the distance is in standard errors."""
    free = design.prompts - 1
    short = student_quantile(1 - ALPHA / 2 / design.methods, free) - distance
    return student_tail(short, free) if short >= 0 else 1 - student_tail(-short, free)


def _seen(split: Parts, population: Population, share: float, design: Design) -> list[Component]:
    """What trainings add to the variance, as tables may see it from their seeds.

    A table takes trainings to vary alike in the logit of the share (of half a prompt more on either side), and sets
    their variance at the middle of the two.
    """
    middle = (share + population.share) / 2
    inner = (share * design.prompts + 0.5) / (design.prompts + 1)
    factor = (middle * (1 - middle) / (inner * (1 - inner))) ** 2 / design.seeds
    noise = split.method / (design.prompts * design.samples)
    return [
        Component(shown * (split.training + noise) * factor, noise * factor, degrees)
        for shown, degrees in _moderated(design.methods, design.seeds)
    ]


@lru_cache(maxsize=64)
def _moderated(methods: int, seeds: int) -> list[tuple[float, float]]:
    """Of some tables: the variance between trainings that is taken for the first method, of a true one of 1.

    Each with its degrees of freedom, sorted by the variance.
    """
    rng = np.random.default_rng([methods, seeds])
    drawn = rng.chisquare(seeds - 1, size=(_TABLES, methods)) / (seeds - 1)
    # The first method's chi-squared goes through its quantiles, so that few tables are enough.
    drawn[:, 0] = np.quantile(rng.chisquare(seeds - 1, size=_DRAWS) / (seeds - 1), (np.arange(_TABLES) + 0.5) / _TABLES)
    found = (borrowed([Seeds(0.0, float(one), 0.0, seeds) for one in table])[0] for table in drawn)
    return sorted((one.crude * seeds, one.degrees) for one in found)


def detectable(population: Population, design: Design, wanted: float = 0.8) -> float | None:
    """The highest share below the base's that is found to differ with the wanted power; None where not even 0 is."""
    low, high = 0.0, population.share
    if power(population, _EDGE, design) < wanted:
        return None
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if power(population, max(middle, _EDGE), design) >= wanted else (low, middle)
    return low


def prompts_needed(population: Population, share: float, design: Design, wanted: float = 0.8) -> int | None:
    """The fewest prompts with which a design has the wanted power; None where 100,000 are not enough."""

    def enough(count: int) -> bool:
        return power(population, share, Design(count, design.samples, design.seeds, design.methods)) >= wanted

    if not enough(_MOST):
        return None
    low, high = _FEWEST - 1, _MOST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


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
    averaged by their
    degrees of freedom, with the variance that is assumed as if four more had shown it (as empirical Bayes does, Smyth
    2004): two or three seeds that happen to agree do not say that all would.

    Args:
        systems: The evidence of each method, one entry a seed.
        assumed: The standard deviation without any record.

    Returns:
        None where no system has two seeds with shares between 0 and 1.
    """
    found: list[tuple[float, int]] = []
    for evidences in systems:
        figures = [float(np.mean(evidence.value)) for evidence in evidences if evidence.value]
        if len(figures) < _FEWEST or not all(0 < figure < 1 for figure in figures):
            continue
        within = float(np.mean([_within(evidence) for evidence in evidences]))
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
    return np.clip(drawn, _EDGE, 1 - _EDGE)


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
