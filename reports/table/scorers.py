"""What a table says of its scorers: whether one labelled what it reports, and how far they agree."""

from collections.abc import Iterator, Sequence

from bench.stats.agreement import Agreement, agreement
from bench.store.record import Metric
from bench.store.runs import Run
from reports.table.cells import MetricRow, TableCell, clean
from reports.table.columns import Column
from reports.table.roles import by_scorers


def scorer_notes(columns: Sequence[Column], rows: Sequence[MetricRow]) -> Iterator[str]:
    """A line where the headline scorer labelled the sets, and one for each further scorer that rows are by."""
    runs = [run for column in columns for run in column.runs]
    if taught := [column.label for column in columns if any(map(_headline_labelled, column.runs))]:
        label = runs[0].manifest.scorer.get("label", "?")
        yield (
            f"The scorer of these figures, {label}, also labelled what {', '.join(taught)} learned from:"
            " a method may have learned its blind spots."
        )
    speaking = by_scorers([metric for column in columns for metric in column.all_metrics])
    for scorer in runs[0].manifest.further if speaking else ():
        if speaking and any(row.scorer == scorer for row in rows):
            yield _agreement_line(scorer, speaking, columns, rows)


def _headline_labelled(run: Run) -> bool:
    """Whether a run's method learned from sets that the scorer of its figures split; older records had one scorer."""
    own_sets = (run.manifest.suite.get("sets") or {}).get("source") == "self"
    return bool(run.manifest.method.get("sets_key") and run.manifest.scorer.get("labels_sets", own_sets))


def _agreement_line(scorer: str, speaking: Metric, columns: Sequence[Column], rows: Sequence[MetricRow]) -> str:
    found = agreement_of([run for column in columns for run in column.runs], speaking.task, scorer)
    parts = [
        f"kappa {found.kappa:.2f} of labels" if found.kappa is not None else "",
        f"rank correlation {found.correlation:.2f} of scores" if found.correlation is not None else "",
    ]
    told = ", ".join(part for part in parts if part) or "no agreement to be computed"
    line = f"{scorer} and the headline scorer on {found.n:,} texts: {told}"
    changed = changed_conclusions(speaking, scorer, columns, rows)
    if changed is not None:
        names, compared = changed
        which = f" ({', '.join(names)})" if names else ""
        line += f"; {len(names)} of {compared} conclusions on {clean(speaking.name)} change{which}"
    return f"{line}."


def agreement_of(runs: Sequence[Run], task: str, scorer: str) -> Agreement:
    """How far a further scorer and the headline agree on the texts of a task that both scored.

    Args:
        runs: Runs that may share a table.
        task: The task whose samples are looked at.
        scorer: What the suite calls the further scorer.
    """
    attribute, manifest = runs[0].scored, runs[0].manifest
    scored = [
        (attribute.score(row.scores), attribute.score(row.seen_by(scorer).scores))
        for run in runs
        for row in run.samples(task)
    ]
    both = [(one, other) for one, other in scored if one is not None and other is not None]
    first, second = (float(one.get("threshold", 0.5)) for one in (manifest.scorer, manifest.further[scorer]))
    return agreement([one for one, _ in both], [other for _, other in both], (first, second))


def changed_conclusions(
    speaking: Metric, scorer: str, columns: Sequence[Column], rows: Sequence[MetricRow]
) -> tuple[list[str], int] | None:
    """The systems of which a further scorer concludes otherwise, and how many were compared with the reference.

    A conclusion is what the corrected test leaves of a difference, of the method or of its one training: that it is
    higher, lower, or not shown. None where the table does not have both rows.
    """
    same = [row for row in rows if (row.task, row.group, row.name) == (speaking.task, speaking.group, speaking.name)]
    own, other = ([row for row in same if row.scorer == by] for by in (None, scorer))
    if not own or not other:
        return None
    pairs = [
        (column.label, _conclusion(first), _conclusion(second))
        for column, first, second in zip(columns, own[0].cells, other[0].cells, strict=True)
        if first.difference is not None and second.difference is not None
    ]
    return [label for label, first, second in pairs if first != second], len(pairs)


def _conclusion(cell: TableCell) -> str:
    if cell.claim is None or cell.difference is None:
        return "none"
    return "higher" if cell.difference.value > 0 else "lower"  # its interval may hold 0 where the test says otherwise
