"""Figures from records: `draw` makes one of `FIGURES`, `to_svg` puts it into a page, `save` writes it to a file.

Nothing here loads matplotlib before a figure is drawn. Other packages bring figures by the entry point group
`bench.figures`: a name and a module that has `INFO`, a `FigureInfo`, and `draw` (docs/adding-a-figure.md).
"""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import MissingError, UsageError, did_you_mean
from bench.packages import load_point

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bench.store.runs import Run

FORMS = ("svg", "pdf", "png")
"""The forms of a file, by its suffix."""


@dataclass(frozen=True)
class FigureInfo:
    """What a figure shows.

    Attributes:
        name: What it is asked for by.
        title: A heading for it; `{attribute}` stands for what the suite controls.
        summary: What it shows, in one line.
        options: The options of `draw` that it has, beyond `wide`.
    """

    name: str
    title: str
    summary: str
    options: tuple[str, ...] = ()

    def heading(self, attribute: str) -> str:
        """Its title for runs whose suite controls an attribute."""
        return self.title.format(attribute=attribute.replace("_", " ").capitalize())


OWN: Mapping[str, FigureInfo] = {
    info.name: info
    for info in (
        FigureInfo(
            "tradeoff",
            "{attribute} against utility",
            "every system by what is controlled and what it costs, with intervals; better lies where the arrows of "
            "both axes point, and no system lies beyond the dashed line, the Pareto front",
            ("metric", "utility"),
        ),
        FigureInfo(
            "heat",
            "Differences to the base",
            "methods by metrics: how far each is from the base, by what the data can tell, and what the test allows",
        ),
        FigureInfo("sweep", "Strength sweeps", "each method's curve of points along its option", ("utility", "over")),
        FigureInfo("scores", "Distribution of scores", "the share of texts that reach each score", ("attribute",)),
        FigureInfo(
            "groups",
            "Groups and attributes",
            "the attribute by group of prompts, and the scorer's other scores",
            ("metric",),
        ),
        FigureInfo("training", "Training", "loss and mean log-perplexity (phi) of positives and negatives by step"),
        FigureInfo("cost", "Cost", "training time, sampling speed, peak memory, trainable parameters"),
    )
}
"""Our own figures by name."""


@cache
def _brought() -> dict[str, EntryPoint]:
    """Where other packages' figures are, by name; a name of ours stays ours. Nothing is imported."""
    return {point.name: point for point in sorted(entry_points(group="bench.figures")) if point.name not in OWN}


class _Figures(Mapping[str, FigureInfo]):
    """Our figures, then those of installed packages, whose modules are imported when their `FigureInfo` is read."""

    def __getitem__(self, name: str) -> FigureInfo:
        if name in OWN:
            return OWN[name]
        info: FigureInfo = _load(_brought()[name]).INFO
        return info

    def __contains__(self, name: object) -> bool:
        return name in OWN or name in _brought()

    def __iter__(self) -> Iterator[str]:
        yield from OWN
        yield from _brought()

    def __len__(self) -> int:
        return len(OWN) + len(_brought())


FIGURES: Mapping[str, FigureInfo] = _Figures()
"""The figures by name. Reading the entry of a package that is broken raises `MissingError`."""


def _load(point: EntryPoint) -> Any:
    """The module of another package's figure.

    Raises:
        MissingError: it cannot be imported, or is no figure.
    """
    module = load_point(point, "figure")
    if not (isinstance(getattr(module, "INFO", None), FigureInfo) and callable(getattr(module, "draw", None))):
        what = f"figure '{point.name}' cannot be drawn: {point.value} has no FigureInfo INFO or no function draw"
        raise MissingError(what, mend="see docs/adding-a-figure.md")
    return module


def draw(name: str, runs: "Sequence[Run]", *, wide: bool = False, **options: Any) -> "Figure":
    """Draw a figure.

    Args:
        name: One of `FIGURES`.
        runs: Runs that may share a table.
        wide: As wide as a page's text (6.9 in) instead of a column (3.35 in).
        options: Those of the figure; None is as good as leaving one out.

    Returns:
        The figure; its label says what it was made from.

    Raises:
        UsageError: there is no such figure, or it has no such option or value of one.
        MissingError: the runs have nothing to draw, none has finished, they are not comparable, or the figure is
            another package's and cannot be loaded.
    """
    if name not in FIGURES:
        raise UsageError(f"there is no figure '{name}'", mend=did_you_mean(name, FIGURES))
    known = FIGURES[name].options
    given = {key: value for key, value in options.items() if value is not None}
    for key in given:
        if key not in known:
            mend = did_you_mean(key, known) if known else None
            raise UsageError(f"the figure '{name}' has no option '{key}'", mend=mend)
    from reports.plots.style import styled

    module = importlib.import_module(f"reports.plots.{name}") if name in OWN else _load(_brought()[name])
    with styled():
        figure: Figure = module.draw(runs, wide=wide, **given)
    return figure


def to_svg(figure: "Figure") -> str:
    """A figure as an <svg> element to put into a page: no script, no outer reference, no id that another figure has."""
    from reports.plots.output import inline_svg

    return inline_svg(figure)


def save(figure: "Figure", path: Path) -> None:
    """Write a figure to a file whole or not at all; the suffix decides the form, equal figures give equal bytes.

    Raises:
        UsageError: the suffix is none of `FORMS`, or the file cannot be written.
    """
    from bench.store.files import NO_SPACE, write_bytes
    from reports.plots.output import render

    form = form_of(path)
    drawn = render(figure, form)
    try:
        write_bytes(path, drawn)
    except OSError as error:
        if error.errno in NO_SPACE:
            raise
        raise UsageError(f"{path} cannot be written ({error.strerror or type(error).__name__})") from None


def form_of(path: Path) -> str:
    """The form of a file by its suffix.

    Raises:
        UsageError: it is none of `FORMS`.
    """
    form = path.suffix.lower().removeprefix(".")
    if form not in FORMS:
        raise UsageError(f"'{path}' has no form that figures have", mend=f"end it in .{', .'.join(FORMS)}")
    return form
