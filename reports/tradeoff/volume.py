"""The evidence behind a curve's hypervolume: every point's place by its seeds, and what each prompt adds to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.stats.estimate import Array, Ratio, present, statistic
from bench.stats.hypervolume import Axis, Volume, cross_validated, is_known, relative
from bench.store.record import Evidence
from bench.store.runs import Run
from reports.table.accuracy import Mean, taken_over


@dataclass(frozen=True)
class Behind:
    """Where the evidence of a trade-off is.

    Attributes:
        base: The base's runs.
        runs: The runs of each point, by their names.
        attribute: Key of the metric that measures the attribute.
        higher_is_better: Its direction.
        perplexity: Key of the metric that the loss of fluency is of, or None.
        utility: The mean that the loss of utility is of.
    """

    base: Sequence[Run]
    runs: Mapping[tuple[str, ...], Sequence[Run]]
    attribute: str
    higher_is_better: bool
    perplexity: str | None
    utility: Mean

    def volume(self, points: Sequence[tuple[str, ...]], apparent: float, *, by_utility: bool, most: float) -> Volume:
        """The hypervolume of some points in the plane of the attribute and the perplexity, or the utility.

        Seeds that not all points have are left out. Without any that all have, without evidence, or with a base of too
        few events, what chance adds is not known.

        Args:
            points: The names of each point's runs.
            apparent: The hypervolume of the point estimates.
            by_utility: Whether the cost is of utility.
            most: The cost at which nothing is gained.
        """
        seeded = [{run.manifest.seed: run for run in self.runs[names]} for names in points]
        seeds = sorted(set.intersection(*(set(one) for one in seeded)))
        groups = [[one[seed] for one in seeded] for seed in seeds]
        attribute = self._relative(groups, self.attribute, falls=self.higher_is_better)
        if by_utility:
            cost = _below([self._utilities(runs) for runs in groups], self._utilities(self.base))
        else:
            cost = self._relative(groups, self.perplexity, falls=False)
        if attribute is None or cost is None:
            return Volume(apparent)
        figures = cost.figures if by_utility else cost.figures - 1
        return cross_validated(attribute, Axis(figures / most, cost.influence / most), apparent)

    def _relative(self, groups: Sequence[Sequence[Run]], key: str | None, *, falls: bool) -> Axis | None:
        """Figures as shares of the base's; where it `falls`, of what is missing to 1."""
        found = _measured([_evidence(runs, key) for runs in groups], _evidence(self.base, key))
        if found is None:
            return None
        points, base = found
        if falls:
            points, base = Axis(1 - points.figures, -points.influence), Axis(1 - base.figures, -base.influence)
        if key == self.attribute and not is_known(base):  # a perplexity is far from 0, and paired passage by passage
            return None
        return relative(points, base)

    def _utilities(self, runs: Sequence[Run]) -> list[Evidence | None]:
        return [taken_over(run, self.utility)[1] for run in runs]


def _evidence(runs: Sequence[Run], key: str | None) -> list[Evidence | None]:
    return [run.evidence.get(key) if key else None for run in runs]


def _below(groups: Sequence[Sequence[Evidence | None]], base: Sequence[Evidence | None]) -> Axis | None:
    """How far figures are below the base's."""
    found = _measured(groups, base)
    if found is None:
        return None
    points, other = found
    own = other.influence.mean(axis=(0, 2))
    return Axis(other.figures.mean() - points.figures, own[None, :, None] - points.influence)


def _measured(groups: Sequence[Sequence[Evidence | None]], base: Sequence[Evidence | None]) -> tuple[Axis, Axis] | None:
    """The figures of each seed's points, and the base's as those of one point, on what all were observed on."""
    known = [[one for one in some if one is not None] for some in (*groups, base)]
    if len(known) == 1 or any(len(some) < len(all_) for some, all_ in zip(known, (*groups, base), strict=True)):
        return None
    clusters = sorted(set.intersection(*(present(one) for some in known for one in some)))
    if not clusters:
        return None
    places = [[_influence(one, clusters) for one in some] for some in known]
    if any(one is None for some in places for one in some):
        return None
    stacked = [np.stack([one for one in some if one is not None], axis=-1) for some in places]
    points, others = np.stack(stacked[:-1]), stacked[-1]
    return Axis(points[:, 0], points[:, 1:]), Axis(others[0][:, None], others[1:].T[:, :, None])


def _influence(evidence: Evidence, clusters: Sequence[str]) -> Array | None:
    """A figure, followed by what each cluster adds to it to first order; None of a median."""
    found = statistic(evidence, clusters)
    if not isinstance(found, Ratio):
        return None
    value, weight = found.sums.sum(axis=0)
    mean = value / weight
    added = len(clusters) * (found.sums[:, 0] - mean * found.sums[:, 1]) / weight
    figure = np.exp(mean) if found.exp else mean
    return np.concatenate([[figure], added * figure if found.exp else added])
