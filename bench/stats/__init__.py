"""Intervals, paired differences and tests by resampling whole clusters, in numpy alone.

Continuations of one prompt are not independent, so what is resampled or exchanged is the prompt (the cluster) with
everything that was observed on it (Cameron, Gelbach & Miller 2008, "Bootstrap-based improvements for inference with
clustered errors"; Field & Welsh 2007). `docs/statistics.md` has the formulas in one place.

Every draw depends on `seed` and on the number of clusters alone, so that a system's figures are the same whether it
is looked at alone or among twenty others.
"""

from bench.stats.alone import difference, interval, significance
from bench.stats.estimate import average, value
from bench.stats.outcome import Difference, Interval
from bench.stats.ranks import Ranks
from bench.stats.systems import Systems
from bench.stats.testing import Significance, holm, mcnemar

__all__ = [
    "Difference",
    "Interval",
    "Ranks",
    "Significance",
    "Systems",
    "average",
    "difference",
    "holm",
    "interval",
    "mcnemar",
    "significance",
    "value",
]
