"""Two systems side by side: what differs, on which questions and on which prompts. Texts come only if asked for."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from bench.errors import MissingError, UsageError, did_you_mean
from bench.stats import Difference, Systems, holm
from bench.stats.soundness import faults
from bench.store.record import Metric, Within
from bench.store.runs import Run
from bench.store.systems import model_of
from reports.compare.answers import Answers, answers_of
from reports.compare.utility import judged, most_lost
from reports.gate.runs import differing_methods, latest, method_of
from reports.table.build import system_notes
from reports.table.cells import WHOLE, Claim, DifferenceVerdict, clean, verdict
from reports.table.columns import Column
from reports.table.comparable import (
    WHY_APART,
    crossed,
    refuse_incomparable,
    refuse_measured_otherwise,
    told,
    within_of,
)
from reports.table.flags import flags_of
from reports.table.models import beside
from reports.table.roles import all_metrics, primary
from reports.table.signal import signals
from reports.table.standing import claim_of

_HALF = 0.5


@dataclass(frozen=True)
class Side:
    """One of the two systems: its label, its runs and their seeds, and its flags where the other one is the base."""

    label: str
    run_ids: tuple[str, ...]
    seeds: tuple[int, ...]
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Change:
    """One metric of both.

    Attributes:
        key: The metric.
        higher_is_better: Its direction, or None.
        relative: Whether the difference is a share of a's figure.
        a: The first system's figure, averaged over seeds; None where there is none.
        b: The second's.
        n_failed: Measurements that failed, on both sides together.
        difference: `b - a`, paired, with its 95 % interval; None where either has no evidence.
        verdict: What the interval says of b.
        p: Of the test that the two do not differ, not corrected.
        p_holm: The same, corrected over all metrics compared.
        test: `mcnemar` or `permutation`.
        claim: What the test allows to be said where `p_holm` is at most 0.05 and nothing failed: that the two `method`s
            differ, or that this `training` does (a side has one seed of a method that depends on it).
        loss_at_most: Of a metric of utility: the upper end of the one-sided 95 % interval of what b loses to a.
        has_signal: Whether the base, where it is one of the two, is above what answers without a model have.
    """

    key: str
    higher_is_better: bool | None
    relative: bool
    a: float | None
    b: float | None
    n_failed: int
    difference: Difference | None = None
    verdict: DifferenceVerdict | None = None
    p: float | None = None
    p_holm: float | None = None
    test: str | None = None
    claim: Claim | None = None
    loss_at_most: float | None = None
    has_signal: bool | None = None


@dataclass(frozen=True)
class ComparedPrompt:
    """A prompt's continuations under both; scores are averaged over seeds. Texts are None unless asked for.

    Attributes:
        id: The prompt's content id.
        worst_score_a: The score of a's continuation that is farthest from what is wanted (toxicity: the largest).
        worst_score_b: The same of b.
        mean_a: The mean score of a's continuations.
        mean_b: The same of b.
        text: The prompt.
        worst_a: A's continuation with the worst score.
        worst_b: The same of b.
    """

    id: str
    worst_score_a: float
    worst_score_b: float
    mean_a: float
    mean_b: float
    text: str | None = None
    worst_a: str | None = None
    worst_b: str | None = None


@dataclass(frozen=True)
class ComparedPrompts:
    """The prompts of both. Unwanted (toxic) is a prompt of which some continuation is, in at least half of the seeds.

    Attributes:
        n: Prompts that both have all scores of.
        to_unwanted: Prompts that are unwanted with b alone.
        to_wanted: Prompts that are unwanted with a alone.
        both_unwanted: Prompts that are unwanted with both.
        failed_a: Prompts of a with a score that is missing.
        failed_b: The same of b.
        only_one: Prompts that only one of the two has.
        worse: Those whose worst score got worse (the largest toxicity rose), the largest change first.
        better: Those where it got better, the largest change first.
    """

    n: int
    to_unwanted: int
    to_wanted: int
    both_unwanted: int
    failed_a: int
    failed_b: int
    only_one: int
    worse: tuple[ComparedPrompt, ...]
    better: tuple[ComparedPrompt, ...]


@dataclass(frozen=True)
class Comparison:
    """Two systems compared.

    Attributes:
        suite: The suite's name.
        attribute: What it controls (`toxicity`).
        adjective: What a text is called whose score reaches the threshold (`toxic`).
        lower_is_wanted: Whether little of the attribute is wanted.
        a: The first system.
        b: The second.
        forced: What they differ in that makes them incomparable, where that was allowed.
        changes: The metrics.
        answers: What became of questions, by metric of right and wrong.
        prompts: What became of prompts; None where no continuation was scored for the attribute.
        notes: What a reader must know besides.
    """

    suite: str
    attribute: str
    adjective: str
    lower_is_wanted: bool
    a: Side
    b: Side
    forced: tuple[str, ...]
    changes: tuple[Change, ...]
    answers: tuple[Answers, ...]
    prompts: ComparedPrompts | None
    notes: tuple[str, ...]


def compare(
    a: Sequence[Run], b: Sequence[Run], *, task: str | None = None, force: bool = False, texts: bool = False
) -> Comparison:
    """Compare two systems, each one run or the runs of one method over several seeds.

    Args:
        a: The first.
        b: The second; differences are b - a.
        task: Look at this task alone.
        force: Compare what is not comparable, and say so.
        texts: Whether prompts and continuations come along.

    Raises:
        MissingError: a run is not finished, its record is damaged, or the two are not comparable.
        UsageError: a side has no run, its runs are of several methods or base models, or there is no such task.
    """
    first, left_out_of_a = _side(a)
    second, left_out_of_b = _side(b)
    bounds = crossed([first[0], second[0]])
    has_two_models = "model" in bounds
    refuse = refuse_measured_otherwise if has_two_models else refuse_incomparable
    forced = refuse([*a, *b], force=force)  # a run that a later one replaces was asked for as well
    sides = beside([first, second])
    metrics = {metric.key: metric for side in sides for metric in side.all_metrics}
    if task is not None:
        tasks = {metric.task for metric in metrics.values()}
        if task not in tasks:
            raise UsageError(f"no task '{clean(task)}' in these runs", mend=did_you_mean(task, tasks))
        metrics = {key: metric for key, metric in metrics.items() if metric.task == task}
    apart = {
        key: how for key in metrics if (how := within_of(one for side in sides for one in side.metrics(key))) in bounds
    }
    changes = _corrected([_change(one, *sides, is_apart=key in apart) for key, one in metrics.items()], sides)
    # Whether there is signal is said by the base; of two models there are two.
    changes = changes if has_two_models else judged(changes, signals([*first, *second]))
    answers = [found for metric in metrics.values() if (found := answers_of(metric, *sides))]
    speaking = primary(all_metrics([*first, *second]), "attribute")
    asked = speaking is not None and task in (None, speaking.task)
    prompts = _prompts(first, second, speaking.task, texts=texts) if speaking and asked else None
    other_seeds = [run.manifest.seed for run in first] != [run.manifest.seed for run in second]
    notes = [*left_out_of_a, *left_out_of_b, *(["the two were not run with the same seeds"] if other_seeds else [])]
    notes += [*_why_apart(apart), *system_notes(sides)]
    return Comparison(
        suite=clean(first[0].manifest.suite.get("name", "?"), 60),
        attribute=clean(first[0].attribute, 60),
        adjective=clean(first[0].adjective, 60),
        lower_is_wanted=first[0].lower_is_wanted,
        a=_told(first, sides[0].label, () if has_two_models else flags_of(sides[0], sides[1])),
        b=_told(second, sides[1].label, () if has_two_models else flags_of(sides[1], sides[0])),
        forced=forced,
        changes=tuple(changes),
        answers=tuple(answers),
        prompts=prompts,
        notes=tuple(notes),
    )


def _why_apart(apart: Mapping[str, Within]) -> Iterator[str]:
    """Which metrics are not compared across two models, and why."""
    for how, why in WHY_APART.items():
        if keys := [clean(key, 160) for key, own in apart.items() if own == how]:
            yield f"not compared ({why}): {', '.join(keys)}"


def to_json(comparison: Comparison) -> dict[str, Any]:
    """The comparison as JSON values; what is absent is null."""
    return asdict(comparison)


def _side(runs: Sequence[Run]) -> tuple[list[Run], list[str]]:
    """One side's runs, by seed, and notes of those that later ones replace."""
    chosen, notes = latest(runs)
    if not chosen:
        raise UsageError("a side of the comparison has no run", mend="give each side a run, or those of one method")
    for run in chosen:
        if run.result is None:
            raise MissingError(
                f"run {clean(run.id)} has not finished", mend="'bench run' resumes an experiment where it stopped"
            )
        if wrong := faults(run):
            raise MissingError(f"run {clean(run.id)} is damaged: {clean(wrong[0])}", mend="run that experiment again")
        if model_of(run) != model_of(chosen[0]):
            what = f"runs {clean(chosen[0].id)} and {clean(run.id)} are of two base models"
            raise UsageError(what, mend="a side is of one model; name those of the other as the other side")
        if apart := differing_methods(method_of(chosen[0]), method_of(run)):
            what = f"runs {clean(chosen[0].id)} and {clean(run.id)} are not of one method: {told(apart)}"
            raise UsageError(what, mend="a side is one run, or runs of one method that differ in their seed alone")
    return chosen, notes


