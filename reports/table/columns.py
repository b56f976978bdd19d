"""The columns of a table: which runs belong to one system, what it is called, and which is the reference."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from bench.errors import MissingError, UsageError, did_you_mean
from bench.stats.soundness import faults
from bench.store.record import Evidence, Metric
from bench.store.runs import Run
from bench.store.systems import by_age, grouped, latest, settings_of
from reports.table.cells import SENTENCE, System, clean, listed
from reports.table.comparable import flat

BASE = "none"
"""The method that leaves the model as it is."""
_SHOWN, _LISTED = 6, 4
_SETS = "sets"
_LABEL, _FULL = 120, 240
"""The longest label of a method, in characters, and with what sets it apart."""


@dataclass
class Notes:
    """Footnotes, each once: those that would be cut to the same are two."""

    texts: list[str] = field(default_factory=list)
    _places: dict[str, int] = field(default_factory=dict, repr=False)

    def add(self, text: str) -> int:
        """Its number."""
        if text not in self._places:
            self._places[text] = len(self.texts)
            self.texts.append(clean(text, SENTENCE))
        return self._places[text]


@dataclass
class Column:
    """A method with one configuration: its runs by seed, and the mean over the tasks of each where it is taken.

    `model` is what its base model is called where there are several.
    """

    label: str
    runs: list[Run]
    model: str = field(default="", kw_only=True)
    pooled: list[tuple[Metric, Evidence | None]] = field(default_factory=list)

    @property
    def method(self) -> str:
        """The method's name."""
        return self.runs[0].method

    @property
    def config(self) -> dict[str, Any]:
        """Its configuration."""
        return dict(self.runs[0].manifest.method.get("config") or {})

    @property
    def is_trained(self) -> bool:
        """Whether another seed is another training."""
        return any(run.is_seeded for run in self.runs)

    @property
    def is_one_training(self) -> bool:
        """Whether it is, and there is one."""
        return self.is_trained and len(self.runs) == 1

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
        """Whether no measurement of any run failed."""
        return not self.n_failed and all(run.result and run.result.publishable for run in self.runs)

    @property
    def all_metrics(self) -> list[Metric]:
        """All metrics of all runs."""
        recorded = [metric for run in self.runs if run.result for metric in run.result.metrics]
        return recorded + [metric for metric, _ in self.pooled]

    def metrics(self, key: str) -> list[Metric]:
        """The metric in each run that has it."""
        return [metric for metric in self.all_metrics if metric.key == key]

    def blank(self, key: str) -> float:
        """The largest share of blank texts behind a metric, over the runs.

        A metric may observe prompts, each with several texts; of its task and group, the one with the most observations
        has one a text.
        """
        shares = [0.0]
        for run in self.runs:
            recorded = run.result.metrics if run.result else []
            for metric in recorded:
                if metric.key == key and metric.n_empty:
                    same = [one.n for one in recorded if (one.task, one.group) == (metric.task, metric.group)]
                    shares.append(metric.n_empty / max(metric.n_empty, *same))
        return max(shares)

    def evidence(self, key: str) -> list[Evidence]:
        """The evidence of every run, or nothing where one has none."""
        if any(metric.key == key for metric, _ in self.pooled):
            found = [evidence for _, evidence in self.pooled if evidence]
        else:
            found = [run.evidence[key] for run in self.runs if key in run.evidence]
        return found if len(found) == len(self.runs) else []

    def system(self, *, is_reference: bool, flags: tuple[str, ...] = ()) -> System:
        """What a table says of it."""
        return System(
            label=self.label,
            method=clean(self.method),
            config=self.config,
            variant=self.runs[0].variant,
            seeds=tuple(run.manifest.seed for run in self.runs),
            run_ids=tuple(clean(run.id) for run in self.runs),
            is_base=self.method == BASE,
            is_one_training=self.is_one_training,
            is_reference=is_reference,
            publishable=self.publishable,
            n_failed=self.n_failed,
            seconds=None if None in (took := [run.seconds for run in self.runs]) else sum(filter(None, took)),
            flags=tuple(clean(flag, 60) for flag in flags),
        )


def finished_runs(runs: Sequence[Run], notes: Notes) -> list[Run]:
    """The finished runs, the latest of each method, configuration and seed, oldest first."""
    ordered = by_age(runs)
    wrongs = {run.path: wrong for run in ordered if (wrong := faults(run))}
    counting = latest(run for run in ordered if run.result is not None and run.path not in wrongs)
    older = {replacement.later.path: replacement.older for replacement in counting.replaced}
    for run in ordered:
        if run.result is None:
            notes.add(f"Left out: run {run.id} has not finished ({run.status}).")
        elif run.path in wrongs:
            notes.add(f"Left out: run {run.id} is damaged ({wrongs[run.path][0]}).")
        elif run.path in older:
            notes.add(f"Left out: run {older[run.path].id}, replaced by the later {run.id}.")
    if not counting.runs and wrongs:
        damaged = next(run for run in ordered if run.path in wrongs)
        what = f"run {clean(damaged.id)} is damaged ({clean(wrongs[damaged.path][0])})"
        raise MissingError(what, mend="run that experiment again")
    if not runs:
        raise MissingError("no run is given", mend="name one; 'bench run' makes them")
    if not counting.runs:
        what = f"none of these runs has finished ({listed([clean(run.id) for run in runs], _SHOWN)})"
        raise MissingError(what, mend="'bench run' resumes an experiment where it stopped")
    return list(counting.runs)


