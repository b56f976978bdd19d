"""From runs to a baseline: which metrics are judged, what is tolerated, and what a check can see."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from bench.errors import MissingError, UsageError, did_you_mean
from bench.stats import average, interval
from bench.stats.margin import over_prompts, repeatability, unseen
from bench.store.record import Evidence, Metric
from bench.store.runs import Run
from reports.gate.baseline import Baseline, BaselineMethod, Observed, Reference, compact
from reports.gate.margins import LEVEL, alpha_of, default_tolerance, error_of, limit_of, planned
from reports.gate.runs import differing_methods, latest, method_of, metrics_of, problems
from reports.table.cells import SENTENCE, WHOLE, clean, listed
from reports.table.comparable import apart, facts, lacking, told
from reports.table.signal import signal


@dataclass(frozen=True)
class Plan:
    """What a baseline is to be.

    Attributes:
        tolerances: By metric, in place of the defaults.
        check_seeds: How many of the seeds a check will have; None for all.
        primary: The primary metric; None for the first of the attribute that is judged.
        bench: The version that writes.
        force: Whether to write a baseline whose primary metric no check can see get worse; none against it passes.
        resamples: Bootstrap resamples.
    """

    tolerances: Mapping[str, float]
    check_seeds: int | None = None
    primary: str | None = None
    bench: str = ""
    resamples: int = 10_000
    force: bool = False


def make_baseline(runs: Sequence[Run], plan: Plan) -> tuple[Baseline, list[str]]:
    """Make a baseline out of the runs of one method, and say what a reader must know of it.

    Args:
        runs: One a seed; of several with the same seed, the latest counts.
        plan: What is not to be as it would be by default.

    Returns:
        The baseline, and notes.

    Raises:
        MissingError: a run is not finished or not publishable, its record lacks a hash, two are not comparable, or the
            primary metric has too few observations to see any loss of it.
        UsageError: the runs are of several methods or configurations, or the plan names an unknown metric.
    """
    chosen, notes = latest(runs)
    _refuse_unfit(chosen)
    first = chosen[0]
    found = {key: [metrics_of(run)[key] for run in chosen] for key in metrics_of(first)}
    reasons = {key: _unjudged(key, metrics, chosen) for key, metrics in found.items()}
    judged = [key for key, reason in reasons.items() if reason is None]
    primary = _primary(judged, found, plan)
    for key in plan.tolerances:
        if key not in judged:
            raise UsageError(f"no judged metric is called '{key}'", mend=did_you_mean(key, judged))
    tables = _Tables()
    check_seeds = plan.check_seeds or len(chosen)
    if check_seeds > len(chosen):
        raise UsageError(
            f"a check of {check_seeds} seeds against {len(chosen)} is not planned for", mend="give more runs"
        )
    alphas = {key: alpha_of(len(judged), is_primary=key == primary) for key in judged}
    metrics = [
        _reference(metrics, [run.evidence[key] for run in chosen], plan, alphas[key], tables)
        if reasons[key] is None
        else _unused(metrics, str(reasons[key]))
        for key, metrics in sorted(found.items(), key=lambda one: one[0].rpartition("/"))
    ]
    baseline = Baseline(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        bench=plan.bench,
        method=BaselineMethod(label=clean(first.label, WHOLE), **method_of(first)),
        seeds=[run.manifest.seed for run in chosen],
        check_seeds=check_seeds,
        run_ids=[run.id for run in chosen],
        facts=facts(first),
        primary=primary,
        clusters=tables.lists,
        metrics=metrics,
    )
    if not plan.force:
        _refuse_blind(baseline)
    return baseline, [*notes, *_notes(baseline)]


def _refuse_unfit(runs: Sequence[Run]) -> None:
    """Refuse what no later run should be held against."""
    if not runs:
        raise UsageError("no run is given", mend="name the runs of one method")
    for run in runs:
        if found := problems(run):
            raise MissingError(f"no baseline is made of such runs: {found[0]}", mend="run that experiment again")
        if differ := apart(runs[0], run):
            raise MissingError(f"runs {clean(runs[0].id)} and {clean(run.id)} are not comparable: {told(differ)}")
        if differ := differing_methods(method_of(runs[0]), method_of(run)):
            what = f"runs {clean(runs[0].id)} and {clean(run.id)} are not of one method: {told(differ)}"
            raise UsageError(what, mend="a baseline is of one method with one configuration")
        if lone := sorted(metrics_of(runs[0]).keys() ^ metrics_of(run).keys()):
            what = f"runs {clean(runs[0].id)} and {clean(run.id)} have not measured the same: {clean(lone[0])}"
            raise MissingError(what, mend="run that experiment again")
    if absent := lacking(runs[0]):
        raise MissingError(
            f"the record of {clean(runs[0].id)} has no {clean(absent[0])}", mend="run that experiment again"
        )


def _refuse_blind(baseline: Baseline) -> None:
    """Refuse a baseline whose primary metric no check can see get worse."""
    if any(is_blind(one) for one in baseline.metrics if one.key == baseline.primary):
        key = clean(baseline.primary, 80)
        what = f"no check could see any loss of {key}, the primary metric: there are too few observations"
        raise MissingError(
            what, mend="take more prompts or seeds, or name another with --primary (--force writes it all the same)"
        )


def _unjudged(key: str, metrics: Sequence[Metric], runs: Sequence[Run]) -> str | None:
    """Why a metric cannot be judged, or None."""
    if any(key not in metrics_of(run) for run in runs):
        raise MissingError(f"not every run has measured {clean(key)}", mend="run that experiment again")
    if metrics[0].higher_is_better is None:
        return "no direction"
    if metrics[0].scorer:
        return "by a further scorer"
    if any(key not in run.evidence for run in runs):
        return "no evidence"
    own = signal(metrics[0], [run.evidence[key] for run in runs])
    if own and not own.is_there:
        return "no signal: not above what answers without a model have"
    small = [compact(run.evidence[key]) for run in runs]
    relative = metrics[0].difference == "ratio"
    # A variance of 0 is data too: the repeats agree, as perplexities do where no training depends on the seed.
    return None if repeat_of(small, 100, relative=relative) is not None else "too little data"


def _primary(judged: Sequence[str], found: Mapping[str, Sequence[Metric]], plan: Plan) -> str:
    """The metric asked for, else the first of the attribute that can be judged."""
    if not judged:
        raise MissingError(
            "these runs have no metric that a check could judge",
            mend="take a suite with a task that controls something, as 'rtp'",
        )
    if plan.primary is not None:
        if plan.primary not in judged:
            raise UsageError(f"no judged metric is called '{plan.primary}'", mend=did_you_mean(plan.primary, judged))
        return plan.primary
    return next((key for key in judged if found[key][0].role == "attribute"), judged[0])


class _Tables:
    """Lists of hashed ids, each once."""

    def __init__(self) -> None:
        self.lists: list[list[str]] = []

    def place(self, names: list[str]) -> int:
        if names not in self.lists:
            self.lists.append(names)
        return self.lists.index(names)


def _reference(
    metrics: Sequence[Metric], evidences: Sequence[Evidence], plan: Plan, alpha: float, tables: _Tables
) -> Reference:
    first, small = metrics[0], [compact(one) for one in evidences]
    relative = first.difference == "ratio"
    names = sorted({name for one in small for name in one.cluster_ids})
    figure, ends = average(evidences), interval(evidences, resamples=plan.resamples)
    repeat = repeat_of(small, plan.resamples, relative=relative)
    if figure is None or repeat is None:
        raise MissingError(f"{clean(first.key)} has a seed without observations", mend="run that experiment again")
    tolerance = plan.tolerances.get(first.key, default_tolerance(first.role, relative=relative))
    answers = first.n if all(set(one.value) <= {0.0, 1.0} for one in evidences) else None
    error = error_of(repeat, len(names), answers, 2 / (plan.check_seeds or len(small)))
    error = planned(error, (len(names) - 1) * max(1, len(small) - 1))
    limit = limit_of(tolerance, error, len(names), alpha, relative=relative)
    if len(small) == 1 and small[0].bounded:  # a check of one seed looks at prompts, of which it may see none differ
        limit = max(limit, tolerance + unseen(LEVEL, len(names)))
    return Reference(
        task=first.task,
        group=first.group,
        name=first.name,
        scorer=first.scorer,
        higher_is_better=first.higher_is_better,
        value=figure,
        ci_low=ends.low if ends else None,
        ci_high=ends.high if ends else None,
        n=sum(metric.n for metric in metrics),
        relative=relative,
        tolerance=tolerance,
        limit=limit,
        unjudged=None,
        statistic=small[0].statistic,
        bounded=small[0].bounded,
        answers=answers,
        clusters=tables.place(names),
        seeds=[_observed(one, names) for one in small],
    )


def repeat_of(evidences: Sequence[Evidence], resamples: int, *, relative: bool) -> float | None:
    """How much a seed's figure differs between repeats, as a variance; of one seed, over other prompts."""
    if len(evidences) == 1:
        return over_prompts(evidences[0], relative=relative, resamples=resamples)
    return repeatability(evidences, relative=relative, resamples=resamples)


