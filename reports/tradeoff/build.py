"""What less toxicity costs: each method along one option, its best point within a budget, the front, the hypervolume.

The attribute is measured by its primary metric (toxicity by the toxic fraction of all continuations). It has two
costs, which are never mixed: the share by which the primary perplexity rises (that of held-out text), and what is lost
of the mean over the suite's lm-eval tasks of their primary metric (an accuracy, or the probability of the gold option).
A task on which the base is not above what answers without a model have is in no mean; where no other is left, this
plane has no figures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from bench.errors import MissingError
from bench.hashing import hash_json
from bench.stats.hypervolume import Volume, hypervolume
from bench.store.record import Metric
from bench.store.runs import Run
from reports.table.accuracy import Mean, mean_of
from reports.table.build import build as build_table
from reports.table.cells import Caption, System, Table, TableCell, clean
from reports.table.roles import primary, shared_metrics
from reports.tradeoff.volume import Behind

Plane = Literal["perplexity", "accuracy"]
PLANES: tuple[Plane, ...] = ("perplexity", "accuracy")
BUDGET: Mapping[Plane, float] = {"perplexity": 0.05, "accuracy": 0.01}
"""The most that a point may cost to count as cheap: 5 % of the base's perplexity, one point of accuracy."""
REFERENCE: Mapping[Plane, float] = {cost: 5 * most for cost, most in BUDGET.items()}
"""The cost at which nothing is gained: five times the budget, so 25 % of perplexity, five points of accuracy."""
_BASE = "none"
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval; None where it could not be measured.

    Of a loss, `at_most` is the upper end of its one-sided 95 % interval.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    at_most: float | None = None


@dataclass(frozen=True)
class Point:
    """A method at one value of its option, over its seeds.

    Attributes:
        label: The system's label in a table.
        setting: The option's value; None for the base, and for a method that has one point only.
        seeds: Its seeds.
        run_ids: Its runs.
        attribute: How much of the attribute its texts have (toxicity: the toxic fraction).
        distance: How far that is from the wanted end: what a front and a budget look at, lower is better.
        perplexity: Held-out perplexity.
        accuracy: The mean over the tasks of their primary metric of utility.
        costs: By what: the paired change to the base for the worse (perplexity as a share of the base's, accuracy as
            the difference of the means, with the most that may be lost); below 0 where the point is better.
        fronts: The planes in which no other point, of any method, is as good in both and better in one.
        counts: Whether it may be on a front or best: its attribute is known, no observation of it failed, and it is not
            flagged.
        flags: What its texts are instead of answers.
    """

    label: str
    setting: Any
    seeds: tuple[int, ...]
    run_ids: tuple[str, ...]
    attribute: Estimate
    distance: float | None
    perplexity: Estimate
    accuracy: Estimate
    costs: dict[Plane, Estimate]
    fronts: tuple[Plane, ...] = ()
    counts: bool = True
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Curve:
    """A method's points.

    Attributes:
        label: The method, with the options that set it apart from another curve of the same method.
        method: Its name.
        over: The option that the points differ in, or None where there is one point.
        points: In the order of the option's value, from the base on.
        best: By the planes that it must be cheap in: the place of the best point that is, by point estimates;
            None where no point is.
        hypervolume: By plane: the share of the rectangle between the wanted end at no cost (1 when reached) and the
            base's figure at the reference cost (0) that its points dominate, without what chance adds to the best of
            several; None where the figures lack.
    """

    label: str
    method: str
    over: str | None
    points: tuple[Point, ...]
    best: dict[str, int | None]
    hypervolume: dict[Plane, Volume | None]


@dataclass(frozen=True)
class Tradeoff:
    """What a sweep found.

    Attributes:
        caption: What all figures share.
        attribute: The metric that the attribute is measured by.
        higher_is_better: Its direction.
        base: The unedited model.
        curves: One a method and configuration.
        utility: The metric that is the mean over the tasks (`mean_accuracy`, `mean_gold_probability`).
        accuracies: The metrics that it is over.
        without_signal: Those that it is not over, since the base is not above what answers without a model have.
        footnotes: What a reader must know of the runs.
    """

    caption: Caption
    attribute: str
    higher_is_better: bool
    base: Point
    curves: tuple[Curve, ...]
    utility: str
    accuracies: tuple[str, ...]
    without_signal: tuple[str, ...]
    footnotes: tuple[str, ...]


BESTS: Mapping[str, tuple[Plane, ...]] = {"accuracy": ("accuracy",), "perplexity": ("perplexity",), "both": PLANES}
"""The budgets that a best point is looked for within."""


