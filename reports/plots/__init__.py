"""Figures from records: `draw` makes one of `FIGURES`, `to_svg` puts it into a page, `save` writes it to a file.

Nothing here loads matplotlib before a figure is drawn.
"""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UsageError, did_you_mean

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


FIGURES: Mapping[str, FigureInfo] = {
    info.name: info
    for info in (
        FigureInfo(
            "tradeoff",
            "{attribute} against utility",
            "every system by what is controlled (toxicity) and what it costs, with intervals and the Pareto front",
            ("metric", "utility"),
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
        MissingError: the runs have nothing to draw, none has finished, or they are not comparable.
    """
    if name not in FIGURES:
        raise UsageError(f"there is no figure '{name}'", mend=did_you_mean(name, FIGURES))
    given = {key: value for key, value in options.items() if value is not None}
    for key in given:
        if key not in FIGURES[name].options:
            raise UsageError(
                f"the figure '{name}' has no option '{key}'",
                mend=did_you_mean(key, FIGURES[name].options) if FIGURES[name].options else None,
            )
    from reports.plots.style import styled

    with styled():
        figure: Figure = importlib.import_module(f"reports.plots.{name}").draw(runs, wide=wide, **given)
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
    from bench.store.files import write_bytes
    from reports.plots.output import render

    form = form_of(path)
    try:
        write_bytes(path, render(figure, form))
    except OSError as error:
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
