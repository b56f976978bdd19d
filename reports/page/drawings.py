"""The figures of the page: each in two widths, as images, so that nothing in them can run."""

from base64 import b64encode
from collections.abc import Sequence

from bench.errors import MissingError
from bench.store.runs import Run
from reports.figures import FIGURES, draw, to_svg
from reports.page.elements import text

_NARROW = "(max-width: 45rem)"


def drawings(runs: Sequence[Run]) -> str:
    """The figures that the runs have the measurements for, as HTML, and why others are not there."""
    parts, absent = [], []
    for name, info in FIGURES.items():
        try:
            wide, narrow = (draw(name, runs, wide=is_wide) for is_wide in (True, False))
        except MissingError as error:
            absent.append(f"<li>{text(info.title)}: {text(error.what)}.</li>")
            continue
        told = text(str(wide.get_label()))
        parts.append(
            f'<figure><picture><source media="{_NARROW}" srcset="{_image(to_svg(narrow))}">'
            f'<img src="{_image(to_svg(wide))}" alt="{told}"></picture>'
            f"<figcaption><strong>{text(info.title)}</strong>: {text(info.summary)}.</figcaption></figure>"
        )
    return f'<div class="figures">{"".join(parts)}</div>' + (
        f"<p>Not drawn:</p><ul>{''.join(absent)}</ul>" if absent else ""
    )


def _image(svg: str) -> str:
    return f"data:image/svg+xml;base64,{b64encode(svg.encode()).decode('ascii')}"
