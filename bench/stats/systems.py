"""Intervals, paired differences and tests of several systems that were measured on the same things."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from bench.errors import MissingError
from bench.stats import proportion, testing
from bench.stats.estimate import Array, average, capped, once, present, statistic
from bench.stats.outcome import Difference, Interval
from bench.stats.ranks import DRAWS, Ranks, ranks_of
from bench.stats.resampling import exchange, resample
from bench.stats.spread import Component, stretched, widened
from bench.stats.testing import Side, Significance
from bench.stats.training import Seeds, borrowed, seeds_of
from bench.store.record import Evidence

_FEWEST = 2
"""Clusters below which nothing can be said of their spread."""
_SAME = 1e-12
_HALF = 0.5
"""Resamples closer to each other than this differ by rounding alone."""

Clusters = tuple[str, ...]
Kind = Literal["figure", "test"]
"""What seeds are asked about: a figure as it is reported, or what a test looks at (a perplexity's logarithm, say)."""


class Systems:
    """The evidence of one metric of several systems: all are resampled at once, each as if it were alone.

    What is asked of the same systems again costs next to nothing: twenty systems share each draw of prompts.
    """

    def __init__(
        self,
        systems: Sequence[Sequence[Evidence]],
        *,
        trained: Sequence[bool] | None = None,
        level: float = 0.95,
        resamples: int = 10_000,
        seed: int = 0,
    ) -> None:
        """Take the evidence; nothing is resampled yet.

        Args:
            systems: For each system its evidence of the metric, one entry per seed; an empty one has none.
            trained: For each system whether another seed is another training. Differences, tests and ranks then take
                the variance between trainings from all that are (`bench.stats.training`), and none of the others'
                seeds, nor do these widen the interval of a figure. None takes each system's seeds alone.
            level: Confidence level.
            resamples: Bootstrap resamples, and random exchanges of the tests.
            seed: Seed of the draws.
        """
        self._systems = [list(system) for system in systems]
        self._present = [[present(evidence) for evidence in system] for system in systems]
        self._trained = None if trained is None else list(trained)
        self._level, self._resamples, self._seed = level, resamples, seed
        self._bootstrapped: dict[tuple[Clusters, int], _Drawn] = {}
        self._exchanged: dict[tuple[Clusters, int], Array] = {}
        self._shares: dict[tuple[Clusters, int], Interval] = {}
        self._sides: dict[tuple[Clusters, int], Side] = {}
        self._cuts: dict[Clusters, float] = {}
        self._borrowed: dict[tuple[str, Clusters], dict[int, Component]] = {}

    def one_sided(self) -> "Systems":
        """The same, with intervals of which either end alone has the level; what was resampled is shared."""
        other = copy.copy(self)
        other._level = 2 * self._level - 1
        other._shares = {}  # these are intervals already, of the other level
        return other

    def observed(self, system: int) -> set[str]:
        """The clusters with observations in every entry of a system."""
        return set.intersection(*self._present[system]) if self._present[system] else set()

    def interval(self, system: int) -> Interval | None:
        """The interval of a system's figure: see `bench.stats.interval`."""
        evidences = self._systems[system]
        figure = average(evidences) if evidences else None
        clusters = tuple(sorted(set().union(*self._present[system])))
        if figure is None or len(clusters) < _FEWEST:
            return None
        bounded = all(evidence.bounded for evidence in evidences)
        observed = np.concatenate([evidence.value for evidence in evidences])
        if bounded and np.ptp(observed) == 0:
            return _exact(float(observed[0]), len(clusters), (0.0, 1.0), self._level)
        if proportion.applies(evidences):
            return self._share(clusters, system)
        drawn = self._bootstrap(clusters, system)
        drawn = drawn.log() if self._is_multiplied(system) else drawn
        varies = self._trained is None or self._trained[system]
        seeds = [drawn.seeds.alone()] if varies else []
        if self._is_multiplied(system):
            ends = self._ends(drawn, len(clusters), seeds)
            return ends and Interval(math.exp(capped(ends.low)), math.exp(capped(ends.high)))
        support = (0.0, 1.0) if bounded else (0.0, math.inf) if observed.min() >= 0 else None
        return self._ends(drawn, len(clusters), seeds, support)

    def difference(self, a: int, b: int, *, relative: bool = False) -> Difference:
        """The paired difference of two systems: see `bench.stats.difference`."""
        clusters, left_out = self._common(a, b)
        first, second = self._bootstrap(clusters, a), self._bootstrap(clusters, b)
        if not (math.isfinite(first.figure) and math.isfinite(second.figure)):
            raise MissingError("a figure is beyond any number")
        if relative and not (first.figure > 0 and second.figure > 0):
            raise MissingError("a relative difference needs two figures above 0", mend="compare the absolute one")
        seeds = self._parts("figure", clusters, (a, b), (first.seeds, second.seeds), relative=relative)
        one, other = (first.log(), second.log()) if relative else (first, second)
        gap = _Drawn(one.figure - other.figure, one.drawn - other.drawn, Seeds(0.0))
        evidences = [*self._systems[a], *self._systems[b]]
        shares = not relative and all(one.bounded and one.statistic == "mean" for one in evidences)
        ends: Interval | None = None
        if len(clusters) >= _FEWEST:
            agree = np.ptp(gap.drawn) < _SAME and not any(one.variance > _SAME for one in seeds)
            if shares and agree:
                ends = _exact(gap.figure, len(clusters), (-1.0, 1.0), self._level)
            else:
                support = (-1.0, 1.0) if shares else None
                unseen = self._unseen(clusters, a, b) if shares else 0.0
                ends = self._ends(gap, len(clusters), seeds, support, widen=partial(stretched, unseen=unseen))
        if relative:
            ends = ends and Interval(math.expm1(capped(ends.low)), math.expm1(capped(ends.high)))
        value = math.expm1(capped(gap.figure)) if relative else gap.figure
        return Difference(value, ends.low if ends else None, ends.high if ends else None, len(clusters), left_out)

    def _unseen(self, clusters: Clusters, a: int, b: int) -> float:
        """The difference that a cluster may have which was not seen, where most that were seen have none.

        Halfway to the furthest that two shares can be apart, times the share of clusters in which the systems agree.
        """
        gaps = self._side(clusters, a).means - self._side(clusters, b).means
        return _HALF * float(np.mean(np.abs(gaps) < _SAME))

    def significance(self, a: int, b: int) -> Significance:
        """The test that two systems do not differ: see `bench.stats.significance`."""
        clusters, _ = self._common(a, b)
        if self._is_median:
            pair = [self._systems[a], self._systems[b]]
            cut = testing.pooled_median([(one, 1 / len(side)) for side in pair for one in side], clusters)
            first, second = (testing.side(one, clusters, cut) for one in pair)
        else:
            first, second = self._side(clusters, a), self._side(clusters, b)
        seeds = self._parts("test", clusters, (a, b), (first.seeds, second.seeds))

        def moved() -> Sequence[Array]:
            if self._is_median:
                return self._moved(clusters, [first, second])
            return self._exchange(clusters, (a, b))

        return testing.compare(first, second, seeds, moved, self._resamples)

    def ranks(self, places: Sequence[int], *, higher_is_better: bool) -> list[Ranks]:
        """The ranks that each of some systems may have among them: see `bench.stats.ranks`.

        Args:
            places: The systems, two at least.
            higher_is_better: The direction.

        Raises:
            MissingError: they have fewer than two clusters in common.
        """
        clusters, _ = self._common(*places)
        if len(clusters) < _FEWEST:
            raise MissingError("the runs have a single prompt or question in common")
        if self._is_median and 2.0 ** (1 - len(clusters)) > 1 - self._level:
            # No exchange of so few clusters is rare enough for the exact test, and resampling knows no more than it.
            return [Ranks(1, len(places), len(places), may_be_best=True) for _ in places]
        kind: Kind = "figure" if self._is_median else "test"
        figures, errors = (self._bootstrap_errors if self._is_median else self._exchange_errors)(clusters, places)
        relative = self._is_median and self._is_multiplied(*places)

        def parts(first: int, second: int) -> Sequence[Component]:
            pair = (places[first], places[second])
            own = [self._shown(kind, clusters, n) for n in pair]
            return self._parts(kind, clusters, pair, own, relative=relative)

        return ranks_of(
            figures,
            errors,
            parts,
            higher_is_better=higher_is_better,
            level=self._level,
            seed=self._seed,
        )

    def _bootstrap_errors(self, clusters: Clusters, places: Sequence[int]) -> tuple[Array, Array]:
        """Figures, and their errors in the bootstrap; both as logarithms where figures are above 0."""
        found = [self._bootstrap(clusters, n) for n in places]
        found = [one.log() for one in found] if self._is_multiplied(*places) else found
        widened_by = math.sqrt(len(clusters) / (len(clusters) - 1))
        figures = np.array([one.figure for one in found])
        drawn = np.column_stack([one.drawn[:DRAWS] for one in found]) - figures
        return figures, widened_by * drawn[np.isfinite(drawn).all(axis=1)]

    def _exchange_errors(self, clusters: Clusters, places: Sequence[int]) -> tuple[Array, Array]:
        """Figures, and what they would be if the sign of each prompt's part were drawn, to first order.

        The difference of two systems is then what it would be if prompts were exchanged between them.
        """
        sides = [self._side(clusters, n) for n in places]
        figures = np.array([side.mean for side in sides])
        middle = float(figures.mean())
        errors = []
        for side, moved in zip(sides, self._exchange(clusters, places), strict=True):
            whole = side.sums.sum(axis=0)
            flipped = 2 * moved[:DRAWS] - whole
            errors.append((flipped[:, 0] - middle * flipped[:, 1]) / whole[1])
        return figures, np.column_stack(errors)

    @property
    def _is_median(self) -> bool:
        return any(one.statistic == "median" for system in self._systems for one in system)

    def _is_multiplied(self, *systems: int) -> bool:
        """Whether figures differ by a factor: they are perplexities, or medians of what is above 0."""
        return all(one.statistic != "mean" and _is_positive(one) for n in systems for one in self._systems[n])

    # --- what another training adds ---

    def _parts(
        self,
        kind: Kind,
        clusters: Clusters,
        pair: tuple[int, int],
        own: Sequence[Seeds],
        *,
        relative: bool = False,
    ) -> list[Component]:
        """What the seeds of two systems add to the variance of their difference (of their logarithms' if relative)."""
        if self._trained is None:
            return [(one.scaled(1 / one.figure) if relative else one).alone() for one in own]
        if (kind, clusters) not in self._borrowed:
            self._borrowed[kind, clusters] = self._borrow(kind, clusters)
        known = self._borrowed[kind, clusters]
        middle = (own[0].figure + own[1].figure) / 2
        slope = self._slope(kind, middle) / (middle if relative else 1)
        return [known[n].scaled(slope) if n in known else Component() for n in pair]

    def _borrow(self, kind: Kind, clusters: Clusters) -> dict[int, Component]:
        """By system with several trainings, what they add, from all of them: on the scale where they vary alike."""
        trained = self._trained or []
        places = [n for n in self._sharing(clusters) if trained[n] and len(self._systems[n]) > 1]
        shown = {n: self._shown(kind, clusters, n) for n in places}
        shown = {n: one for n, one in shown.items() if one.count > 1}  # on a single prompt seeds count as one
        alike = []
        for one in shown.values():
            has_logit = self._slope(kind, one.figure) > 0
            alike.append(one.scaled(1 / self._slope(kind, one.figure, len(clusters)) if has_logit else math.nan))
        return dict(zip(shown, borrowed(alike), strict=True))

    def _shown(self, kind: Kind, clusters: Clusters, system: int) -> Seeds:
        """What a system's seeds show of its figure, or of what a test looks at."""
        if kind == "figure":
            return self._bootstrap(clusters, system).seeds
        return self._side(clusters, system).seeds

    def _slope(self, kind: Kind, figure: float, n_clusters: int = 0) -> float:
        """How fast a figure changes on the scale on which trainings vary alike: logit of shares, logarithm, or none.

        With a number of clusters, a share counts half a cluster more on either side: where hardly any text is toxic,
        the logit is not known well enough to be taken as the figure says (Haldane 1956; Anscombe 1956).
        """
        evidences = [one for system in self._systems for one in system]
        shares = all(one.bounded and one.statistic == "mean" for one in evidences)
        if shares or (kind == "test" and self._is_median):
            inner = (figure * n_clusters + _HALF) / (n_clusters + 1) if n_clusters else figure
            return inner * (1 - inner)
        logs = kind == "figure" and all(one.statistic != "mean" for one in evidences) and figure > 0
        return figure if logs else 1.0

    # --- draws ---

    def _common(self, *systems: int) -> tuple[Clusters, int]:
        """The clusters with observations in every entry of these systems, and how many only some have."""
        observed = [found for n in systems for found in self._present[n]]
        clusters = sorted(set.intersection(*observed)) if all(self._systems[n] for n in systems) else []
        if not clusters:
            raise MissingError(
                "the two runs have no prompt or question in common", mend="compare runs on the same data"
            )
        return tuple(clusters), len(set.union(*observed)) - len(clusters)

    def _sharing(self, clusters: Clusters, *wanted: int) -> list[int]:
        """These systems and all others that were observed on all of `clusters`."""
        every = set(clusters)
        others = (n for n, found in enumerate(self._present) if found and all(every <= one for one in found))
        return sorted({*wanted, *others})

    def _bootstrap(self, clusters: Clusters, system: int) -> "_Drawn":
        if (clusters, system) not in self._bootstrapped:
            systems = self._sharing(clusters, system)
            statistics = [[statistic(one, clusters) for one in self._systems[n]] for n in systems]
            drawn = resample([one for some in statistics for one in some], len(clusters), self._resamples, self._seed)
            start = 0
            for n, some in zip(systems, statistics, strict=True):
                figures = np.array([once(one, len(clusters)) for one in some])
                own = drawn[:, start : (start := start + len(some))]
                self._bootstrapped[clusters, n] = _drawn(figures, own, len(clusters))
        return self._bootstrapped[clusters, system]

    def _share(self, clusters: Clusters, system: int) -> Interval:
        """The interval of a bounded mean, made for all systems that share the clusters."""
        if (clusters, system) not in self._shares:
            systems = [n for n in self._sharing(clusters, system) if proportion.applies(self._systems[n])]
            found = proportion.intervals(
                [self._systems[n] for n in systems],
                clusters,
                trained=None if self._trained is None else [self._trained[n] for n in systems],
                level=self._level,
                resamples=self._resamples,
                seed=self._seed,
            )
            self._shares |= {(clusters, n): Interval(*ends) for n, ends in zip(systems, found, strict=True)}
        return self._shares[clusters, system]

    def _side(self, clusters: Clusters, system: int) -> Side:
        if (clusters, system) not in self._sides:
            self._sides[clusters, system] = testing.side(self._systems[system], clusters, self._cut(clusters))
        return self._sides[clusters, system]

    def _cut(self, clusters: Clusters) -> float | None:
        """The median of all observations of all systems, where figures are medians."""
        if not self._is_median:
            return None
        if clusters not in self._cuts:
            every = [self._systems[n] for n in self._sharing(clusters)]
            self._cuts[clusters] = testing.pooled_median(
                [(one, 1 / len(side)) for side in every for one in side], clusters
            )
        return self._cuts[clusters]

    def _exchange(self, clusters: Clusters, wanted: Sequence[int]) -> list[Array]:
        """The random exchanges of some systems, made for all that share the clusters."""
        if not {(clusters, n) for n in wanted} <= self._exchanged.keys():
            systems = self._sharing(clusters, *wanted)
            moved = self._moved(clusters, [self._side(clusters, n) for n in systems])
            self._exchanged |= {(clusters, n): one for n, one in zip(systems, moved, strict=True)}
        return [self._exchanged[clusters, n] for n in wanted]

    def _moved(self, clusters: Clusters, sides: Sequence[Side]) -> list[Array]:
        return exchange([side.sums for side in sides], len(clusters), self._resamples, self._seed)

    def _ends(
        self,
        drawn: "_Drawn",
        n_clusters: int,
        seeds: Sequence[Component],
        support: tuple[float, float] | None = None,
        *,
        widen: Callable[..., tuple[float, float]] = widened,
    ) -> Interval | None:
        """The widened percentile interval, kept within `support`."""
        known = drawn.drawn[np.isfinite(drawn.drawn)]  # a resample without any observation says nothing
        if not len(known):
            return None
        tails = np.quantile(known, [(1 - self._level) / 2, (1 + self._level) / 2])
        prompts = float(known.var()) * n_clusters / (n_clusters - 1)
        low, high = widen(drawn.figure, (float(tails[0]), float(tails[1])), prompts, n_clusters, seeds, self._level)
        return Interval(max(low, support[0]), min(high, support[1])) if support else Interval(low, high)


@dataclass(frozen=True)
class _Drawn:
    """A figure, what the resampled prompts make of it, and what its seeds show."""

    figure: float
    drawn: Array
    seeds: Seeds

    def log(self) -> "_Drawn":
        """The logarithm of a figure above 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            drawn = np.log(self.drawn)
        return _Drawn(math.log(self.figure), drawn, self.seeds.scaled(1 / self.figure))


def _drawn(figures: Array, drawn: Array, n_clusters: int) -> _Drawn:
    """The average over seeds, and the seeds' part: what seeds differ in by the draw of prompts alone is noise."""
    averaged = drawn.mean(axis=1)
    if len(figures) == 1 or n_clusters < _FEWEST:
        return _Drawn(float(figures.mean()), averaged, Seeds(float(figures.mean())))
    own = (drawn - averaged[:, None])[np.isfinite(averaged)]
    noise = float(own.var(axis=0).sum()) / (len(figures) - 1) * n_clusters / (n_clusters - 1)
    return _Drawn(float(figures.mean()), averaged, seeds_of(figures, noise))


def _is_positive(evidence: Evidence) -> bool:
    return evidence.statistic == "exp_mean" or min(evidence.value, default=0.0) > 0


def _exact(figure: float, n_clusters: int, support: tuple[float, float], level: float) -> Interval:
    """The interval where all clusters agree: at most a share b of them could be anywhere in `support`."""
    share = 1 - ((1 - level) / 2) ** (1 / n_clusters)
    return Interval(figure - share * (figure - support[0]), figure + share * (support[1] - figure))
