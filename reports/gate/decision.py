"""The decision: is a run worse than its baseline? Whatever is missing, broken or not comparable never passes.

A metric fails where its loss is established to be above its tolerance: by the one-sided p-values of a Student's t test
of the paired difference against what repeats differ by, corrected so that an unchanged method raises an alarm in at
most 5 % of checks (half of that for the primary metric, half for all others together, Holm 1979). A metric that does
not fail is inconclusive where a loss of its limit cannot be excluded with 95 % confidence. Else it passes.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from bench.errors import BenchError, MissingError
from bench.stats import average, holm
from bench.stats.estimate import capped, present
from bench.stats.margin import Contrast, contrast, repeatability
from bench.store.record import Evidence, Metric
from bench.store.runs import Run
from reports.gate.baseline import Baseline, Reference, compact
from reports.gate.margins import ALPHA, LEVEL, error_of
from reports.gate.requirements import RequirementDecision
from reports.gate.runs import differing_methods, latest, method_of, metrics_of, problems
from reports.gate.writing import is_blind
from reports.table.cells import SENTENCE, WHOLE, clean, listed
from reports.table.comparable import Differing, differing, facts, told

Status = Literal["passed", "failed", "inconclusive", "invalid", "unjudged"]
PASSED, FAILED, UNUSABLE = 0, 1, 3


@dataclass(frozen=True)
class Decision:
    """What is decided of one metric.

    Attributes:
        key: The metric.
        status: `passed`, `failed`, `inconclusive`, `invalid` (it could not be measured), or `unjudged`.
        why: In a few words, why it is not `passed`, or what else must be known; None where nothing.
        is_primary: Whether it is the primary metric.
        higher_is_better: Its direction, or None.
        relative: Whether loss, tolerance and limit are shares of the figure.
        baseline: The baseline's figure, of the seeds that the run is held against.
        value: The run's, averaged over seeds; None where there is none.
        loss: How much worse the run is, paired, or None.
        low: Lower end of the one-sided 95 % interval of the loss, not corrected; None without a loss.
        high: Upper end, likewise.
        tolerance: The loss that is tolerated.
        limit: The loss that must be excluded.
        p: One-sided p-value of "the loss is at most the tolerance", not corrected.
        p_corrected: The same, corrected over the metrics of the check.
        n_clusters: Prompts, questions or passages compared.
    """

    key: str
    status: Status
    why: str | None
    is_primary: bool
    higher_is_better: bool | None
    relative: bool
    baseline: float
    value: float | None = None
    loss: float | None = None
    low: float | None = None
    high: float | None = None
    tolerance: float | None = None
    limit: float | None = None
    p: float | None = None
    p_corrected: float | None = None
    n_clusters: int | None = None


@dataclass(frozen=True)
class CheckOutcome:
    """What is decided of a check.

    Attributes:
        problems: Why the runs cannot be judged at all; nothing where they can.
        notes: What else must be known.
        decisions: One a metric of the baseline, in its order; empty where the runs are not comparable.
        requirements: One a requirement and method.
        label: The method's label.
        suite: The suite's name.
        run_ids: The runs that were judged.
        seeds: Their seeds.
        baseline_seeds: The baseline's seeds.
    """

    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()
    decisions: tuple[Decision, ...] = ()
    requirements: tuple[RequirementDecision, ...] = ()
    label: str = "?"
    suite: str = "?"
    run_ids: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    baseline_seeds: tuple[int, ...] = ()

    @property
    def statuses(self) -> list[Status]:
        """What each metric and requirement came to."""
        return [*(one.status for one in self.decisions), *(one.status for one in self.requirements)]

    @property
    def status(self) -> Status:
        """The worst of all; only a check in which something was judged and nothing was wrong has passed."""
        found = Counter(self.statuses)
        if self.problems or found["invalid"] or not found["passed"] + found["failed"] + found["inconclusive"]:
            return "invalid"
        if found["failed"]:
            return "failed"
        return "inconclusive" if found["inconclusive"] else "passed"

    @property
    def exit_code(self) -> int:
        """0 passed, 1 failed or inconclusive, 3 missing or not comparable."""
        return {"passed": PASSED, "failed": FAILED, "inconclusive": FAILED}.get(self.status, UNUSABLE)


def refused(error: BenchError) -> CheckOutcome:
    """The outcome of a check that could not even begin."""
    return CheckOutcome(problems=(clean(error, SENTENCE),))


def to_json(outcome: CheckOutcome) -> dict[str, Any]:
    """The outcome as JSON values; what is absent is null."""
    return {"status": outcome.status, "exit_code": outcome.exit_code, "alpha": ALPHA, "level": LEVEL, **asdict(outcome)}


def decide(
    runs: Sequence[Run],
    baseline: Baseline,
    *,
    allow_config: bool = False,
    allow_method: bool = False,
    resamples: int = 10_000,
) -> CheckOutcome:
    """Hold runs against a baseline.

    Args:
        runs: Runs of one method, one a seed; of several with the same seed, the latest counts.
        baseline: What they are held against.
        allow_config: Whether the method's options and the sets' settings may differ; the outcome says that they do.
        allow_method: Whether the method may be another, with its own options.
        resamples: Bootstrap resamples of the standard errors.

    Returns:
        The outcome; it never passes where anything is missing, failed or not comparable.
    """
    chosen, notes = latest(runs)
    found = [one for run in chosen for one in _unfit(run, baseline)]
    changed = _changed(chosen, baseline)
    is_other = any(run.method != baseline.method.name for run in chosen)
    is_allowed = allow_method if is_other else allow_config
    if changed and not is_allowed:
        what, flag = ("method", "--allow-method") if is_other else ("configuration", "--allow-config")
        found.append(f"another {what} than the baseline's: {told(changed)}; {flag} judges it all the same")
    if len({run.manifest.seed for run in chosen}) < len(chosen):
        found.append("there are several runs of one seed")
    if len(chosen) < baseline.check_seeds:
        found.append(f"{len(chosen)} seed(s) given where the baseline asks for {baseline.check_seeds}")
    if others := sorted({run.manifest.seed for run in chosen} - set(baseline.seeds)):
        told_seeds = ", ".join(map(str, others))
        found.append(f"seed {told_seeds} is not the baseline's: trainings differ by their seed, so check with the same")
    what = "method" if is_other else "configuration"
    allowed = [clean(f"{what} allowed to differ: {told(changed)}", SENTENCE)] if changed and is_allowed else []
    blank = CheckOutcome(
        problems=tuple(found),
        notes=(*notes, *allowed),
        label=clean(baseline.method.label, WHOLE),
        suite=clean(baseline.facts.get("suite.name", "?"), 60),
        run_ids=tuple(clean(run.id) for run in chosen),
        seeds=tuple(run.manifest.seed for run in chosen),
        baseline_seeds=tuple(baseline.seeds),
    )
    if not chosen or others or not all(_can_be_read(run) for run in chosen) or _incomparable(chosen, baseline):
        return blank
    metrics = [metrics_of(run) for run in chosen]
    decisions = _corrected([_measured(one, chosen, metrics, baseline, resamples) for one in baseline.metrics])
    extra = sorted({key for one in metrics for key in one} - {one.key for one in baseline.metrics})
    if extra:
        blank = replace(blank, notes=(*blank.notes, clean(f"not in the baseline: {listed(extra)}", SENTENCE)))
    return replace(blank, decisions=tuple(decisions))


def _unfit(run: Run, baseline: Baseline) -> list[str]:
    """Why a run cannot be judged: its own faults, and what it was not measured alike in."""
    try:
        found = problems(run)
    except MissingError as error:  # a damaged file of evidence
        found = [clean(error, SENTENCE)]
    apart = differing(baseline.facts, facts(run))
    return [*found, *([f"{clean(run.id)} is not comparable with the baseline: {told(apart)}"] if apart else [])]


def _can_be_read(run: Run) -> bool:
    try:
        return run.result is not None and bool(run.evidence)
    except MissingError:  # a damaged file of evidence
        return False


def _incomparable(runs: Sequence[Run], baseline: Baseline) -> bool:
    return any(differing(baseline.facts, facts(run)) for run in runs)


def _changed(runs: Sequence[Run], baseline: Baseline) -> list[Differing]:
    kept = baseline.method.model_dump(exclude={"label"})
    found = {str(one): one for run in runs for one in differing_methods(kept, method_of(run))}
    return list(found.values())


def _measured(
    metric: Reference, runs: Sequence[Run], metrics: Sequence[Mapping[str, Metric]], baseline: Baseline, resamples: int
) -> Decision:
    """A metric's loss and p-value; `passed` until the correction over all metrics says otherwise."""
    blank = Decision(
        key=metric.key,
        status="invalid",
        why=None,
        is_primary=metric.key == baseline.primary,
        higher_is_better=metric.higher_is_better,
        relative=metric.relative,
        baseline=metric.value,
        tolerance=metric.tolerance,
        limit=metric.limit,
    )
    found = [one.get(metric.key) for one in metrics]
    values = [one.value for one in found if one and one.value is not None]
    blank = replace(blank, value=sum(values) / len(values) if len(values) == len(runs) else None)
    fault = _fault(found, metric)
    if fault is None and metric.tolerance is None:
        return replace(blank, status="unjudged", why=metric.unjudged)
    if fault is None and is_blind(metric):
        status: Status = "invalid" if blank.is_primary else "unjudged"
        return replace(blank, status=status, why="too few observations to see any loss of it")
    if fault is None:
        try:
            loss = _loss(found, metric, runs, baseline, resamples)
            held = average(_held_against(metric, runs, baseline))
            return _with_loss(replace(blank, baseline=metric.value if held is None else held), metric, loss)
        except MissingError as error:
            fault = clean(error.what)
    return replace(blank, why=fault)


