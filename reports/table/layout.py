"""Layouts: which metrics a table shows, in which order and under which names; those of the suite and a user's own."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from bench.errors import MissingError, UsageError, did_you_mean
from bench.parsing import read_yaml
from bench.spec import Spec, validate
from bench.store.record import Metric, Role
from reports.table.cells import MetricRow, System, Table, TableCell, clean
from reports.table.order import sort
from reports.table.sheet import ARROWS, Entry, Head, Part, Sheet, entry, legend_of, system_head, word
from reports.table.verdict import sentences

_SENTENCES = 8
"""Systems that have a sentence above the table: twenty would fill a screen before it."""


class ColumnSpec(Spec):
    """A metric, or all that a pattern matches, and how to show it.

    `label` may name the parts of the metric's key: `{task}`, `{group}`, `{name}`; brackets around none are left out.
    """

    metric: str = Field("*", min_length=1, description="a metric's key, task/name or task/group/name; * is anything")
    role: Role | None = Field(None, description="only metrics of this role: attribute, fluency, utility, ...")
    primary: bool = Field(False, description="only metrics that speak for their role")
    label: str | None = None
    under: str | None = Field(None, description="a heading shared with neighbours")
    headline: bool = Field(False, description="only what the headline scorer says, not a further one")
    digits: int | None = Field(None, ge=0, le=9)
    percent: bool = Field(False, description="a share as a percentage")

    @model_validator(mode="after")
    def _says_which(self) -> "ColumnSpec":
        if not {"metric", "role"} & self.model_fields_set:
            raise ValueError("a column says its metric or its role")
        return self

    @property
    def told(self) -> str:
        """What it asks for, in a message."""
        return f"{self.metric} of role {self.role}" if self.role else self.metric

    def matches(self, metric: Metric | MetricRow) -> bool:
        """Whether it shows a metric."""
        return (
            fnmatchcase(metric.key, self.metric)
            and self.role in (None, metric.role)
            and (metric.primary or not self.primary)
            and (metric.scorer is None or not self.headline)
        )


class Published(Spec):
    """Figures from a publication, shown beside the runs' own and marked as such."""

    source: str = Field(min_length=1, description="where they are from, and what was measured there")
    columns: list[str] = Field(min_length=1, description="a name for each figure")
    figures: dict[str, list[float | str | None]] = Field(description="by method, one figure a column")


class Layout(Spec):
    """What a table shows."""

    name: str
    title: str | None = Field(None, description="heading on a page; {attribute} is what the suite controls")
    description: str = Field(description="what it shows; {attribute} as in the title")
    systems: Literal["rows", "columns"] = "rows"
    show: list[Part] = Field(["interval"], description="besides the figure")
    options: bool = Field(False, description="a column for each option in which the systems differ")
    columns: list[ColumnSpec] = Field(min_length=1)
    published: Published | None = None
    sort: str | None = Field(None, description="order of the systems: a metric's key, or attribute; as given without")
    verdict: bool = Field(False, description="a sentence a method above, and no notes on what was taken of the data")

    def heading(self, attribute: str) -> str:
        """Its title for runs whose suite controls an attribute."""
        return (self.title or self.name).replace("{attribute}", attribute.replace("_", " ")).capitalize()

    def summary(self, attribute: str) -> str:
        """What it shows of such runs."""
        return self.description.replace("{attribute}", attribute.replace("_", " "))

    def wants(self, metric: Metric | MetricRow) -> bool:
        """Whether a metric is shown."""
        return any(column.matches(metric) for column in self.columns)


def layouts() -> list[str]:
    """The names of the layouts that come with the suite."""
    folder = resources.files("reports.table") / "layouts"
    return sorted(one.name.removesuffix(".yaml") for one in folder.iterdir() if one.name.endswith(".yaml"))


def load_layout(name: str) -> Layout:
    """A layout by its name, or from a YAML file.

    Raises:
        UsageError: there is none, or the file does not hold one.
    """
    if name in layouts():
        with resources.as_file(resources.files("reports.table") / "layouts" / f"{name}.yaml") as path:
            return validate(Layout, {"name": name, **read_yaml(path)}, str(path))
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        raise UsageError(f"no layout '{name}'", mend=f"{did_you_mean(name, layouts())}, or give a file .yaml")
    return validate(Layout, {"name": path.stem, "description": "", **read_yaml(path)}, str(path))


@dataclass(frozen=True)
class _Shown:
    """A metric as a layout shows it."""

    row: MetricRow
    spec: ColumnSpec

    @property
    def head(self) -> Head:
        row = self.row
        names = {"task": row.task, "group": row.group or "", "name": row.name}
        label, under = self.spec.label, self.spec.under
        if label is None:
            label = "{name}" if under else "{task} {group} {name}"
        silent = " (no signal)" if row.has_signal is False else ""
        told = f"{_named(label, names)}{f' ({row.scorer})' if row.scorer else ''}{silent}"
        return Head(told, _named(under, names) if under else None, ARROWS[row.higher_is_better])


