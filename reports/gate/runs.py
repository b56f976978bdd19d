"""The runs of one side of a gate: what makes them one method's, and what makes them unfit to decide by."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bench.hashing import hash_json
from bench.stats import value
from bench.store import systems
from bench.store.record import Evidence, Metric
from bench.store.runs import Run
from reports.table.cells import clean
from reports.table.comparable import Differing, differing, flat

_CLOSE = 1e-6
_SHOWN = 3


def method_of(run: Run) -> dict[str, Any]:
    """The method with every option, and the settings of its sets: what else than the code decides what it is."""
    return {
        "name": run.method,
        "config": dict(run.manifest.method.get("config") or {}),
        "sets": run.manifest.suite.get("sets"),
    }


def differing_methods(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Differing]:
    """Where two of `method_of` differ."""
    return differing(flat({"method": a}), flat({"method": b}))


def latest(runs: Sequence[Run]) -> tuple[list[Run], list[str]]:
    """The latest run of each method, configuration and seed, by seed, and notes of those that are left out for it."""
    counting = systems.latest(runs, _system_of)
    notes = [clean(f"left out: {one.older.id}, replaced by the later {one.later.id}") for one in counting.replaced]
    return sorted(counting.runs, key=lambda run: (run.manifest.seed, _system_of(run))), notes


def _system_of(run: Run) -> str:
    return hash_json(method_of(run))


def problems(run: Run) -> list[str]:
    """Why a run's figures may not be used; nothing where they may."""
    name = clean(run.id)
    if run.result is None:
        return [f"{name} has not finished ({clean(run.status)})"]
    found = []
    failed = [metric for metric in run.result.metrics if metric.n_failed or metric.value is None]
    if failed:
        told = ", ".join(clean(metric.key, 80) for metric in failed[:_SHOWN]) + (", …" if failed[_SHOWN:] else "")
        found.append(f"{name} has measurements that failed or have no value ({told})")
    elif not run.result.publishable:
        found.append(f"{name} is not publishable")
    evidence = run.evidence
    for metric in run.result.metrics:
        behind = evidence.get(metric.key)
        if behind is not None and not is_sound(behind):
            found.append(f"{name}: the evidence of {clean(metric.key, 80)} is damaged")
        elif behind is not None and not _agrees(metric, behind):
            found.append(f"{name}: {clean(metric.key, 80)} is not what its evidence gives")
    return found


def is_sound(evidence: Evidence) -> bool:
    """Whether evidence is whole: as many clusters as values and weights, all places known, all numbers finite."""
    weight = evidence.weight if evidence.weight is not None else evidence.value
    numbers = all(map(math.isfinite, [*evidence.value, *(evidence.weight or [])]))
    known = all(0 <= place < len(evidence.cluster_ids) for place in evidence.cluster)
    return numbers and known and len(evidence.cluster) == len(evidence.value) == len(weight)


def metrics_of(run: Run) -> dict[str, Metric]:
    """A finished run's metrics by key."""
    return {metric.key: metric for metric in run.result.metrics} if run.result else {}


def _agrees(metric: Metric, evidence: Evidence) -> bool:
    if metric.value is None:
        return True
    found = value(evidence)
    return found is not None and abs(found - metric.value) <= _CLOSE * max(1.0, abs(metric.value))
