"""Means over prompts, questions or facts, as `bench.stats.planning` plans by them: what records say of differences.

The difference of a method and its base on unit u with training seed s is taken as m + a_u + t_s + e_us, all
independent, and the variances of the parts are those of a two-way analysis of variance (Searle, Casella & McCulloch
1992, chapter 4). They are averaged over the methods of the records. With one seed, a_u and e_us cannot be told apart:
all is taken for a_u, which no further seed makes smaller. How much trainings differ is kept in logits of the mean, on
which scale a table takes it to be alike for all systems.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.stats.estimate import Array, observations, present
from bench.stats.planning import Parts
from bench.store.record import Evidence

_FEWEST = 2


@dataclass(frozen=True)
class Means:
    """What units and trainings are like.

    Attributes:
        mean: The base's mean, in [0, 1].
        units: Standard deviation of a_u.
        rest: Standard deviation of e_us.
        training: Standard deviation of t_s in logits of the mean; None where no trained method has two seeds.
        best: The mean that is wanted, 0 or 1.
    """

    mean: float
    units: float
    rest: float
    training: float | None
    best: float = 1.0

    @property
    def figure(self) -> float:
        """The base's figure."""
        return self.mean

    def parts(self, target: float) -> Parts:
        """The parts of the variance of a difference; samples are those of the records, and part of `rest`."""
        training = (self.training or 0.0) * target * (1 - target)
        return Parts(self.units**2, self.rest**2, self.rest**2, training**2)


def means_of(
    bases: Mapping[int, Evidence],
    methods: Sequence[Mapping[int, Evidence]],
    best: float,
    trained: Sequence[bool] | None = None,
) -> Means | None:
    """What some records say.

    Args:
        bases: The base's evidence, by seed.
        methods: The evidence of each method, by seed. A seed that the base lacks is paired with the base's average.
        best: The mean that is wanted, 0 or 1.
        trained: For each method whether another seed is another training; None for all. The others say nothing of how
            much trainings differ.

    Returns:
        None where there is no method, or fewer than two units that all have measured.
    """
    units = sorted(set.intersection(*(present(one) for some in (bases, *methods) for one in some.values())))
    if not methods or len(units) < _FEWEST:
        return None
    base = {seed: _by_unit(one, units) for seed, one in bases.items()}
    average: Array = np.mean(list(base.values()), axis=0)
    tables = [[_by_unit(one, units) for one in some.values()] for some in methods]
    found = [
        _parts([one - base.get(seed, average) for seed, one in zip(some, table, strict=True)])
        for some, table in zip(methods, tables, strict=True)
    ]
    repeated = [
        (variance / _slope(table) ** 2, free)
        for (_, _, variance, free), table, varies in zip(found, tables, trained or [True] * len(tables), strict=True)
        if free and varies
    ]
    free = sum(count for _, count in repeated)
    training = max(0.0, sum(variance * count for variance, count in repeated) / free) if free else None
    return Means(
        mean=float(average.mean()),
        units=math.sqrt(float(np.mean([one[0] for one in found]))),
        rest=math.sqrt(float(np.mean([one[1] for one in found]))),
        training=None if training is None else math.sqrt(training),
        best=best,
    )


def _parts(differences: Sequence[Array]) -> tuple[float, float, float, int]:
    """Variances of a_u, e_us and t_s (which may come out below 0), and the degrees of freedom of the last."""
    table = np.stack(differences, axis=1)
    units, seeds = table.shape
    if seeds == 1:
        return float(table.var(ddof=1)), 0.0, 0.0, 0
    of_units, of_seeds = table.mean(axis=1), table.mean(axis=0)
    rest = table - of_units[:, None] - of_seeds[None, :] + table.mean()
    residual = float((rest**2).sum()) / ((units - 1) * (seeds - 1))
    within = max(0.0, float(of_units.var(ddof=1)) - residual / seeds)
    return within, residual, float(of_seeds.var(ddof=1)) - residual / units, seeds - 1


def _slope(figures: Sequence[Array]) -> float:
    """How fast the mean changes with its logit, of half a unit more on either side."""
    count = len(figures[0])
    inner = (float(np.mean(figures)) * count + 0.5) / (count + 1)
    return inner * (1 - inner)


def _by_unit(evidence: Evidence, units: Sequence[str]) -> Array:
    """The mean of each unit's observations."""
    values, weights, places = observations(evidence, units)
    sums, counts = (np.bincount(places, one, len(units)) for one in (values * weights, weights))
    return sums / counts