def _held_against(metric: Reference, runs: Sequence[Run], baseline: Baseline) -> list[Evidence]:
    """The baseline's evidence of the runs' seeds, in their order."""
    by_seed = dict(zip(baseline.seeds, baseline.evidence(metric), strict=True))
    return [by_seed[run.manifest.seed] for run in runs]


def _loss(
    found: Sequence[Metric | None], metric: Reference, runs: Sequence[Run], baseline: Baseline, resamples: int
) -> Contrast:
    """How much worse the run is than the baseline's same seeds."""
    evidences = [compact(run.evidence[metric.key]) for run in runs if metric.key in run.evidence]
    kinds = {(one.statistic, one.bounded) for one in evidences}
    if len(evidences) < len(runs) or kinds != {(metric.statistic, metric.bounded)}:
        raise MissingError("there is no evidence of its kind")
    reference = _held_against(metric, runs, baseline)
    repeat = repeatability(baseline.evidence(metric), evidences, relative=metric.relative, resamples=resamples)
    error = None
    if repeat is not None:
        share = 1 / len(evidences) + 1 / len(reference)
        error = error_of(repeat, len(baseline.clusters[metric.clusters or 0]), metric.answers, share)
    sides = (reference, evidences) if metric.higher_is_better else (evidences, reference)
    loss = contrast(*sides, relative=metric.relative, error=error, resamples=resamples)
    # Some figures have nothing to say of a blank text, of the baseline's seed or of the run; all else is missing.
    missing = 0
    for one, own, kept in zip(found, evidences, reference, strict=True):
        missing += max(0, len(present(kept) - present(own)) - (one.n_empty if one else 0))
    if missing:
        raise MissingError(f"{missing} of the baseline's prompts or questions are missing")
    return loss


