"""The few HTML elements that the page is made of; every text is cleaned and escaped here."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from reports.table.cells import clean

_LONG = 400
DASH = "\N{EN DASH}"


def text(value: object, limit: int = _LONG) -> str:
    """A string out of a record as HTML: one line, no control characters, escaped; what is absent is a dash.

    What is longer than `limit` ends in an ellipsis.
    """
    return DASH if value is None or value == "" else escape(clean(value, limit))


def code(value: object) -> str:
    """A hash or an id, or a dash."""
    return DASH if value is None or value == "" else f"<code>{text(value)}</code>"


def pairs(found: Mapping[str, str]) -> str:
    """A list of names and what they stand for; the values are HTML."""
    inner = "".join(f"<div><dt>{text(name)}</dt><dd>{value}</dd></div>" for name, value in found.items())
    return f"<dl>{inner}</dl>"


def grid(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table that can be sorted and scrolls sideways on its own; the cells are HTML, the first one heads its row."""
    columns = "".join(f'<th scope="col">{text(name)}</th>' for name in head)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
        for first, *cells in rows
    )
    return scrolling(
        caption,
        f"<table><caption>{text(caption)}</caption><thead><tr>{columns}</tr></thead><tbody>{body}</tbody></table>",
    )


def scrolling(name: str, inner: str) -> str:
    """What may be wider than the window, in a box that scrolls sideways, which a keyboard can reach."""
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{text(name)}">{inner}</div>'


def folded(summary: str, inner: str) -> str:
    """A part that is closed until it is opened; it needs no script."""
    return f"<details><summary>{text(summary)}</summary>{inner}</details>"
