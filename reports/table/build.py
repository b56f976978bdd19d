"""From records to a table: which runs belong together, what they may be compared with, and what may be called best."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bench.store.record import Metric
from bench.store.runs import Run
from reports.table.accuracy import mean_of, taken_over
from reports.table.cells import Caption, MetricRow, Table, clean
from reports.table.columns import BASE, Column, Notes, columns_of, finished_runs, reference_of
from reports.table.comparable import refuse_incomparable
from reports.table.cost import cost_rows, is_partial
from reports.table.detectable import detectable_notes
from reports.table.flags import flags_of
from reports.table.roles import primary
from reports.table.rows import make_row
from reports.table.scorers import scorer_notes
from reports.table.signal import signals
from reports.table.taken import taken_lines
from reports.table.utility import judged, mean_note, notes_of

NO_MODEL = "continuations made elsewhere"
"""What stands for the model where none of the runs knows one."""
Wanted = Callable[[Metric | MetricRow], bool]
"""Whether a metric, or a row that is not measured on samples (a cost), is shown."""


def build(
    runs: Sequence[Run],
    against: str | None = None,
    *,
    wanted: Wanted | None = None,
    force: bool = False,
) -> Table:
    """Build the table of some runs: one column a method and configuration, over its seeds.

    Runs that did not finish are left out, as are runs that a later one with the same method, configuration and seed
    replaces; footnotes name them.

    Args:
        runs: The runs.
        against: The label (or the method, where it has one column) that the others are compared with; None for the
            base.
        wanted: Which metrics to show, costs among them; None for all measurements.
        force: Put runs together that were not measured in the same way, and say so.

    Raises:
        MissingError: no run has finished, or two were not measured in the same way.
        UsageError: `against` names no column.
    """
    return build_with_columns(runs, against, wanted=wanted, force=force)[0]


def build_with_columns(
    runs: Sequence[Run],
    against: str | None = None,
    *,
    wanted: Wanted | None = None,
    force: bool = False,
) -> tuple[Table, list[Column]]:
    """As `build`, and what the columns are made from."""
    notes = Notes()
    forced = refuse_incomparable([run for run in runs if run.result], force=force)
    columns = columns_of(finished_runs(runs, notes), notes)
    reference = reference_of(columns, against)
    if reference is None:
        notes.add("No base (method none) among these runs: nothing to take differences to.")
    metrics = _metrics(columns, wanted, notes)
    shown = [metric for metric in metrics.values() if wanted is None or wanted(metric)]
    flags = _flags(columns, notes)
    flagged = {place for place, own in enumerate(flags) if own}
    rows = [make_row(metric, columns, reference, notes, flagged) for metric in shown]
    found = signals(run for column in columns for run in column.runs)
    rows = judged(rows, shown, found)
    for text in notes_of(rows, found):
        notes.add(text)
    own = (metric.note for metric in shown if metric.note)
    for note in (*scorer_notes(columns, rows), *detectable_notes(rows, columns), *system_notes(columns), *own):
        notes.add(note)
    if wanted is not None:
        for column in columns:
            if any(map(is_partial, column.runs)):
                notes.add(f"{column.label}: a run was interrupted and resumed: its seconds of measuring are not whole.")
        rows += [row for row in cost_rows([column.runs for column in columns]) if wanted(row)]
    for column in columns:
        if not column.publishable and not column.n_failed:
            notes.add(f"{column.label}: not publishable, some measurements failed.")
    n_notes = len(notes.texts)
    for line in taken_lines([run for column in columns for run in column.runs]):
        notes.add(line)
    systems = tuple(
        column.system(is_reference=n == reference, flags=own)
        for n, (column, own) in enumerate(zip(columns, flags, strict=True))
    )
    compared = None if reference is None else systems[reference].label
    whose = tuple(tuple(column.runs) for column in columns)
    caption, n_data = _caption(columns, metrics), len(notes.texts) - n_notes
    return Table(caption, systems, tuple(rows), tuple(notes.texts), compared, forced, whose, n_data), columns


def system_notes(columns: Iterable[Column]) -> Iterator[str]:
    """What a reader must know of each system: that it is known by its continuations alone, or how it was asked."""
    for column in columns:
        if tasks := sorted({clean(task) for run in column.runs for task in run.outside_turns}):
            where = f"{', '.join(tasks)}, which ask by a user's message"
            yield f"{column.label}: its text stands before the conversation, outside of any turn, in {where}."
        if run := next((one for one in column.runs if one.is_elsewhere), None):
            yield f"{column.label}: another programme made its continuations; {_unknown(run)} is not known here."


def _unknown(run: Run) -> str:
    """What nobody here knows of continuations; the form of the prompts is among it where the suite says one."""
    suite = run.manifest.suite
    if not suite.get("chat_template"):
        return "which model made them, and how they were sampled,"
    system = suite.get("system")
    after = "" if system is None else f" after the system message '{clean(system)}'"
    turn = f"whether each prompt was a user's turn{after}, as in the suite,"
    return f"which model made them, how they were sampled, and {turn}"


def _flags(columns: Sequence[Column], notes: Notes) -> list[tuple[str, ...]]:
    """Each system's flags; without the base there is nothing to be far from, and a footnote says so."""
    base = columns[0]
    if base.method != BASE and any(metric.flag for column in columns for metric in column.all_metrics):
        notes.add("Without the base, no system can be flagged (empty, ignores the prompt, ...).")
    return [flags_of(column, base) for column in columns]


