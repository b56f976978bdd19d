"""What a method costs: rows of a table that are read off the record's phases and artifact, not measured on samples."""

from collections.abc import Callable, Mapping, Sequence

from bench.store.runs import Run
from reports.table.cells import MetricRow, TableCell
from reports.table.roles import all_metrics, tasks_of

_GIB = 2**30


def _preparation(run: Run) -> float | None:
    """Wall seconds that making the artifact took, also where another run had made it."""
    return _fact(run, "seconds")


def _measuring(run: Run) -> float | None:
    """Wall seconds of measuring; nothing where an interrupted run had begun it: what it took then is not known."""
    if is_partial(run):
        return None
    phases = run.result.phases if run.result else ()
    return None if run.result is None else sum(phase.seconds for phase in phases if phase.stage == "measure")


def is_partial(run: Run) -> bool:
    """Whether some phase counts only what an interrupted run had left."""
    return any(phase.partial for phase in (run.result.phases if run.result else ()))


def _speed(run: Run) -> float | None:
    """Sampled tokens a second."""
    sampling = [(phase, phase.sampled_tokens) for phase in (run.result.phases if run.result else ())]
    if run.manifest.schema_version == 1:  # which did not count them: its attribute's tasks did nothing but sample
        tasks = tasks_of(all_metrics([run]), "attribute")
        sampling = [(phase, phase.tokens if phase.name in tasks else None) for phase, _ in sampling]
    tokens = sum(count for _, count in sampling if count)
    seconds = sum(phase.seconds for phase, count in sampling if count)
    return tokens / seconds if tokens and seconds else None


def _memory(run: Run) -> float | None:
    """Peak resident memory over all phases, GiB."""
    peaks = [phase.peak_memory for phase in (run.result.phases if run.result else ()) if phase.peak_memory]
    return max(peaks) / _GIB if peaks else None


def _fact(run: Run, name: str) -> float | None:
    found = run.result.artifact.get(name) if run.result else None
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None


def _trials(run: Run) -> float | None:
    """By how many trials of a search the settings were chosen."""
    found: float | None = run.manifest.method.get("trials")
    return found


COSTS: Mapping[str, Callable[[Run], float | None]] = {
    "preparation_seconds": _preparation,
    "measurement_seconds": _measuring,
    "sampled_tokens_per_second": _speed,
    "peak_memory_gib": _memory,
    "search_trials": _trials,
    "trained_steps": lambda run: _fact(run, "steps"),
    "trained_tokens": lambda run: _fact(run, "trained_tokens"),
    "trainable_parameters": lambda run: _fact(run, "trainable_parameters"),
}
"""By name: the figure of one run, or None where the record has none."""


_OF_A_MODEL_HERE = (_speed, _memory)
"""Costs of the machine that the model runs on: behind an endpoint, they would be those of what asks it."""


def cost_rows(systems: Sequence[Sequence[Run]]) -> list[MetricRow]:
    """A row for each cost, averaged over a system's runs; without intervals, for machines differ more than runs do."""
    cells = {name: tuple(_cell(read, runs) for runs in systems) for name, read in COSTS.items()}
    return [MetricRow("cost", None, name, None, False, found, "cost") for name, found in cells.items()]


def _cell(read: Callable[[Run], float | None], runs: Sequence[Run]) -> TableCell:
    # what scoring took says nothing of what it costs to make such texts
    found = [None if run.is_elsewhere or (read in _OF_A_MODEL_HERE and run.is_behind) else read(run) for run in runs]
    known = [figure for figure in found if figure is not None]
    return TableCell(sum(known) / len(known) if known and len(known) == len(found) else None)