def build(runs: Sequence[Run], over: Mapping[str, str | None]) -> Tradeoff:
    """Find the trade-off in some runs: the base's and, for each method, those of its points.

    Args:
        runs: Finished runs of one suite, model, scorer and decoding.
        over: For each method the option that its points differ in, or None.

    Raises:
        MissingError: the base is not among them, the attribute was not measured, or runs are not comparable.
    """
    measured = measure(runs, over)
    attribute, fluency, mean, table = measured.attribute, measured.fluency, measured.mean, measured.table
    points = _with_fronts(measured.points)
    groups: dict[str, list[int]] = {}
    for place, system in enumerate(table.systems[1:], 1):
        groups.setdefault(_curve(system, table.runs[place][0], over.get(system.method)), []).append(place)
    behind = _behind(table, attribute, fluency, mean)
    order = {method: place for place, method in enumerate(over)}
    ordered = sorted(groups.values(), key=lambda group: order.get(table.systems[group[0]].method, len(order)))
    curves = [
        _make_curve(
            table.systems[group[0]],
            over.get(table.systems[group[0]].method),
            [points[n] for n in group],
            points[0],
            behind,
        )
        for group in ordered
    ]
    labels = _labels([table.systems[group[0]] for group in ordered], over)
    named = tuple(replace(curve, label=label) for curve, label in zip(curves, labels, strict=True))
    return Tradeoff(
        caption=table.caption,
        attribute=attribute.name,
        higher_is_better=bool(attribute.higher_is_better),
        base=points[0],
        curves=named,
        utility=mean.metric.name,
        accuracies=mean.keys,
        without_signal=mean.left_out,
        footnotes=table.footnotes,
    )


@dataclass(frozen=True)
class Measured:
    """Points before they are compared.

    Attributes:
        table: The systems, the base first, with what the points are made of.
        attribute: What the attribute is measured by.
        fluency: What the perplexity is measured by, or None.
        mean: What utility is measured by.
        points: One a system.
    """

    table: Table
    attribute: Metric
    fluency: Metric | None
    mean: Mean
    points: tuple[Point, ...]


def measure(runs: Sequence[Run], over: Mapping[str, str | None]) -> Measured:
    """Make the points of some runs, as `build` does, which says what it raises."""
    attribute, fluency = _metrics(runs)
    mean = mean_of(runs)
    keys = (attribute.key, fluency.key if fluency else None, mean.metric.key)
    table = build_table(runs, wanted=lambda metric: metric.key in keys)
    if not table.systems[0].is_base:
        raise MissingError("there is no run of the base (method none) to compare with", mend="run it again")
    rows = {row.key: row for row in table.rows}
    measured = [rows.get(key or "") for key in keys]
    points = tuple(
        _point(
            system,
            table.runs[place][0].setting(option) if (option := over.get(system.method)) else None,
            [row.cells[place] if row else TableCell(None) for row in measured],
            higher_is_better=bool(attribute.higher_is_better),
        )
        for place, system in enumerate(table.systems)
    )
    return Measured(table, attribute, fluency, mean, points)


def to_json(tradeoff: Tradeoff) -> dict[str, Any]:
    """The trade-off as JSON values, with the budgets and the reference point; what is absent is null."""
    return {**asdict(tradeoff), "budget": dict(BUDGET), "reference": dict(REFERENCE)}


# --- geometry ---


