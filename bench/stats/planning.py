"""What an experiment of some size can tell: the power of a paired comparison, before it is run.

With n prompts, k samples of each and S seeds, the paired difference to the base has the variance (crossed prompts and
seeds: Searle, Casella & McCulloch 1992, chapter 4; Miller 2024, arXiv 2411.00640)

    V_prompts / n + V_samples / (n k S) + V_training / S

What these are is said by a population: `bench.stats.shares` for shares of texts, `bench.stats.means` for means of
anything else that is measured once for a prompt, a question or a fact.

With one seed, power is that of Student's t over prompts. With several it is that of the tests of a table, which know
the variance between trainings from a few seeds only: those of all trained methods, moderated as in
`bench.stats.training`. The power is averaged over what the seeds may happen to show.
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import NormalDist
from typing import Protocol

import numpy as np

from bench.stats.spread import Component, exceeded, student_quantile, student_tail
from bench.stats.training import Seeds, borrowed

ALPHA = 0.05
"""Two-sided level of the tests that a table makes."""
EDGE = 1e-12
"""How near to 0 and 1 a chance may be."""
_NORMAL = NormalDist()
_DRAWS = 4000
_TABLES = 16
"""What the seeds of so many tables may happen to show is averaged over."""
_MOST = 100_000
_STEPS = 40
_FEWEST = 2


@dataclass(frozen=True)
class Design:
    """How much is measured.

    Attributes:
        prompts: Prompts, at least 2.
        samples: Continuations of each.
        seeds: Training seeds of each method.
        methods: Methods that a table compares with the base: by Holm's correction the first of them has to be
            significant at a level of 0.05 / methods.
        trained: Of these, the methods whose seeds are trainings: what trainings add is estimated over them. None for
            all.
    """

    prompts: int
    samples: int
    seeds: int
    methods: int = 1
    trained: int | None = None


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


class Population(Protocol):
    """What prompts, samples and trainings are like."""

    @property
    def figure(self) -> float:
        """The base's figure, in [0, 1]."""

    @property
    def best(self) -> float:
        """The figure that is wanted: 0 or 1."""

    def parts(self, target: float) -> Parts:
        """The parts of the variance of (a method's figure - the base's), where the method brings it to `target`."""


def power(population: Population, target: float, design: Design) -> float:
    """The chance that the difference is significant, where a method brings the figure to `target`.

    With one seed it is the chance to find that this training differs: nothing is known of another.
    """
    if 2.0 ** (1 - design.prompts) > ALPHA / design.methods:  # no exchange of so few prompts has a smaller p-value
        return 0.0
    split = population.parts(target)
    over_prompts = split.over_prompts(design)
    distance = abs(target - population.figure)
    if design.seeds == 1:
        return _of_one_training(distance / math.sqrt(over_prompts), design)
    error = math.sqrt(over_prompts + split.training / design.seeds)
    # The tests exchange prompts between the systems, so that a difference is part of its own yardstick.
    yardstick = over_prompts + distance**2 / design.prompts
    needed = (
        exceeded(yardstick, [one], ALPHA / 2 / design.methods)
        for one in _seen(split, population.figure, target, design)
    )
    return float(np.mean([_NORMAL.cdf((distance - one) / error) for one in needed]))


def _of_one_training(distance: float, design: Design) -> float:
    """The power of Student's t over prompts; the distance is in standard errors."""
    free = design.prompts - 1
    short = student_quantile(1 - ALPHA / 2 / design.methods, free) - distance
    return student_tail(short, free) if short >= 0 else 1 - student_tail(-short, free)


def _seen(split: Parts, figure: float, target: float, design: Design) -> list[Component]:
    """What trainings add to the variance, as tables may see it from their seeds.

    A table takes trainings to vary alike in the logit of the figure (of half a prompt more on either side), and sets
    their variance at the middle of the two.
    """
    middle = (target + figure) / 2
    inner = (target * design.prompts + 0.5) / (design.prompts + 1)
    factor = (middle * (1 - middle) / (inner * (1 - inner))) ** 2 / design.seeds
    noise = split.method / (design.prompts * design.samples)
    return [
        Component(shown * (split.training + noise) * factor, noise * factor, degrees)
        for shown, degrees in _moderated(design.trained or design.methods, design.seeds)
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
    """The figure nearest to the base's, on the better side, that is found to differ with the wanted power.

    None where no figure on that side is. At the very bound, where trainings cannot differ, a table knows little of how
    they do, so that power may fall again before it: the nearest figure is looked for from the base's on.
    """
    way = abs(population.best - EDGE) - population.figure
    steps = (population.figure + way * (place / _STEPS) ** 2 for place in range(1, _STEPS + 1))
    near, far = population.figure, None
    for step in steps:
        if power(population, step, design) >= wanted:
            far = step
            break
        near = step
    if far is None:
        return None
    for _ in range(16):
        middle = (near + far) / 2
        near, far = (near, middle) if power(population, middle, design) >= wanted else (middle, far)
    return far


def prompts_needed(population: Population, target: float, design: Design, wanted: float = 0.8) -> int | None:
    """The fewest prompts with which a design has the wanted power; None where 100,000 are not enough."""

    def enough(count: int) -> bool:
        return power(population, target, replace(design, prompts=count)) >= wanted

    if not enough(_MOST):
        return None
    low, high = _FEWEST - 1, _MOST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