def _told(runs: Sequence[Run], label: str, flags: tuple[str, ...]) -> Side:
    return Side(
        label=label,
        run_ids=tuple(clean(run.id) for run in runs),
        seeds=tuple(run.manifest.seed for run in runs),
        flags=flags,
    )


# --- metrics ---


def _change(metric: Metric, a: Column, b: Column, *, is_apart: bool) -> Change:
    """A metric of both; where it `is_apart`, it cannot be compared across their models."""
    relative = metric.difference == "ratio"
    sides = [side.evidence(metric.key) for side in (a, b)]
    first, second = (_figure(metric, side) for side in (a, b))
    failed = sum(one.n_failed for side in (a, b) for one in side.metrics(metric.key))
    blank = Change(clean(metric.key, WHOLE), metric.higher_is_better, relative, first, second, failed)
    if is_apart or not all(sides) or first is None or second is None:
        return blank
    systems = Systems(sides, trained=[a.is_trained, b.is_trained])
    try:
        difference = systems.difference(1, 0, relative=relative)
        tested, lost = systems.significance(1, 0), most_lost(metric, systems)
    except MissingError:  # nothing in common, or relative to 0
        return blank
    shown = verdict(difference, higher_is_better=metric.higher_is_better)
    return replace(blank, difference=difference, verdict=shown, p=tested.p, test=tested.test, loss_at_most=lost)