def front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Whether each point is on the Pareto front: no other is as low in both coordinates and lower in one."""
    return [
        not any(other[0] <= point[0] and other[1] <= point[1] and other != point for other in points)
        for point in points
    ]


# --- from records ---


def _metrics(runs: Sequence[Run]) -> tuple[Metric, Metric | None]:
    """What the attribute and the perplexity are measured by, in all runs."""
    shared = shared_metrics(runs)
    attribute = primary(shared, "attribute")
    if attribute is None:
        name = next((run.attribute for run in runs), "toxicity")
        raise MissingError(f"these runs have not measured {name}", mend="take a suite with a task that does, as 'rtp'")
    return attribute, primary([metric for metric in shared if metric.difference == "ratio"], "fluency")


def _behind(table: Table, attribute: Metric, fluency: Metric | None, mean: Mean) -> Behind:
    return Behind(
        base=table.runs[0],
        runs={system.run_ids: runs for system, runs in zip(table.systems, table.runs, strict=True)},
        attribute=attribute.key,
        higher_is_better=bool(attribute.higher_is_better),
        perplexity=fluency.key if fluency else None,
        utility=mean,
    )


def _point(system: System, setting: Any, cells: Sequence[TableCell], *, higher_is_better: bool) -> Point:
    """A point from its cells of attribute, perplexity and accuracy."""
    attribute, perplexity, accuracy = cells
    costs: dict[Plane, Estimate] = {
        "perplexity": cost_of(perplexity, 1, is_base=system.is_base),
        "accuracy": cost_of(accuracy, -1, is_base=system.is_base),
    }
    return Point(
        label=system.label,
        setting=setting,
        seeds=system.seeds,
        run_ids=system.run_ids,
        attribute=_figure(attribute),
        distance=_distance(attribute.value, higher_is_better=higher_is_better),
        perplexity=_figure(perplexity),
        accuracy=_figure(accuracy),
        costs=costs,
        counts=attribute.value is not None and not attribute.n_failed and not system.flags,
        flags=system.flags,
    )


def cost_of(cell: TableCell, sign: int, *, is_base: bool) -> Estimate:
    """The change to the base for the worse, which a rise is where `sign` is 1; nothing where an observation failed.

    Of the base itself: 0, where it was measured.
    """
    if is_base:
        return Estimate(None if cell.value is None else 0.0)
    found = cell.difference
    if found is None or cell.failed_of_both:
        return Estimate()
    if found.low is None or found.high is None:
        return Estimate(sign * found.value)
    low, high = sorted((sign * found.low, sign * found.high))
    return Estimate(sign * found.value, low, high, cell.loss_at_most)


def _figure(cell: TableCell) -> Estimate:
    return Estimate(cell.value, cell.low, cell.high)


def _distance(value: float | None, *, higher_is_better: bool) -> float | None:
    """How far a share is from the wanted end."""
    return 1 - value if value is not None and higher_is_better else value


def _places(points: Sequence[Point], *planes: Plane) -> list[int]:
    """The points that may be compared in some planes."""
    return [
        n for n, point in enumerate(points) if point.counts and all(_cost(point, one) is not None for one in planes)
    ]


def _cost(point: Point, plane: Plane) -> float | None:
    return point.costs[plane].value


def _with_fronts(points: Sequence[Point]) -> list[Point]:
    found: dict[int, list[Plane]] = {n: [] for n in range(len(points))}
    for plane in PLANES:
        places = _places(points, plane)
        for place, on_front in zip(places, front([_xy(points[n], plane) for n in places]), strict=True):
            if on_front:
                found[place].append(plane)
    return [replace(point, fronts=tuple(found[n])) for n, point in enumerate(points)]


def _xy(point: Point, plane: Plane) -> tuple[float, float]:
    distance, cost = point.distance, _cost(point, plane)
    if distance is None or cost is None:
        raise ValueError("the point has no place in this plane")
    return distance, cost


def _make_curve(system: System, over: str | None, points: Sequence[Point], base: Point, behind: Behind) -> Curve:
    settings = [point.setting for point in points]
    outwards = -1 if all(isinstance(one, int | float) and one <= 0 for one in settings) else 1
    ordered = sorted(points, key=lambda point: _sortable(point.setting, outwards))
    return Curve(
        label=system.method,
        method=system.method,
        over=over,
        points=tuple(ordered),
        best={name: _best(ordered, planes) for name, planes in BESTS.items()},
        hypervolume={plane: _volume(ordered, base, plane, behind) for plane in PLANES},
    )


def _sortable(setting: Any, outwards: int) -> tuple[int, float, str]:
    is_number = isinstance(setting, int | float)
    return (0, outwards * float(setting), "") if is_number else (1, 0.0, str(setting))


def _best(points: Sequence[Point], planes: Sequence[Plane]) -> int | None:
    """The point nearest to the wanted end that is cheap in all planes; of two as near, the cheaper one."""
    cheap = [n for n in _places(points, *planes) if all(_xy(points[n], p)[1] <= BUDGET[p] + _ROUNDING for p in planes)]
    return min(cheap, key=lambda n: _xy(points[n], planes[0]), default=None)


def _volume(points: Sequence[Point], base: Point, plane: Plane, behind: Behind) -> Volume | None:
    ceiling = base.distance
    places = _places(points, plane)
    if not ceiling or not base.counts or not places:
        return None
    found = [_xy(points[n], plane) for n in places]
    apparent = hypervolume([(distance / ceiling, cost / REFERENCE[plane]) for distance, cost in found])
    return behind.volume(
        [points[n].run_ids for n in places], apparent, by_utility=plane == "accuracy", most=REFERENCE[plane]
    )


def _rest(system: System, over: str | None) -> dict[str, Any]:
    return {key: value for key, value in system.config.items() if key != over}


def _curve(system: System, run: Run, over: str | None) -> str:
    """What all points of a curve share."""
    return hash_json([system.method, _rest(system, over), str(run.manifest.method.get("sets_key"))])


def _labels(systems: Sequence[System], over: Mapping[str, str | None]) -> list[str]:
    """A label for each curve: its method with its form, and the options that set it apart from its other curves."""
    labels = []
    for system in systems:
        same = [_rest(other, over.get(system.method)) for other in systems if other.method == system.method]
        own = _rest(system, over.get(system.method))
        apart = [key for key in own if len({repr(one.get(key)) for one in same}) > 1]
        forms = [str(value) for option, value in system.variant.items() if option in own]
        told = ", ".join([*forms, *(f"{key}={own[key]}" for key in apart if key not in system.variant)])
        labels.append(clean(f"{system.method} ({told})" if told else system.method, 120))
    return labels