def _observed(evidence: Evidence, names: Sequence[str]) -> Observed:
    """A seed's compact evidence by the places of `names`; in their order where there is one value for each."""
    place = {name: index for index, name in enumerate(names)}
    rows = sorted(
        zip(
            [place[evidence.cluster_ids[index]] for index in evidence.cluster],
            evidence.value,
            evidence.weight or [1.0] * len(evidence.value),
            strict=True,
        )
    )
    cluster, value, weight = (list(column) for column in zip(*rows, strict=True))
    same = len(set(weight)) == 1
    return Observed(
        cluster=None if cluster == list(range(len(names))) else cluster, value=value, weight=None if same else weight
    )


def _unused(metrics: Sequence[Metric], reason: str) -> Reference:
    first = metrics[0]
    values = [metric.value for metric in metrics if metric.value is not None]
    return Reference(
        task=first.task,
        group=first.group,
        name=first.name,
        scorer=first.scorer,
        higher_is_better=first.higher_is_better,
        value=sum(values) / len(values),
        ci_low=None,
        ci_high=None,
        n=sum(metric.n for metric in metrics),
        relative=False,
        tolerance=None,
        limit=None,
        unjudged=reason,
        statistic=None,
        bounded=False,
        answers=None,
        clusters=None,
        seeds=[],
    )


def is_blind(metric: Reference) -> bool:
    """Whether not even the worst figure that there can be, or a perplexity twice as high, would reach the limit."""
    if metric.limit is None:
        return False
    if metric.relative:
        return metric.limit >= 1
    return metric.bounded and metric.limit >= (metric.value if metric.higher_is_better else 1 - metric.value)


def _notes(baseline: Baseline) -> list[str]:
    notes = []
    if len(baseline.seeds) == 1:
        notes.append("one seed does not say how much repeats differ: the limits are wide; take two or more")
    blind = [one.key for one in baseline.metrics if is_blind(one)]
    if blind:
        notes.append(clean(f"too few observations to see any loss of {listed(blind)}", SENTENCE))
    return notes
