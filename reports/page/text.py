"""Text that a model wrote, made harmless and visible; the page shows no text that has not been through here."""

import re
from dataclasses import dataclass

LONGEST = 4000
"""Characters of a text that the page shows; of a longer one it says how much it leaves out."""

_OPEN, _CLOSE = "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}", "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}"
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
    """A text in which what steers or hides stands as its number (`U+001B`); tabulators and line ends stay."""
    # Numbers, and not the pictures that Unicode has for control characters: many fonts lack these.
    return _ODD.sub(lambda match: f"{_OPEN}U+{ord(match[0]):04X}{_CLOSE}", text)


def shown(text: str) -> Shown:
    """A text as the page shows it: cut to `LONGEST` characters, and visible."""
    return Shown(visible(text[:LONGEST]), max(0, len(text) - LONGEST))
