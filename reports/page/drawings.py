"""The figures of the page, as images, so that nothing in them can run."""

from base64 import b64encode
from collections.abc import Sequence

from bench.errors import BenchError
from bench.store.runs import Run
from reports.page.elements import scrolling, text
from reports.plots import FIGURES, draw, to_svg

FIRST = "tradeoff"
"""The figure beside the verdict."""


def first_drawing(runs: Sequence[Run]) -> str:
    """The figure of the first screen as HTML; nothing where it cannot be drawn, which `drawings` says."""
    try:
        return _drawing(FIRST, runs)
    except BenchError:
        return ""


def drawings(runs: Sequence[Run]) -> str:
    """The other figures that the runs have the measurements for, as HTML, and why some are not there."""
    parts, absent = [], []
    for name in FIGURES:
        try:
            drawn = _drawing(name, runs)
        except BenchError as error:
            absent.append(f"<li>{text(_title(name, runs))}: {text(error.what)}.</li>")
        else:
            parts += [drawn] if name != FIRST else []
    return f'<div class="figures">{"".join(parts)}</div>' + (
        f"<p>Not drawn:</p><ul>{''.join(absent)}</ul>" if absent else ""
    )


def _drawing(name: str, runs: Sequence[Run]) -> str:
    figure = draw(name, runs, wide=True)
    drawn = f'<img src="{image(to_svg(figure))}" alt="{text(str(figure.get_label()))}">'
    title = _title(name, runs)
    return (
        f"<figure>{scrolling(title, drawn)}"
        f"<figcaption><strong>{text(title)}</strong>: {text(FIGURES[name].summary)}.</figcaption></figure>"
    )


def _title(name: str, runs: Sequence[Run]) -> str:
    """Its heading, or its name where it is of a package that is broken."""
    try:
        return FIGURES[name].heading(next((run.attribute for run in runs), "toxicity"))
    except BenchError:
        return name


def image(svg: str) -> str:
    """An image's address that holds it."""
    return f"data:image/svg+xml;base64,{b64encode(svg.encode()).decode('ascii')}"