def columns_of(runs: Sequence[Run], notes: Notes) -> list[Column]:
    """Runs by method and configuration, the base first, then in order of first appearance."""
    ordered = sorted(grouped(runs), key=lambda group: group[0].method != BASE)
    columns = [
        Column(label, sorted(group, key=lambda run: run.manifest.seed))
        for label, group in zip(_labels(ordered), ordered, strict=True)
    ]
    if len({tuple(run.manifest.seed for run in column.runs) for column in columns}) > 1:
        notes.add(f"The systems were not run with the same seeds ({_seeds(columns)}).")
    return columns


def _seeds(columns: Sequence[Column]) -> str:
    """The systems of each set of seeds: of each the first, and how many more there are."""
    by_seeds: dict[str, list[str]] = {}
    for column in columns:
        seeds = ", ".join(str(run.manifest.seed) for run in column.runs)
        by_seeds.setdefault(seeds, []).append(column.label)
    return "; ".join(f"{listed(labels, _LISTED)}: {seeds}" for seeds, labels in by_seeds.items())


def reference_of(columns: Sequence[Column], against: str | None) -> int | None:
    """The column that the others are compared with: the one asked for, or the base, or None."""
    if against is None:
        return 0 if columns[0].method == BASE else None
    return place_of(columns, against)


def place_of(columns: Sequence[Column], name: str) -> int:
    """The column of that label, or the one of that method.

    Raises:
        UsageError: there is none, or several are of that method.
    """
    labels = [column.label for column in columns]
    places = [n for n, label in enumerate(labels) if label == name]
    places = places or [n for n, column in enumerate(columns) if column.method == name]
    if len(places) == 1:
        return places[0]
    if places:
        told = ", ".join(f"'{labels[n]}'" for n in places[:_SHOWN])
        raise UsageError(f"{len(places)} columns are of the method '{name}'", mend=f"give a label: {told}")
    raise UsageError(f"no column is called '{name}'", mend=did_you_mean(name, labels))


def _labels(groups: Sequence[Sequence[Run]]) -> list[str]:
    """A label for each group; where two are the same, with the settings that set them apart, and at last a number.

    Where systems learned from sets that were not made alike, each label says how its own were.
    """
    labels = [clean(group[0].label, _LABEL) for group in groups]
    made = [_made(group[0]) for group in groups]
    configs = [flat(settings_of(group[0])) | one for group, one in zip(groups, made, strict=True)]
    alike: dict[str, list[dict[str, Any]]] = {}
    for label, config in zip(labels, configs, strict=True):
        alike.setdefault(label, []).append(config)
    apart = {label: _without_hash(_differing(same)) for label, same in alike.items()}
    of_sets = _differing([one for one in made if one])
    full: list[str] = []
    for label, config in zip(labels, configs, strict=True):
        keys = sorted({*apart[label], *of_sets})
        settings = ", ".join(f"{key}={_told(config, key)}" for key in keys if _is_said(config, key))
        full.append(clean(f"{label} ({settings})", _FULL) if settings else label)
    return numbered(full)


def numbered(labels: Sequence[str]) -> list[str]:
    """Labels of which none is another's: of several that are the same, the later ones have the next free number."""
    told: list[str] = []
    for label in labels:
        free = (again for again in (f"{label} #{number}" for number in count(2)) if again not in {*labels, *told})
        told.append(next(free) if label in told else label)
    return told


def _made(run: Run) -> dict[str, Any]:
    """How its suite has the sets made that a run learned from, which people know by these words and not by a hash."""
    made = run.manifest.suite.get(_SETS) if run.manifest.method.get("sets_key") else None
    return flat({_SETS: made or {}})


def _differing(configs: Sequence[dict[str, Any]]) -> list[str]:
    """The settings in which configurations differ, by name."""
    return [key for key in sorted({k for c in configs for k in c}) if len({_told(c, key) for c in configs}) > 1]


def _without_hash(keys: list[str]) -> list[str]:
    """Without the sets' hash where something is said of how they were made."""
    said = any(key.startswith(f"{_SETS}.") for key in keys)
    return [key for key in keys if not (said and key == _SETS)]


def _is_said(config: dict[str, Any], key: str) -> bool:
    """A suite leaves out what it has at its default of how sets are made: nothing is to be said of that."""
    return key in config or not key.startswith(f"{_SETS}.")


def _told(config: dict[str, Any], key: str) -> str:
    """A setting as a label tells it: one that a record does not have is not one that is null."""
    return str(config[key]) if key in config else "unset"
