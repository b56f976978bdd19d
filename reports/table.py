"""From records to a table: which runs belong together, what they may be compared with, and what may be called best."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from bench.errors import MissingError, UsageError, did_you_mean
from bench.hashing import hash_json
from bench.stats import Difference, Systems, holm
from bench.store.record import Evidence, Metric
from bench.store.runs import Run
from reports.cells import Caption, Cell, Row, System, Table, clean, verdict
from reports.comparable import flat, refuse_incomparable

_BASE = "none"
_SHOWN = 6
_ALPHA = 0.05
"""The familywise error rate that Holm's correction keeps, over the systems that a row compares with the reference."""


def build(runs: Sequence[Run], against: str | None = None) -> Table:
    """Build the table of some runs: one column a method and configuration, over its seeds.

    Runs that did not finish are left out, as are runs that a later one with the same method, configuration and seed
    replaces; footnotes name them.

    Args:
        runs: The runs.
        against: The label (or the method, where it has one column) that the others are compared with; None for the
            base.

    Raises:
        MissingError: no run has finished, or two were not measured in the same way.
        UsageError: `against` names no column.
    """
    notes = _Notes()
    refuse_incomparable([run for run in runs if run.result])
    finished = _finished(runs, notes)
    columns = _columns(finished, notes)
    reference = _reference(columns, against)
    if reference is None:
        notes.add("No base (method none) among these runs: nothing to take differences to.")
    metrics: dict[str, Metric] = {}
    for column in columns:
        for run in column.runs:
            for metric in run.result.metrics if run.result else ():
                metrics.setdefault(metric.key, metric)
    rows = tuple(_row(metric, columns, reference, notes) for metric in metrics.values())
    for column in columns:
        if not column.publishable and not column.n_failed:
            notes.add(f"{column.label}: not publishable, some measurements failed.")
    systems = tuple(column.system(is_reference=n == reference) for n, column in enumerate(columns))
    compared = None if reference is None else systems[reference].label
    return Table(_caption(columns, metrics), systems, rows, tuple(notes.texts), compared)


def to_json(table: Table) -> dict[str, Any]:
    """The table as JSON values; what is absent is null."""
    value = asdict(table)
    for row, shown in zip(value["rows"], table.rows, strict=True):
        row["key"] = shown.key
    return value


@dataclass
class _Notes:
    """Footnotes, each once."""

    texts: list[str] = field(default_factory=list)

    def add(self, text: str) -> int:
        text = clean(text, 400)
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text)


@dataclass
class _Column:
    """A method with one configuration: its runs by seed."""

    label: str
    runs: list[Run]

    @property
    def method(self) -> str:
        return self.runs[0].method

    @property
    def config(self) -> dict[str, Any]:
        return dict(self.runs[0].manifest.method.get("config") or {})

    @property
    def n_failed(self) -> int:
        """Failed observations: the most of any metric of a task (they share observations), over tasks and runs."""
        worst: Counter[tuple[str, str]] = Counter()
        for run in self.runs:
            for metric in run.result.metrics if run.result else ():
                cell = (run.id, metric.task)
                worst[cell] = max(worst[cell], metric.n_failed)
        return worst.total()

    @property
    def publishable(self) -> bool:
        return not self.n_failed and all(run.result and run.result.publishable for run in self.runs)

    def metrics(self, key: str) -> list[Metric]:
        """The metric in each run that has it."""
        return [metric for run in self.runs if run.result for metric in run.result.metrics if metric.key == key]

    def evidence(self, key: str) -> list[Evidence]:
        """The evidence of every run, or nothing where one has none."""
        found = [run.evidence[key] for run in self.runs if key in run.evidence]
        return found if len(found) == len(self.runs) else []

    def system(self, *, is_reference: bool) -> System:
        return System(
            label=self.label,
            method=clean(self.method),
            config=self.config,
            seeds=tuple(run.manifest.seed for run in self.runs),
            run_ids=tuple(clean(run.id) for run in self.runs),
            is_base=self.method == _BASE,
            is_reference=is_reference,
            publishable=self.publishable,
            n_failed=self.n_failed,
            seconds=sum(run.seconds or 0.0 for run in self.runs),
        )