def _figure(metric: Metric, side: Column) -> float | None:
    known = [one.value for one in side.metrics(metric.key) if one.value is not None]
    return sum(known) / len(known) if len(known) == len(side.runs) else None


def _corrected(changes: Sequence[Change], sides: Sequence[Column]) -> list[Change]:
    corrected = holm([one.p for one in changes])
    return [
        replace(one, p_holm=p, claim=claim_of(p, sides, failed=bool(one.n_failed)))
        for one, p in zip(changes, corrected, strict=True)
    ]


# --- prompts ---


@dataclass
class _Scored:
    """A prompt of one system: of each seed the scores of its continuations."""

    text: str
    lower_is_wanted: bool
    scores: list[list[float | None]]
    continuations: list[str]

    @property
    def failed(self) -> bool:
        return any(score is None for some in self.scores for score in some)

    def seeds(self) -> Iterator[list[float]]:
        for some in self.scores:
            yield [score for score in some if score is not None]

    def farthest(self) -> float:
        """The score that is farthest from what is wanted, averaged over seeds."""
        return _mean([self._worst(some) for some in self.seeds()])

    def mean(self) -> float:
        return _mean([_mean(some) for some in self.seeds()])

    def unwanted(self, threshold: float) -> bool:
        """Whether some continuation is on the side that is not wanted, in at least half of the seeds."""
        hits = [(self._worst(some) >= threshold) == self.lower_is_wanted for some in self.seeds()]
        return _mean(hits) >= _HALF

    def worst(self) -> str:
        scores = [score for some in self.seeds() for score in some]
        return self.continuations[scores.index(self._worst(scores))]

    def _worst(self, scores: Sequence[float]) -> float:
        return (max if self.lower_is_wanted else min)(scores)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _prompts(first: Sequence[Run], second: Sequence[Run], task: str, *, texts: bool) -> ComparedPrompts | None:
    a, b = _scored(first, task), _scored(second, task)
    if not a and not b:
        return None
    threshold = float(first[0].manifest.scorer.get("threshold", 0.5))
    both = sorted(name for name in a.keys() & b.keys() if not a[name].failed and not b[name].failed)
    unwanted = [(a[name].unwanted(threshold), b[name].unwanted(threshold)) for name in both]
    changed = [_prompt(name, a[name], b[name], texts=texts) for name in both]
    changed.sort(key=lambda one: (one.worst_score_b - one.worst_score_a, one.mean_b - one.mean_a, one.id))
    rose = [one for one in changed[::-1] if one.worst_score_b > one.worst_score_a]
    fell = [one for one in changed if one.worst_score_b < one.worst_score_a]
    return ComparedPrompts(
        n=len(both),
        to_unwanted=unwanted.count((False, True)),
        to_wanted=unwanted.count((True, False)),
        both_unwanted=unwanted.count((True, True)),
        failed_a=sum(one.failed for one in a.values()),
        failed_b=sum(one.failed for one in b.values()),
        only_one=len(a.keys() ^ b.keys()),
        worse=tuple(rose if first[0].lower_is_wanted else fell),
        better=tuple(fell if first[0].lower_is_wanted else rose),
    )


def _prompt(name: str, a: _Scored, b: _Scored, *, texts: bool) -> ComparedPrompt:
    found = ComparedPrompt(clean(name, 40), a.farthest(), b.farthest(), a.mean(), b.mean())
    return replace(found, text=a.text, worst_a=a.worst(), worst_b=b.worst()) if texts else found


def _scored(runs: Sequence[Run], task: str) -> dict[str, _Scored]:
    """The prompts that every run has, with the scores of each seed."""
    found: dict[str, _Scored] = {}
    lower_is_wanted = runs[0].lower_is_wanted
    for run in runs:
        mine: dict[str, list[float | None]] = defaultdict(list)
        for sample in run.samples(task):
            mine[sample.prompt_id].append((sample.scores or {}).get(run.attribute))
            scored = found.setdefault(sample.prompt_id, _Scored(sample.prompt, lower_is_wanted, [], []))
            scored.continuations.append(sample.continuation)
        for name, scores in mine.items():
            found[name].scores.append(scores)
    return {name: one for name, one in found.items() if len(one.scores) == len(runs)}
