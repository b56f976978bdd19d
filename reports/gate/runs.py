"""The runs of one side of a gate: what makes them one method's, and what makes them unfit to decide by."""

from collections.abc import Mapping, Sequence
from typing import Any

from bench.hashing import hash_json
from bench.stats.soundness import faults
from bench.store import systems
from bench.store.record import Metric
from bench.store.runs import Run
from reports.table.cells import clean
from reports.table.comparable import Differing, differing, flat

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
    found += [f"{name} is damaged: {clean(wrong)}" for wrong in faults(run)]
    return found


def metrics_of(run: Run) -> dict[str, Metric]:
    """A finished run's metrics by key."""
    return {metric.key: metric for metric in run.result.metrics} if run.result else {}
