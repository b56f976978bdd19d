"""One table of runs of several base models: each system beside the base of its own model, and ranked among all.

Each model has a table of its own, with its own base, tests and flags. They stand side by side: what does not depend on
the model or its tokenizer is ranked over all systems, and what does is not, with a footnote that says so.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

from bench.errors import MissingError
from bench.stats import Systems
from bench.store.runs import Run
from bench.store.systems import by_age, model_of
from reports.table.accuracy import MEAN_TASK, mean_of
from reports.table.build import Wanted, build, build_with_columns
from reports.table.cells import OWN, SENTENCE, Caption, MetricRow, Table, TableCell, clean, listed
from reports.table.columns import Column, Notes, columns_of, finished_runs, place_of
from reports.table.comparable import (
    WHY_APART,
    crossed,
    refuse_incomparable,
    refuse_measured_otherwise,
    within_of,
)
from reports.table.standing import with_ranks

_NAMED = 8
"""Runs that a message names."""


@dataclass(frozen=True)
class Parts:
    """Runs by base model.

    Attributes:
        runs: By what the model is called, in the order of age; by "" where all stand beside one model.
        unfinished: Of models of which no run has finished, a line a run.
        forced: What the models' runs differ in, where they are put together all the same.
    """

    runs: Mapping[str, list[Run]]
    unfinished: tuple[str, ...] = ()
    forced: tuple[str, ...] = ()

    @property
    def is_several(self) -> bool:
        """Whether there are two models or more."""
        return len(self.runs) > 1


def parted(runs: Sequence[Run], *, force: bool = False) -> Parts:
    """Part runs by their base model.

    Raises:
        MissingError: those of several models were not measured in the same way, or texts that another programme made
            are among them.
    """
    by_model: dict[str, list[Run]] = {}
    for run in by_age(runs):
        by_model.setdefault(model_of(run), []).append(run)
    left = [run for some in by_model.values() if not any(run.result for run in some) for run in some]
    by_model = {model: some for model, some in by_model.items() if any(run.result for run in some)}
    if len(by_model) > 2 and not force:  # noqa: PLR2004
        _refuse_texts(by_model)
    if len(by_model) < 2 or not all(by_model):  # noqa: PLR2004
        return Parts({"": list(runs)})
    firsts = [next(run for run in some if run.result) for some in by_model.values()]
    forced = refuse_measured_otherwise(firsts, force=force)
    unfinished = tuple(f"Left out: run {run.id} has not finished ({run.status})." for run in left)
    return Parts(dict(zip(names_of(firsts), by_model.values(), strict=True)), unfinished, forced)


def refuse_several(runs: Sequence[Run], what: str, wanted: object = None) -> None:
    """Refuse runs of several base models.

    Args:
        runs: The runs.
        what: What takes those of one, as a message begins.
        wanted: The hash of the model whose runs the message names; None for any.

    Raises:
        MissingError: there are several; the message names the runs of one.
    """
    parts = parted(runs)
    if parts.is_several:
        first, own = max(parts.runs.items(), key=lambda one: model_of(one[1][0]) == wanted)
        names = " ".join(clean(run.id) for run in own[:_NAMED]) + (" …" if own[_NAMED:] else "")
        mend = f"name the runs of one, such as those of {first}: {names}"
        raise MissingError(f"{what} is of one model, and here are {', '.join(parts.runs)}", mend=mend)


def columns_across(runs: Sequence[Run], notes: Notes) -> list[Column]:
    """The columns of some runs, those of each base model together; of several, labels and notes name it.

    Raises:
        MissingError: as `across`.
    """
    parts, columns = parted(runs), []
    for model, some in parts.runs.items():
        refuse_incomparable([run for run in some if run.result])
        own = Notes()
        found = columns_of(finished_runs(some, own), own)
        for note in own.texts:
            notes.add(_of(note, model))
        columns += [replace(one, label=labelled(one.label, model), model=model) for one in found]
    for note in parts.unfinished:
        notes.add(note)
    return columns


def runs_of(runs: Sequence[Run], label: str) -> list[Run]:
    """The runs of a system by its label in a table of these runs, or by a method that one system is of.

    They are those that the table shows: of a repeated run the latest, and no damaged one.

    Raises:
        MissingError: the runs were not measured in the same way, or all are damaged.
        UsageError: there is no such label, or several systems are of that method.
    """
    columns = columns_across(runs, Notes())
    return columns[place_of(columns, label)].runs


def beside(sides: Sequence[list[Run]]) -> list[Column]:
    """The columns of systems that are compared, called as a table of all would call them, be it of several models."""
    firsts = [runs[0] for runs in sides]
    is_one_model = "model" not in crossed(firsts)
    models = [""] * len(sides) if is_one_model else names_of(firsts)
    tables = [[run for runs in sides for run in runs]] if is_one_model else sides
    labels = {run.path: column.label for runs in tables for column in columns_of(runs, Notes()) for run in column.runs}
    return [
        Column(labelled(labels[first.path], model), runs)
        for first, model, runs in zip(firsts, models, sides, strict=True)
    ]


def across(
    runs: Sequence[Run], against: str | None = None, *, wanted: Wanted | None = None, force: bool = False
) -> Table:
    """The table of some runs, of one base model or of several.

    Args, returns and raises as `reports.table.build.build`. Of several models, `against` names a column of each.
    """
    parts = parted(runs, force=force)
    if not parts.is_several:
        return build(runs, against, wanted=wanted, force=force)
    built = [build_with_columns(some, against, wanted=wanted, force=force) for some in parts.runs.values()]
    tables = [_named(table, name) for (table, _), name in zip(built, parts.runs, strict=True)]
    columns = [column for _, own in built for column in own]
    merged = _side_by_side(tables, (*parts.forced, *(one for table in tables for one in table.forced)))
    means = {mean_of([run for column in own for run in column.runs]).keys for _, own in built}
    return _ranked(merged, columns, parts.unfinished, has_one_mean=len(means) == 1)


def _refuse_texts(by_model: Mapping[str, Sequence[Run]]) -> None:
    """Refuse continuations that another programme made, beside several models: whose they are is not known.

    Raises:
        MissingError: there are some.
    """
    texts = [run for some in by_model.values() for run in some if run.is_elsewhere]
    if texts:
        models = ", ".join(names_of([some[0] for some in by_model.values() if not some[0].is_elsewhere]))
        what = f"run {clean(texts[0].id)} is of a file that 'bench score' read, which stands beside one model"
        raise MissingError(f"{what}, and here are {models}", mend="leave the file out, or all models but one")


def labelled(label: str, model: str) -> str:
    """A system's label that says whose it is, where there are several models."""
    return f"{label} \N{MIDDLE DOT} {model}" if model else label