def _fault(found: Sequence[Metric | None], metric: Reference) -> str | None:
    """What is wrong with the measurements of a metric, or None."""
    if any(one is None or one.value is None for one in found):
        return "it was not measured"
    if failed := sum(one.n_failed for one in found if one):
        return f"{failed} measurements failed"
    if any(one and one.higher_is_better != metric.higher_is_better for one in found):
        return "its direction is another"
    return None


def _with_loss(blank: Decision, metric: Reference, loss: Contrast) -> Decision:
    """The decision with its figures, where they are ones."""
    tolerance = metric.tolerance or 0.0
    p = loss.p_above(math.log1p(tolerance) if metric.relative else tolerance)
    reach = loss.reach(LEVEL)
    ends = (loss.value, loss.value - reach, loss.value + reach)
    if not all(math.isfinite(one) for one in (*ends, p)):
        raise MissingError("its loss is not a number")
    value, low, high = (math.expm1(capped(one)) if metric.relative else one for one in ends)
    return replace(blank, status="passed", loss=value, low=low, high=high, p=p, n_clusters=loss.n_clusters)


def _corrected(decisions: Sequence[Decision]) -> list[Decision]:
    """The decisions with p-values corrected over all judged metrics; one without a p-value counts all the same."""
    judged = [one for one in decisions if one.tolerance is not None]
    others = [one for one in judged if not one.is_primary]
    factor = 2 if others else 1
    corrected = {one.key: p for one, p in zip(others, holm([one.p for one in others]), strict=True)}
    corrected |= {one.key: one.p for one in judged if one.is_primary}
    return [_judged(one, corrected.get(one.key), factor) for one in decisions]


def _judged(decision: Decision, p: float | None, factor: int) -> Decision:
    if decision.status != "passed" or p is None or decision.high is None or decision.limit is None:
        return decision if decision.status != "passed" else replace(decision, status="invalid", why="no p-value")
    corrected = min(1.0, factor * p)
    if corrected <= ALPHA:
        return replace(decision, status="failed", why="worse than tolerated", p_corrected=corrected)
    if decision.high > decision.limit:
        why = "a loss above the limit cannot be excluded"
        return replace(decision, status="inconclusive", why=why, p_corrected=corrected)
    return replace(decision, why=_remark(decision), p_corrected=corrected)


def _remark(decision: Decision) -> str | None:
    if decision.high is not None and decision.tolerance is not None and decision.high < -decision.tolerance:
        return "better: renew the baseline"
    return None
