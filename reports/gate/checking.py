"""A check: runs are held against a baseline, against requirements, or both."""

from collections.abc import Sequence
from dataclasses import replace

from bench.errors import MissingError
from bench.store import systems
from bench.store.runs import Run
from reports.gate.baseline import Baseline
from reports.gate.decision import CheckOutcome, decide
from reports.gate.requirements import Requirement, hold
from reports.gate.runs import problems
from reports.table.columns import Notes
from reports.table.models import across, columns_across, refuse_several

_HEADLINE = 48
"""Characters of labels that a check's headline holds."""


def check(
    runs: Sequence[Run],
    baseline: Baseline | None,
    requirements: Sequence[Requirement],
    *,
    by_name: bool,
    allow_config: bool = False,
    allow_method: bool = False,
) -> CheckOutcome:
    """Hold runs against what is given.

    Args:
        runs: The runs.
        baseline: What those of its method are held against, or None.
        requirements: What every method but the base is held against, of several base models beside its own.
        by_name: Whether the runs were named: all of them are then held against the baseline, where there are no
            requirements that need the base.
        allow_config: See `reports.gate.decide`.
        allow_method: See there.

    Raises:
        MissingError: no run is of the baseline's method, or they are of several base models; the runs were not measured
            in the same way.
        UsageError: a requirement cannot be held against these runs.
    """
    outcome = _required(runs, requirements) if requirements else None
    if baseline is None:
        return outcome or CheckOutcome(problems=("nothing to hold the runs against",))
    of_method = list(runs) if by_name and not requirements else _of_method(runs, baseline)
    refuse_several(of_method, "a check against a baseline", baseline.facts.get("model.sha256"))
    decided = decide(of_method, baseline, allow_config=allow_config, allow_method=allow_method)
    if outcome is None:
        return decided
    found = tuple(dict.fromkeys((*decided.problems, *outcome.problems)))
    notes = tuple(dict.fromkeys((*decided.notes, *outcome.notes)))
    return replace(decided, problems=found, notes=notes, requirements=outcome.requirements)


def _of_method(runs: Sequence[Run], baseline: Baseline) -> list[Run]:
    """The latest of the baseline's method for each of its seeds; whether they are the same method is then decided."""
    named = [run for run in runs if run.method == baseline.method.name]
    if not named:
        raise MissingError(f"no finished run of the method '{baseline.method.name}'", mend="run it, or name the runs")
    counting = systems.latest(named, lambda run: run.method).runs
    return [run for run in counting if run.manifest.seed in baseline.seeds] or list(counting)


def _listed(labels: Sequence[str]) -> str:
    """The first labels, as many as a headline holds whole, and how many more there are."""
    shown = list(labels[:1])
    for label in labels[1:]:
        if len(", ".join([*shown, label])) > _HEADLINE:
            break
        shown.append(label)
    more = len(labels) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _required(runs: Sequence[Run], requirements: Sequence[Requirement]) -> CheckOutcome:
    """The outcome of requirements alone."""
    table, notes = across(runs), Notes()
    columns_across(runs, notes)  # which runs are left out
    blank = CheckOutcome(problems=(), notes=tuple(notes.texts), label="methods", suite=table.caption.suite)
    if found := [problem for run in systems.latest(runs).runs for problem in problems(run)]:
        return replace(blank, problems=tuple(dict.fromkeys(found)))
    held = hold(table, requirements)
    labels, keys = {one.label for one in held}, {one.key for one in held}
    judged = {place: system for place, system in enumerate(table.systems) if system.label in labels}
    cells = (row.cells[place] for row in table.rows if row.key in keys for place in judged)
    marked = sorted({mark for cell in cells for mark in cell.footnotes})
    return replace(
        blank,
        notes=tuple(dict.fromkeys((*notes.texts, *(table.footnotes[mark] for mark in marked)))),
        requirements=tuple(held),
        label=_listed([system.label for system in judged.values()]),
        run_ids=tuple(one for system in judged.values() for one in system.run_ids),
        seeds=tuple(sorted({seed for system in judged.values() for seed in system.seeds})),
    )
