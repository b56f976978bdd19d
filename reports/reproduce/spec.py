"""What is to be made of a paper: its tables and figures, the runs that they take, and what the paper printed."""

from importlib import resources
from typing import Literal

from pydantic import Field, model_validator

from bench.errors import UsageError, did_you_mean
from bench.parsing import read_yaml
from bench.spec import Spec, validate
from reports.table.layout import ColumnSpec


class PrintedTable(Spec):
    """Figures as the paper has them; its rows need not be the methods that are run here."""

    columns: list[str] = Field(min_length=1)
    rows: dict[str, list[float | str | None]] = Field(min_length=1)

    @model_validator(mode="after")
    def _of_one_width(self) -> "PrintedTable":
        if odd := next((name for name, row in self.rows.items() if len(row) != len(self.columns)), None):
            raise ValueError(f"row '{odd}' has another number of figures than there are columns")
        return self


class Part(Spec):
    """A table or a figure of the paper.

    `suites` names, for each scale, the suites that measure it; `methods` those that stand beside the base. `columns`
    says what the table here shows, `drawing` which figure is drawn. `published` has what the paper printed,
    `not_at_hand` what it printed that is not known here.
    """

    name: str = Field(min_length=1)
    title: str
    suites: dict[str, list[str]]
    methods: list[str] = Field(min_length=1)
    columns: list[ColumnSpec] = Field([])
    drawing: Literal["preference", "map"] | None = None
    published: PrintedTable | None = None
    not_at_hand: str | None = None
    differs: list[str] = Field([])


class Scale(Spec):
    """A size at which a paper is made anew, and what differs from it in all parts."""

    description: str
    differs: list[str] = Field([])


class Paper(Spec):
    """A paper."""

    name: str
    title: str
    source: str
    scales: dict[str, Scale]
    parts: list[Part]

    @model_validator(mode="after")
    def _every_scale_measured(self) -> "Paper":
        if odd := next((part.name for part in self.parts if set(part.suites) != set(self.scales)), None):
            raise ValueError(f"'{odd}' does not say the suites of every scale")
        return self

    def chosen(self, only: list[str]) -> list[Part]:
        """The parts of these names; all where none is named.

        Raises:
            UsageError: there is no such part.
        """
        known = {part.name.lower(): part for part in self.parts}
        for name in only:
            if name.lower() not in known:
                mend = did_you_mean(name, [part.name for part in self.parts])
                raise UsageError(f"{self.name} has no part '{name:.60}'", mend=mend)
        return [known[name] for name in dict.fromkeys(map(str.lower, only))] or self.parts


def papers() -> list[str]:
    """The names of the papers that can be made anew."""
    folder = resources.files("reports.reproduce")
    return sorted(one.name.removesuffix(".yaml") for one in folder.iterdir() if one.name.endswith(".yaml"))


def load_paper(name: str) -> Paper:
    """A paper by its name.

    Raises:
        UsageError: there is none.
    """
    if name not in papers():
        raise UsageError(f"no paper '{name:.60}'", mend=did_you_mean(name, papers()))
    with resources.as_file(resources.files("reports.reproduce") / f"{name}.yaml") as path:
        return validate(Paper, {"name": name, **read_yaml(path)}, str(path))