def _of(note: str, model: str) -> str:
    """A note on a model's runs that says so, where there are several."""
    return f"{model}: {note}" if model else note


def names_of(firsts: Sequence[Run]) -> list[str]:
    """What the models are called: as short as tells them apart."""
    ids = [str(run.manifest.model.get("id", "?")) for run in firsts]
    revisions = [str(run.manifest.model.get("revision") or model_of(run))[:8] for run in firsts]
    short = [PurePath(one).name or one for one in ids]
    dated = [f"{name}@{revision}" for name, revision in zip(short, revisions, strict=True)]
    hashed = [f"{name} {model_of(run)[:8]}" for name, run in zip(short, firsts, strict=True)]
    apart = next((names for names in (short, ids, dated, hashed) if len(set(names)) == len(names)), hashed)
    return [clean(name, 60) for name in apart]


def _named(table: Table, model: str) -> Table:
    """A model's table whose systems and own footnotes say whose they are."""
    systems = tuple(replace(one, label=labelled(one.label, model), model=model) for one in table.systems)
    own = len(table.footnotes) - table.n_data_notes
    notes = (_of(note, model) if place < own else note for place, note in enumerate(table.footnotes))
    return replace(table, systems=systems, footnotes=tuple(notes))


def _side_by_side(tables: Sequence[Table], forced: tuple[str, ...]) -> Table:
    """The tables as one: all rows that any has, and in each the cells of all systems."""
    own = [table.footnotes[: len(table.footnotes) - table.n_data_notes] for table in tables]
    data = list(
        dict.fromkeys(note for table, some in zip(tables, own, strict=True) for note in table.footnotes[len(some) :])
    )
    starts = [sum(map(len, own[:place])) for place in range(len(own))]
    keys: dict[str, MetricRow] = {}
    for table in tables:
        for row in table.rows:
            keys.setdefault(row.key, row)
    by_key = [{row.key: row for row in table.rows} for table in tables]
    rows = []
    for key, row in keys.items():
        found = [some.get(key) for some in by_key]
        cells = tuple(
            cell
            for table, one, start in zip(tables, found, starts, strict=True)
            for cell in _cells(one, len(table.systems), start)
        )
        signals = {one.has_signal for one in found if one}
        has_signal = False if False in signals else signals.pop() if len(signals) == 1 else None
        rows.append(replace(row, cells=cells, has_signal=has_signal))
    is_compared = any(table.reference for table in tables)
    return Table(
        _caption([table.caption for table in tables], [table.systems[0].model for table in tables]),
        tuple(system for table in tables for system in table.systems),
        tuple(rows),
        (*(note for some in own for note in some), *data),
        OWN if is_compared else None,
        tuple(dict.fromkeys(forced)),
        tuple(one for table in tables for one in table.runs),
        len(data),
    )


