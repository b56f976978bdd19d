"""Text that a model wrote, made harmless and visible; the page shows no text that has not been through here."""

import re
from dataclasses import dataclass

LONGEST = 4000
"""Characters of a text that the page shows; of a longer one it says how much it leaves out."""

_CONTROL, _DELETE, _PICTURES = 0x20, 0x7F, 0x2400
_ODD = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but the tabulator and the end of a line: escapes, NUL
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # what turns the direction of text
    "\u00ad\u180e\u200b\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"  # what cannot be seen
    "\u2028\u2029"  # what ends a line in a script
    "\ud800-\udfff"  # halves of a pair: no file can hold them
    "]"
)


@dataclass(frozen=True)
class Shown:
    """A text as the page shows it.

    Attributes:
        text: Its beginning, with every character visible.
        left_out: Characters that the page leaves out.
    """

    text: str
    left_out: int


def visible(text: str) -> str:
    """A text in which what steers or hides has a visible sign in its place; tabulators and line ends stay."""
    return _ODD.sub(_sign, text)


def shown(text: str) -> Shown:
    """A text as the page shows it: cut to `LONGEST` characters, and visible."""
    return Shown(visible(text[:LONGEST]), max(0, len(text) - LONGEST))


def _sign(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < _CONTROL:
        return chr(_PICTURES + code)
    return (
        "\N{SYMBOL FOR DELETE}"
        if code == _DELETE
        else f"\N{LEFT-POINTING ANGLE BRACKET}U+{code:04X}\N{RIGHT-POINTING ANGLE BRACKET}"
    )
