"""From trials and their records to fronts and to what is chosen, all by point estimates on the tuning data."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from bench.errors import MissingError, UsageError
from bench.store.runs import Run
from reports.gate.requirements import NO_INTERVAL, NO_SIGNAL, Requirement, RequirementDecision, hold, with_keys
from reports.table.build import build as build_table
from reports.table.build import build_with_columns
from reports.table.cells import Caption
from reports.table.cost import COSTS
from reports.tradeoff.build import Point, front, measure

if TYPE_CHECKING:
    from bench.run.tune.search import Found

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Tried:
    """A trial and what it came to.

    Attributes:
        number: From 1.
        settings: The searched options that differ from the defaults.
        run_id: Its record, or None where it failed.
        why: Why it failed, or None.
        point: Its figures, or None where it failed.
        on_front: Whether no other trial of the method is as good in both figures and better in one.
        within: Whether it keeps the budget; None where there is none, or nothing to hold against it.
        chosen: Whether it is what the search proposes.
        better_than_base: Whether it is nearer to the wanted end than the base; None where it may not be compared.
    """

    number: int
    settings: Mapping[str, Any]
    run_id: str | None
    why: str | None
    point: Point | None = None
    on_front: bool = False
    within: bool | None = None
    chosen: bool = False
    better_than_base: bool | None = None


@dataclass(frozen=True)
class Searched:
    """A method's trials.

    Attributes:
        label: The method as tables call it.
        asked: The same as it was asked for.
        space: What was searched, by option, for people.
        is_spent: Whether nothing was left to try.
        trials: In order.
    """

    label: str
    asked: str
    space: Mapping[str, str]
    is_spent: bool
    trials: tuple[Tried, ...]


@dataclass(frozen=True)
class Tuned:
    """What a search found.

    Attributes:
        caption: What all figures share.
        attribute: The metric that the attribute is measured by.
        higher_is_better: Its direction.
        base: The unedited model.
        budget: What a chosen trial keeps, as it was given.
        methods: The methods.
    """

    caption: Caption
    attribute: str
    higher_is_better: bool
    base: Point
    budget: tuple[str, ...]
    methods: tuple[Searched, ...]


def figures(base: Run, run: Run) -> tuple[float, ...]:
    """What a search makes small: how far the attribute is from its wanted end, and the share by which perplexity rises.

    The second is there where it was measured of the base. A flagged run's attribute counts as the base's where it looks
    better: its texts are no answers. Where `run` is `base`, the figures are its own.

    Raises:
        MissingError: one of them was not measured, or some measurement of it failed.
    """
    found = measure([base] if run.id == base.id else [base, run], {})
    own, point = found.points[0], found.points[-1]
    failed = sum(one.n_failed for one in run.result.metrics if one.key == found.attribute.key) if run.result else 0
    if failed:
        raise MissingError(f"{failed} measurements of {found.attribute.name} failed")
    if point.distance is None or own.distance is None:
        raise MissingError(f"{found.attribute.name} was not measured")
    distance = max(point.distance, own.distance) if point.flags else point.distance
    if own.perplexity.value is None:
        return (distance,)
    cost = point.costs["perplexity"].value
    if cost is None:
        raise MissingError("perplexity was not measured")
    return distance, cost


def refuse_costs(budget: Sequence[Requirement]) -> None:
    """Refuse limits of what a run costs, before any work: they are of the machine, and the base has but some of them.

    Raises:
        UsageError: a limit speaks of one.
    """
    for one in budget:
        task, _, name = one.metric.rpartition("/")
        if task == "cost" or (not task and name in COSTS):
            what = f"'{one.text}' cannot be held: {one.metric} is what a run costs, and no task measures it"
            raise UsageError(what, mend="name another metric; 'bench table' shows what trials cost, by --layout cost")


def check_budget(base: Run, budget: Sequence[Requirement]) -> list[Requirement]:
    """Find out whether the base has figures of what a budget speaks of, and what a limit against it needs.

    That is signal, and a difference: there is none of a figure that is no mean over cases.

    Returns:
        The budget, each limit with the key of its metric.

    Raises:
        UsageError: it has not.
    """
    table, (column, *_) = build_with_columns([base])
    hold(table, budget)
    limits = with_keys(table, budget)
    silent = {row.key for row in table.rows if row.has_signal is False}
    absent = {row.key for row in table.rows if row.cells[0].value is None}
    for one in limits:
        if one.metric in absent:
            what = f"'{one.text}' cannot be held: the base has no figure of {one.metric}, so no method has one"
            raise UsageError(what, mend="name another metric, or take a suite with enough data for this one")
        if one.of_base and one.metric in silent:
            raise UsageError(f"'{one.text}' cannot be held ({NO_SIGNAL})", mend="give a figure in place of the base")
        if one.of_base and not column.evidence(one.metric):
            what = f"'{one.text}' cannot be held: {one.metric} is no mean over cases, so no difference of it is known"
            raise UsageError(what, mend="give a figure in place of the base")
    return limits


def best_of(tuned: Tuned) -> tuple[int, Tried] | None:
    """Of what a budget has chosen, the trial nearest to the wanted end (of two as near, the cheaper one).

    Returns:
        The number of its method, and the trial; None where none was chosen, or none of them is better than the base.
    """
    chosen = [
        (place, number, one)
        for number, method in enumerate(tuned.methods)
        for one in method.trials
        if one.chosen and one.better_than_base and (place := _place(one)) is not None
    ]
    return min(chosen, key=lambda found: found[:2])[1:] if chosen else None


def build(base: Run, found: "Sequence[Found]", runs: Mapping[str, Run], budget: Sequence[Requirement]) -> Tuned:
    """Put trials and their records together, and choose.

    With a budget, the trial of each method is chosen that is nearest to the wanted end among those that keep it;
    without one, all on its front. A trial that failed, or whose texts are flagged, is on no front and is never chosen.

    Args:
        base: The base's record.
        found: The trials of each method.
        runs: The records of those that did not fail, by name.
        budget: Limits, held by point estimates.
    """
    alone = measure([base], {})
    return Tuned(
        caption=alone.table.caption,
        attribute=alone.attribute.name,
        higher_is_better=bool(alone.attribute.higher_is_better),
        base=alone.points[0],
        budget=tuple(one.text for one in budget),
        methods=tuple(
            Searched(
                one.subject.default.label,
                one.subject.text,
                {option: _told(over) for option, over in one.subject.space.items()},
                one.is_spent,
                tuple(_chosen(_with_front(_tried(base, one, runs, budget)), has_budget=bool(budget))),
            )
            for one in found
        ),
    )


def to_json(tuned: Tuned) -> dict[str, Any]:
    """What was found as JSON values; what is absent is null."""
    return asdict(tuned)


def _told(over: Any) -> str:
    return ", ".join(map(str, over)) if isinstance(over, tuple) else str(over)


def _tried(base: Run, found: "Found", runs: Mapping[str, Run], budget: Sequence[Requirement]) -> list[Tried]:
    """A method's trials with their figures, beside the base's."""
    measured = [runs[trial.run_id] for trial in found.trials if trial.run_id]
    points = {point.run_ids[0]: point for point in measure([base, *measured], {}).points} if measured else {}
    own = points[base.id].distance if measured else None
    within = _within([base, *measured], budget) if measured else {}
    tried = [
        Tried(
            trial.number,
            trial.settings,
            trial.run_id,
            trial.why,
            points.get(trial.run_id or ""),
            within=within.get(trial.run_id or ""),
        )
        for trial in found.trials
    ]
    return [replace(one, better_than_base=_is_better(one, own)) for one in tried]


def _is_better(trial: Tried, base: float | None) -> bool | None:
    """Whether a trial is nearer to the wanted end than the base; None where it may not be compared."""
    place = _place(trial)
    return None if place is None or base is None else place[0] < base - _ROUNDING


def _within(runs: Sequence[Run], budget: Sequence[Requirement]) -> dict[str, bool]:
    """Whether each run keeps a budget by its point estimates, by its name; nothing where there is no budget."""
    if not budget:
        return {}
    table = build_table(runs)
    systems = [system for system in table.systems if not system.is_base]
    decided = hold(table, budget)
    kept: dict[str, bool] = {}
    for place, one in enumerate(budget):
        for system, decision in zip(systems, decided[place * len(systems) :], strict=False):
            name = system.run_ids[0]
            kept[name] = kept.get(name, True) and _keeps(one, decision)
    return kept


def _keeps(one: Requirement, decision: RequirementDecision) -> bool:
    """Whether a figure keeps a limit by its point estimate, for which it needs no interval."""
    if decision.value is None or (decision.status == "invalid" and decision.why != NO_INTERVAL):
        return False
    over = decision.value - decision.limit
    return (over if one.at_most else -over) <= _ROUNDING


def _with_front(trials: Sequence[Tried]) -> list[Tried]:
    places = [(n, _place(one)) for n, one in enumerate(trials)]
    known = [(n, place) for n, place in places if place is not None]
    on_front = {n for (n, _), one in zip(known, front([place for _, place in known]), strict=True) if one}
    return [replace(one, on_front=n in on_front) for n, one in enumerate(trials)]


def _place(trial: Tried) -> tuple[float, float] | None:
    """Where a trial is in the plane of attribute and perplexity; None where it may not be compared."""
    point = trial.point
    if point is None or not point.counts or point.distance is None:
        return None
    return point.distance, point.costs["perplexity"].value or 0.0


def _chosen(trials: Sequence[Tried], *, has_budget: bool) -> list[Tried]:
    if not has_budget:
        return [replace(one, chosen=one.on_front) for one in trials]
    kept = [(place, n) for n, one in enumerate(trials) if one.within and (place := _place(one)) is not None]
    best = min(kept)[1] if kept else None
    return [replace(one, chosen=n == best) for n, one in enumerate(trials)]