def _named(pattern: str, names: dict[str, str]) -> str:
    for key, name in names.items():
        pattern = pattern.replace(f"{{{key}}}", name.replace("_", " "))
    return clean(" ".join(pattern.replace("()", "").split()), 80)


def arrange(table: Table, layout: Layout, marked: Collection[int] | None = None) -> Sheet:
    """Lay a table out.

    Args:
        table: The table.
        layout: What to show of it.
        marked: The footnotes that have numbers, for sheets that share them; None for those of the figures shown.

    Raises:
        MissingError: the runs have measured nothing that the layout shows.
        UsageError: it sorts by what the runs have not measured.
    """
    if layout.sort:
        table = sort(table, layout.sort)
    shown = list(_shown(table, layout))
    if not shown:
        wanted = ", ".join(column.told for column in layout.columns)
        raise MissingError(
            clean(f"these runs have measured nothing that the layout '{layout.name}' shows ({wanted})", 400),
            mend="take another layout",
        )
    numbers = sorted(marked_of([one.row for one in shown]) if marked is None else marked)
    metrics = [[_entry(one, cell, layout, numbers) for cell in one.row.cells] for one in shown]
    extra = [*_options(table, layout), *_published(table.systems, layout)]
    heads = _collapsed([one.head for one in shown], layout) + [head for head, _ in extra]
    by_metric = metrics + [entries for _, entries in extra]
    systems = [system_head(system) for system in table.systems]
    legend = (*legend_of(table, [one.row for one in shown], layout.show), *_source(layout))
    if layout.systems == "columns":
        columns = tuple(systems)
        rows = tuple((head, tuple(entries)) for head, entries in zip(heads, by_metric, strict=True))
    else:
        columns = tuple(heads)
        rows = tuple((head, tuple(line)) for head, line in zip(systems, zip(*by_metric, strict=True), strict=True))
    said = tuple(sentences(table, _SENTENCES)) if layout.verdict else ()
    told = len(table.footnotes) - (table.n_data_notes if layout.verdict else 0)
    notes = tuple(table.footnotes[n] for n in numbers)
    remarks = tuple(table.footnotes[n] for n in range(told) if n not in numbers)
    return Sheet(table.caption, layout.systems, columns, rows, legend, notes, remarks, table.forced, said)


def marked_of(rows: Sequence[MetricRow]) -> set[int]:
    """The footnotes that any figure of these rows points at."""
    return {number for row in rows for cell in row.cells for number in cell.footnotes}


def _entry(one: _Shown, cell: TableCell, layout: Layout, numbers: Sequence[int]) -> Entry:
    """A figure, whose notes are counted among those that have numbers."""
    found = entry(one.row, cell, layout.show, digits=one.spec.digits, percent=one.spec.percent)
    return replace(found, notes=tuple(numbers.index(note) for note in found.notes))


def _shown(table: Table, layout: Layout) -> Iterator[_Shown]:
    """The metrics in the layout's order, each where it is named first; those that a pattern matches in the table's."""
    seen: set[str] = set()
    for spec in layout.columns:
        for row in table.rows:
            if row.key not in seen and spec.matches(row):
                seen.add(row.key)
                yield _Shown(row, spec)


def _collapsed(heads: Sequence[Head], layout: Layout) -> list[Head]:
    """Down a page, a metric that has a heading to itself names it and needs none."""
    alone = Counter(head.under for head in heads)
    if layout.systems == "rows":
        return list(heads)
    return [
        replace(head, label=f"{head.under} {head.label}", under=None) if head.under and alone[head.under] == 1 else head
        for head in heads
    ]


def _options(table: Table, layout: Layout) -> Iterator[tuple[Head, list[Entry]]]:
    """A column for each option in which systems of one method differ."""
    if not layout.options:
        return
    configs: dict[str, list[dict[str, Any]]] = {}
    for system in table.systems:
        configs.setdefault(system.method, []).append(system.config)
    apart = dict.fromkeys(
        key
        for some in configs.values()
        for key in (key for config in some for key in config)
        if len({repr(config.get(key)) for config in some}) > 1
    )
    for key in apart:
        yield Head(clean(key, 40), "options"), [word(runs[0].setting(key)) for runs in table.runs]


def _published(systems: Sequence[System], layout: Layout) -> Iterator[tuple[Head, list[Entry]]]:
    found = layout.published
    for place, name in enumerate(found.columns if found else ()):
        figures = {method: line[place] for method, line in found.figures.items() if place < len(line)} if found else {}
        yield Head(clean(name, 60), "published, not run here"), [word(figures.get(system.method)) for system in systems]


def _source(layout: Layout) -> Iterator[str]:
    if layout.published:
        yield clean(f"published, not run here: {layout.published.source}", 500)
