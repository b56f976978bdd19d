"""What of the data was taken and what was left out, as the records say it."""

from collections.abc import Iterable, Iterator
from typing import Any

from bench.store.runs import Run
from reports.table.cells import clean


def facts_of(runs: Iterable[Run]) -> list[dict[str, Any]]:
    """What the tasks and the sets of some runs say of the data that they took, each once."""
    found: dict[str, dict[str, Any]] = {}
    for run in runs:
        sets = run.result.artifact.get("sets") if run.result else None
        made = [sets["taken"]] if isinstance(sets, dict) and isinstance(sets.get("taken"), dict) else []
        for fact in [*(one for task in run.tasks.values() for one in task.taken), *made]:
            found.setdefault(repr(sorted(fact.items(), key=str)), fact)
    return list(found.values())


def left_out(fact: dict[str, Any]) -> str:
    """Why rows were left out, with the number of each."""
    why = fact.get("left_out")
    reasons = why.items() if isinstance(why, dict) else ()  # a record can be edited
    return ", ".join(f"{clean(count, 20)} {clean(reason)}" for reason, count in reasons)


def taken_lines(runs: Iterable[Run]) -> Iterator[str]:
    """A line for all data of which something was left out."""
    for fact in facts_of(runs):
        why, above = left_out(fact), _above(fact)
        if why or above:
            numbers = f"{clean(fact.get('taken'), 20)} of {clean(fact.get('rows'), 20)} rows are taken"
            yield f"{clean(fact.get('data'), 80)}: {numbers}{f'; left out: {why}' if why else ''}{above}."


def _above(fact: dict[str, Any]) -> str:
    """How many negatives of sets are above the mean positive, where these alone were taken."""
    counts = fact.get("negatives")
    if not isinstance(counts, dict):
        return ""
    return f"; {clean(counts.get('above'), 20)} of {clean(counts.get('sampled'), 20)} negatives are above c"