def _cells(row: MetricRow | None, count: int, start: int) -> Iterator[TableCell]:
    """A model's cells of a row, without ranks: those of its own table are among its own systems."""
    for cell in row.cells if row else [TableCell(None)] * count:
        marks = tuple(place + start for place in cell.footnotes)
        yield replace(cell, footnotes=marks, rank_low=None, rank_high=None, n_ranked=None, standing=None)


def _caption(captions: Sequence[Caption], models: Sequence[str]) -> Caption:
    kinds = ", ".join(dict.fromkeys(one.dtype for one in captions if one.dtype))
    seeds = sorted({seed for one in captions for seed in one.seeds})
    return replace(captions[0], model=", ".join(models), revision=None, dtype=kinds, seeds=tuple(seeds))


def _ranked(table: Table, columns: Sequence[Column], told: Sequence[str], *, has_one_mean: bool) -> Table:
    """The table with ranks over all systems, where a row can be compared, and footnotes: `told`, and on the others."""
    bounds = crossed([column.runs[0] for column in columns])
    may_win = [place for place, system in enumerate(table.systems) if not system.flags]
    apart: dict[str, list[str]] = {how: [] for how in WHY_APART}
    notes, rows = list(told), []
    for row in table.rows:
        how = within_of(metric for column in columns for metric in column.metrics(row.key))  # a cost is no metric
        if how in bounds:
            apart[how].append(row.key)
        elif row.task == MEAN_TASK and not has_one_mean:
            notes.append(f"Not ranked over models (not over the same tasks of each): {row.key}.")
        elif row.has_signal is not False:
            row, left_out = _over_all(table, row, columns, may_win)  # noqa: PLW2901
            notes += [f"{row.key}: {text}" for text in left_out]
        rows.append(row)
    notes += [f"Not ranked over models ({why}): {listed(apart[how])}." for how, why in WHY_APART.items() if apart[how]]
    notes += longer_texts([column.runs[0] for column in columns])
    if table.reference:
        notes.append("Each system is tested against the base of its own model; Holm's correction is over these alone.")
    first = len(table.footnotes) - table.n_data_notes
    own = tuple(clean(note, SENTENCE) for note in notes)
    return replace(table, rows=tuple(rows), footnotes=(*table.footnotes[:first], *own, *table.footnotes[first:]))


def longer_texts(runs: Sequence[Run]) -> list[str]:
    """What a reader of continuations of several tokenizers must know; nothing where they have one."""
    if "tokenizer" not in crossed(runs):
        return []
    most = clean(runs[0].manifest.decoding.get("max_new_tokens", "?"), 20)
    return [f"Up to {most} tokens are texts of another length where the tokenizer is another."]


def _over_all(
    table: Table, row: MetricRow, columns: Sequence[Column], may_win: Sequence[int]
) -> tuple[MetricRow, list[str]]:
    """The row with ranks over the systems at these places, and what these leave out."""
    evidences = [column.evidence(row.key) for column in columns]
    systems = Systems(evidences, trained=[column.is_trained for column in columns])
    labels = [system.label for system in table.systems]
    cells, left_out = with_ranks(row.cells, systems, may_win, labels, higher_is_better=row.higher_is_better)
    return replace(row, cells=tuple(cells)), left_out
