"""What a gate would miss: the chance that a check does not pass where the method has lost so much of its effect."""

import math
from collections.abc import Iterator, Sequence

from bench.errors import MissingError
from bench.stats.estimate import capped
from bench.stats.margin import Error, unseen
from bench.stats.spread import student_quantile, student_tail
from bench.store.runs import Run
from reports.gate.baseline import Baseline, Reference
from reports.gate.margins import LEVEL, alpha_of, error_of
from reports.gate.runs import latest, metrics_of
from reports.gate.writing import is_blind, repeat_of
from reports.table.cells import clean
from reports.table.comparable import differing, facts

_SURE = 0.8
_BASE = "none"
_RESAMPLES = 10_000


def foresee(baseline: Baseline, runs: Sequence[Run]) -> list[str]:
    """What a check against a baseline would miss, in its primary metric, in sentences.

    Args:
        baseline: The baseline.
        runs: Finished runs, among which the base's tell how much the method has to lose; they may be absent.
    """
    primary = next(one for one in baseline.metrics if one.key == baseline.primary)
    error = _error(primary, baseline)
    if error is None or is_blind(primary):
        return []
    name = clean(primary.key.rpartition("/")[2], 60).replace("_", " ")
    least = _seen(primary, error, baseline)
    told = [f"a check finds a loss of {_amount(least, primary)} of {name} with {_SURE:.0%}"]
    return [*told, *_shares(primary, error, baseline, runs, name)]


def chance(primary: Reference, error: Error, baseline: Baseline, loss: float) -> float:
    """The chance that a check does not pass the primary metric after a loss (a share of the figure where relative)."""
    beyond = _scaled(loss, primary) - _threshold(primary, error, baseline)
    if error.is_nothing:  # repeats agree, so that a check finds every loss beyond, and none below
        return float(beyond > 0)
    moved = beyond / error.value
    return 1 - student_tail(moved, error.degrees) if moved >= 0 else student_tail(-moved, error.degrees)


def _shares(primary: Reference, error: Error, baseline: Baseline, runs: Sequence[Run], name: str) -> Iterator[str]:
    """How likely it is to find that half of what the method gains over the base is lost, or all of it."""
    base = _base(baseline, runs, primary)
    if base is None:
        yield "without runs of the base on the same suite and seeds, half of the method's effect is not known"
        return
    gain = (base / primary.value - 1 if primary.relative else base - primary.value) * (
        -1 if primary.higher_is_better else 1
    )
    if gain <= 0:
        yield f"the method is no better than the base in {name} ({base:.3f}): there is no effect to lose"
        return
    half, whole = (chance(primary, error, baseline, share * gain) for share in (0.5, 1.0))
    yield f"the base is at {base:.3f}: a halved effect is caught with {half:.0%}, a lost one with {whole:.0%}"


def _base(baseline: Baseline, runs: Sequence[Run], primary: Reference) -> float | None:
    """The base's figure, averaged over the baseline's seeds; None where a seed lacks."""
    alike = [run for run in runs if run.method == _BASE and run.result and not differing(baseline.facts, facts(run))]
    found: dict[int, float] = {}
    for run in latest(alike)[0]:
        metric = metrics_of(run).get(primary.key)
        if metric is not None and metric.value is not None and not metric.n_failed:
            found[run.manifest.seed] = metric.value
    values = [found[seed] for seed in baseline.seeds if seed in found]
    return sum(values) / len(values) if len(values) == len(baseline.seeds) else None


def _error(primary: Reference, baseline: Baseline) -> Error | None:
    """The error that a check of the planned number of seeds has, as the baseline's seeds show it."""
    evidences = baseline.evidence(primary)
    try:
        repeat = repeat_of(evidences, _RESAMPLES, relative=primary.relative)
    except MissingError:
        return None
    if repeat is None or primary.clusters is None:
        return None
    clusters = len(baseline.clusters[primary.clusters])
    return error_of(repeat, clusters, primary.answers, 2 / baseline.check_seeds)


def _threshold(primary: Reference, error: Error, baseline: Baseline) -> float:
    """The observed loss from which on a check fails or is inconclusive, on the scale of the test."""
    judged = sum(one.tolerance is not None for one in baseline.metrics)
    alpha = alpha_of(judged, is_primary=True)
    tolerance, limit = (_scaled(one or 0.0, primary) for one in (primary.tolerance, primary.limit))
    if error.is_nothing and primary.bounded:  # what no prompt showed may be so on others (`Contrast.p_above`, `reach`)
        clusters = int(error.degrees) + 1
        hidden = unseen(LEVEL, clusters)
        return min((1 + tolerance) / math.pow(alpha, 1 / clusters) - 1, (limit - hidden) / (1 - hidden))
    fails = tolerance + student_quantile(1 - alpha, error.degrees) * error.value
    return min(fails, limit - student_quantile(LEVEL, error.degrees) * error.value)


def _seen(primary: Reference, error: Error, baseline: Baseline) -> float:
    """The loss that a check finds with a chance of 80 %."""
    loss = _threshold(primary, error, baseline) + student_quantile(_SURE, error.degrees) * error.value
    return math.expm1(capped(loss)) if primary.relative else loss


def _scaled(loss: float, primary: Reference) -> float:
    return math.log1p(loss) if primary.relative else loss


def _amount(loss: float, primary: Reference) -> str:
    return f"{loss:.1%}" if primary.relative else f"{loss:.3f}"
