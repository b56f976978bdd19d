"""The figures of the page, as images, so that nothing in them can run."""

from base64 import b64encode
from collections.abc import Sequence

from bench.errors import BenchError
from bench.store.runs import Run
from reports.page.elements import scrolling, text
from reports.plots import FIGURES, draw, to_svg


def drawings(runs: Sequence[Run]) -> str:
    """The figures that the runs have the measurements for, as HTML, and why others are not there."""
    parts, absent = [], []
    attribute = next((run.attribute for run in runs), "toxicity")
    for name in FIGURES:
        title = name
        try:
            info = FIGURES[name]  # another package's may be broken: the page is made without it
            title = info.heading(attribute)
            figure = draw(name, runs, wide=True)
        except BenchError as error:
            absent.append(f"<li>{text(title)}: {text(error.what)}.</li>")
            continue
        image = f'<img src="{_image(to_svg(figure))}" alt="{text(str(figure.get_label()))}">'
        parts.append(
            f"<figure>{scrolling(title, image)}"
            f"<figcaption><strong>{text(title)}</strong>: {text(info.summary)}.</figcaption></figure>"
        )
    return f'<div class="figures">{"".join(parts)}</div>' + (
        f"<p>Not drawn:</p><ul>{''.join(absent)}</ul>" if absent else ""
    )


def _image(svg: str) -> str:
    return f"data:image/svg+xml;base64,{b64encode(svg.encode()).decode('ascii')}"