def _finished(runs: Sequence[Run], notes: _Notes) -> list[Run]:
    """The finished runs, the latest of each method, configuration and seed, oldest first."""
    latest: dict[tuple[str, int], Run] = {}
    for run in sorted({run.path.resolve(): run for run in runs}.values(), key=lambda run: run.manifest.created):
        if run.result is None:
            notes.add(f"Left out: run {run.id} has not finished ({run.status}).")
            continue
        cell = (_identity(run), run.manifest.seed)
        if cell in latest:
            notes.add(f"Left out: run {latest[cell].id}, replaced by the later {run.id}.")
            del latest[cell]
        latest[cell] = run
    if not latest:
        what = f"none of these runs has finished ({', '.join(run.id for run in runs)})" if runs else "no run is given"
        raise MissingError(what, mend="'bench run' goes on with a cell where it stopped")
    return list(latest.values())


def _identity(run: Run) -> str:
    return hash_json([run.method, _settings(run)])


def _settings(run: Run) -> dict[str, Any]:
    """What sets one column apart from another of the same label: its options and the sets that it learned from."""
    method = run.manifest.method
    return {**(method.get("config") or {}), "sets": str(method.get("sets_key") or "")[:10]}


def _columns(runs: Sequence[Run], notes: _Notes) -> list[_Column]:
    """Runs by method and configuration, the base first, then in order of first appearance."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(_identity(run), []).append(run)
    ordered = sorted(groups.values(), key=lambda group: group[0].method != _BASE)
    columns = [
        _Column(label, sorted(group, key=lambda run: run.manifest.seed))
        for label, group in zip(_labels(ordered), ordered, strict=True)
    ]
    if len({tuple(run.manifest.seed for run in column.runs) for column in columns}) > 1:
        seeds = "; ".join(f"{c.label}: {', '.join(str(run.manifest.seed) for run in c.runs)}" for c in columns)
        notes.add(f"The systems were not run with the same seeds ({seeds}).")
    return columns


def _reference(columns: Sequence[_Column], against: str | None) -> int | None:
    """The column that the others are compared with: the one asked for, or the base, or None."""
    if against is None:
        return 0 if columns[0].method == _BASE else None
    labels = [column.label for column in columns]
    places = [n for n, label in enumerate(labels) if label == against]
    places = places or [n for n, column in enumerate(columns) if column.method == against]
    if len(places) == 1:
        return places[0]
    if places:
        told = ", ".join(f"'{labels[n]}'" for n in places[:_SHOWN])
        raise UsageError(f"{len(places)} columns are of the method '{against}'", mend=f"give a label: {told}")
    raise UsageError(f"no column is called '{against}'", mend=did_you_mean(against, labels))


def _labels(groups: Sequence[Sequence[Run]]) -> list[str]:
    """A label for each group; where two are the same, with the settings that set them apart."""
    labels = [clean(group[0].label, 60) for group in groups]
    configs = [flat(_settings(group[0])) for group in groups]
    told = []
    for label, config in zip(labels, configs, strict=True):
        same = [other for name, other in zip(labels, configs, strict=True) if name == label]
        apart = [key for key in sorted({k for c in same for k in c}) if len({repr(c.get(key)) for c in same}) > 1]
        settings = ", ".join(f"{key}={config.get(key)}" for key in apart)
        told.append(clean(f"{label} ({settings})", 120) if settings else label)
    return told


def _row(metric: Metric, columns: Sequence[_Column], reference: int | None, notes: _Notes) -> Row:
    relative = "perplexity" in metric.name
    systems = Systems([column.evidence(metric.key) for column in columns])
    cells = [_cell(metric.key, column, systems, place, notes) for place, column in enumerate(columns)]
    if reference is not None:
        cells = _compared(metric, cells, systems, reference, notes)
    best = _best(metric, cells, systems, reference)
    if best is not None:
        cells[best] = replace(cells[best], is_best=True)
    return Row(
        clean(metric.task, 60),
        clean(metric.group, 40) if metric.group else None,
        clean(metric.name, 60),
        metric.higher_is_better,
        relative,
        tuple(cells),
    )


def _compared(metric: Metric, cells: list[Cell], systems: Systems, reference: int, notes: _Notes) -> list[Cell]:
    """The cells with their differences to the reference, and what Holm's correction over them leaves."""
    others = [place for place in range(len(cells)) if place != reference]
    for place in others:
        found = _difference(metric, systems, place, reference)
        if found is None:
            continue
        marks = cells[place].footnotes
        if found.n_left_out:
            text = f"Differences on what both systems have: {found.n_left_out} prompts or questions are left out."
            marks = (*marks, notes.add(text))
        judged = verdict(found, higher_is_better=metric.higher_is_better)
        tested = systems.significance(place, reference)
        cells[place] = replace(
            cells[place], difference=found, verdict=judged, p_value=tested.p, test=tested.test, footnotes=marks
        )
    for place, p in zip(others, holm([cells[place].p_value for place in others]), strict=True):
        failed = cells[place].n_failed or cells[reference].n_failed
        cells[place] = replace(cells[place], p_holm=p, is_significant=p is not None and p <= _ALPHA and not failed)
    return cells


