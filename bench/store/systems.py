"""Runs by system: a method with one configuration, run with several seeds; of a repeated run the latest counts."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.hashing import hash_json
from bench.store.runs import Run

SystemOf = Callable[[Run], str]
"""Says which system a run is of: runs of one system have the same text."""


@dataclass(frozen=True)
class Replacement:
    """A run that does not count, since a later one is of the same system and seed."""

    older: Run
    later: Run


@dataclass(frozen=True)
class Latest:
    """The runs that count, oldest first, and what each of them replaced, in the order in which it was."""

    runs: tuple[Run, ...]
    replaced: tuple[Replacement, ...]


def settings_of(run: Run) -> dict[str, Any]:
    """What sets a run apart from another of its method and seed: its options, and the sets that it learned from."""
    method = run.manifest.method
    return {**(method.get("config") or {}), "sets": str(method.get("sets_key") or "")[:10]}


def system_of(run: Run) -> str:
    """The system of a run: its method, every option, and the sets that it learned from."""
    return hash_json([run.method, settings_of(run)])


def model_of(run: Run) -> str:
    """What tells base models apart; nothing where the record does not say."""
    return str(run.manifest.model.get("sha256") or "")


def by_age(runs: Iterable[Run]) -> list[Run]:
    """The runs, each folder once, oldest first."""
    return sorted({run.path.resolve(): run for run in runs}.values(), key=lambda run: run.manifest.created)


def latest(runs: Iterable[Run], system: SystemOf = system_of) -> Latest:
    """The latest run of each system, base model and seed; of runs of the same second, the last one given."""
    counting: dict[tuple[str, str, int], Run] = {}
    replaced = []
    for run in by_age(runs):
        place = (system(run), model_of(run), run.manifest.seed)
        if (older := counting.pop(place, None)) is not None:
            replaced.append(Replacement(older, run))
        counting[place] = run
    return Latest(tuple(counting.values()), tuple(replaced))


def grouped(runs: Sequence[Run], system: SystemOf = system_of) -> list[list[Run]]:
    """The runs of each system, in the order given; the systems in order of first appearance."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(system(run), []).append(run)
    return list(groups.values())