def _metrics(columns: Sequence[Column], wanted: Wanted | None, notes: Notes) -> dict[str, Metric]:
    """Every metric that any run has, by its key; the mean over the tasks where there are several to take it over."""
    mean = mean_of([run for column in columns for run in column.runs])
    # Without being asked for, the mean over one task would only say its figure again.
    is_shown = len(mean.keys) != 1 if wanted is None else wanted(mean.metric)
    if is_shown:
        for column in columns if mean.keys else ():
            column.pooled = [taken_over(run, mean) for run in column.runs]
        if note := mean_note(mean):
            notes.add(note)
    metrics: dict[str, Metric] = {}
    for column in columns:
        for metric in column.all_metrics:
            metrics.setdefault(metric.key, metric)
    return metrics


def _caption(columns: Sequence[Column], metrics: Mapping[str, Metric]) -> Caption:
    runs = [run for column in columns for run in column.runs]
    run = next((one for one in runs if not one.is_elsewhere), runs[0])  # one that knows a model, where there is one
    manifest = run.manifest
    speaking = primary(metrics.values(), "attribute")
    same_task = [metric for metric in metrics.values() if speaking and metric.task == speaking.task]
    asked = [run.evidence[metric.key] for metric in same_task if metric.key in run.evidence]
    prompts = {name for evidence in asked for name in evidence.cluster_ids}
    seeds = sorted({one.manifest.seed for one in runs})
    revision = manifest.model.get("revision")
    return Caption(
        suite=clean(manifest.suite.get("name", "?"), 60),
        model=NO_MODEL if run.is_elsewhere else clean(manifest.model.get("id", "?"), 120),
        revision=clean(revision, 60) if revision else None,
        dtype=None
        if run.is_elsewhere
        else clean(manifest.engine.get("dtype") or manifest.model.get("dtype") or _no_dtype(run), 20),
        scorer=clean(manifest.scorer.get("label", "?"), 120),
        attribute=clean(run.attribute, 60),
        adjective=clean(run.adjective, 60),
        lower_is_wanted=run.lower_is_wanted,
        threshold=manifest.scorer.get("threshold"),
        decoding=dict(manifest.decoding),
        num_prompts=len(prompts) if prompts and run.scored.controlled is None else None,
        seeds=tuple(seeds),
        further=tuple(_told(key, one) for key, one in manifest.further.items()),
        scored=replace(run.scored, name=clean(run.scored.name, 60), adjective=clean(run.scored.adjective, 60)),
    )


def _no_dtype(run: Run) -> str:
    """What stands for the arithmetic where a record names none: nobody knows an endpoint's."""
    return "behind an endpoint" if run.is_behind else "?"


def _told(key: str, scorer: Mapping[str, Any]) -> str:
    return clean(f"{key}: {scorer.get('label', '?')}, from {scorer.get('threshold', '?')}", 160)