def _cell(key: str, column: _Column, systems: Systems, place: int, notes: _Notes) -> Cell:
    """A system's figure: as recorded for one seed, resampled over prompts and seeds for several."""
    metrics = column.metrics(key)
    failed = sum(metric.n_failed for metric in metrics)
    marks = (
        (notes.add(f"{column.label}: {failed} observations failed: they are in no mean, and it is not publishable."),)
        if failed
        else ()
    )
    if len(metrics) < len(column.runs) or any(metric.value is None for metric in metrics):
        return Cell(None, n_failed=failed, footnotes=marks)
    if len(metrics) == 1:
        (metric,) = metrics
        return Cell(metric.value, metric.ci_low, metric.ci_high, failed, footnotes=marks)
    values = [metric.value for metric in metrics if metric.value is not None]
    ends = systems.interval(place)
    low, high = (ends.low, ends.high) if ends else (None, None)
    return Cell(sum(values) / len(values), low, high, failed, footnotes=marks)


def _difference(metric: Metric, systems: Systems, a: int, b: int) -> Difference | None:
    """`a - b`; without evidence of both there is none: two figures alone do not say what is chance."""
    try:
        return systems.difference(a, b, relative="perplexity" in metric.name)
    except MissingError:  # nothing in common, or relative to 0
        return None


def _best(metric: Metric, cells: Sequence[Cell], systems: Systems, reference: int | None) -> int | None:
    """The system whose figure is best, if its paired difference to every other one excludes 0."""
    values = [cell.value for cell in cells]
    known = [value for value in values if value is not None]
    if metric.higher_is_better is None or len(known) < len(cells) or len(cells) == 1:
        return None
    best = values.index(max(known) if metric.higher_is_better else min(known))
    if cells[best].n_failed:
        return None
    for other in range(len(cells)):
        if reference in (best, other) and other != best:  # these differences are there already
            better = cells[best].verdict == "better" if other == reference else cells[other].verdict == "worse"
        elif other != best:
            found = _difference(metric, systems, best, other)
            better = found is not None and verdict(found, higher_is_better=metric.higher_is_better) == "better"
        else:
            continue
        if not better:
            return None
    return best


def _caption(columns: Sequence[_Column], metrics: Mapping[str, Metric]) -> Caption:
    run = columns[0].runs[0]
    manifest = run.manifest
    rtp = [run.evidence[key] for key, metric in metrics.items() if metric.task == "rtp" and key in run.evidence]
    prompts = {name for evidence in rtp for name in evidence.cluster_ids}
    seeds = sorted({run.manifest.seed for column in columns for run in column.runs})
    revision = manifest.model.get("revision")
    return Caption(
        suite=clean(manifest.suite.get("name", "?"), 60),
        model=clean(manifest.model.get("id", "?"), 120),
        revision=clean(revision, 60) if revision else None,
        dtype=clean(manifest.engine.get("dtype") or manifest.model.get("dtype", "?"), 20),
        scorer=clean(manifest.scorer.get("label", "?"), 120),
        threshold=float(manifest.scorer.get("threshold", 0.5)),
        decoding=dict(manifest.decoding),
        num_prompts=len(prompts) or None,
        seeds=tuple(seeds),
    )
