"""From a figure to bytes: SVG, PDF, PNG, the same ones each time."""

import hashlib
import io
import re
import warnings
from html import escape
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from reports.plots.style import styled

_DIGITS = 10
_UNDATED: dict[str, dict[str, Any]] = {
    "svg": {"Date": None, "Creator": None, "Format": None, "Type": None},
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
    "png": {"Software": None},
}
_TITLE = {"svg": "Title", "pdf": "Title", "png": "Title"}
_CANVAS: dict[str, Any] = {"svg": FigureCanvasSVG, "pdf": FigureCanvasPdf, "png": FigureCanvasAgg}
_IDS = re.compile(r'(\bid="|\bhref="#|url\(#)')
_RULE = re.compile(r'\s*<style type="text/css">.*?</style>', re.DOTALL)
_LINES = "stroke-linejoin: round; stroke-linecap: butt"  # what matplotlib's rule says, for the whole page it is put in


def render(figure: Figure, form: str) -> bytes:
    """A figure as a file's bytes; `form` is `svg`, `pdf` or `png` (300 dots an inch)."""
    if form == "svg":
        return f'<?xml version="1.0" encoding="utf-8"?>\n{inline_svg(figure)}\n'.encode()
    return _drawn(figure, form)


def inline_svg(figure: Figure) -> str:
    """A figure as one <svg> element: no script, comment, metadata or rule of style, ids of its own, a title."""
    text = _drawn(figure, "svg").decode("utf-8")
    text = re.sub(r"<!--.*?-->\s*", "", text[text.index("<svg") :], flags=re.DOTALL).strip()
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = _RULE.sub("", text)
    prefix = f"f{hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]}-"
    text = _IDS.sub(rf"\1{prefix}", text)
    head, _, rest = text.partition(">")
    rest = re.sub(r"^\s*<title>.*?</title>", "", rest, flags=re.DOTALL)
    told = escape(str(figure.get_label()))
    return f'{head} role="img" aria-label="{told}" style="{_LINES}"><title>{told}</title>{rest}'


def _drawn(figure: Figure, form: str) -> bytes:
    buffer = io.BytesIO()
    with styled(), warnings.catch_warnings():
        # A label in a script that the font lacks is drawn as boxes; that is nothing a user can mend.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        metadata = {_TITLE[form]: str(figure.get_label()), **_UNDATED[form]}
        _CANVAS[form](figure).print_figure(buffer, format=form, metadata=metadata)
    return buffer.getvalue()
