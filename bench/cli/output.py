"""What verbs write: JSON on stdout, files that the user named, text that does not steer a terminal."""

import json
import unicodedata
from pathlib import Path
from typing import Any


def print_json(value: Any) -> None:
    """Print a JSON value on stdout; NaN and infinity are refused, what is absent is null.

    In ASCII: what steers a terminal or turns a text's direction is escaped, like all that lies beyond.
    """
    print(json.dumps(value, indent=1, allow_nan=False))


def write_output(path: Path, text: str) -> None:
    """Write a file that the user named.

    Raises:
        UsageError: no file can be written there.
    """
    from bench.errors import UsageError
    from bench.store.files import write_text

    try:
        write_text(path, text)
    except (FileExistsError, IsADirectoryError, NotADirectoryError):
        raise UsageError(f"no file can be written at {path}", mend="it, or a part of it, is something else") from None


def plain(text: str) -> str:
    """A text without control characters: what a model, a record or a file holds must not steer a terminal."""
    return "".join(c if unicodedata.category(c)[0] != "C" else "\N{REPLACEMENT CHARACTER}" for c in text)
