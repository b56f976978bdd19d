"""What verbs write: JSON and tables on stdout, files that the user named."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.printed import inert_json

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bench.errors import UsageError


def print_json(value: Any) -> None:
    """Print a JSON value on stdout, as `as_json` writes it."""
    print(as_json(value))


def as_json(value: Any) -> str:
    """A JSON value as text; NaN and infinity are refused, what is absent is null.

    In ASCII: what steers a terminal or turns a text's direction is escaped, like all that lies beyond.
    """
    return inert_json(json.dumps(value, indent=1, allow_nan=False))


def print_json_lines(rows: Iterable[Any]) -> None:
    """Print JSON values on stdout, a line each, as `print_json` does."""
    for row in rows:
        print(inert_json(json.dumps(row, allow_nan=False)))


def print_grid(grid: "RenderableType") -> None:
    """Print what rich draws, such as a table, on stdout."""
    # Imported here: rich is slow to load.
    from reports.table.terminal import print_drawn

    print_drawn(lambda _: grid, sys.stdout)


def check_output(path: Path) -> None:
    """Find out before any work whether a file that the user named can be written.

    Raises:
        UsageError: none can.
    """
    above = next((one for one in path.absolute().parents if one.exists()), path)
    if path.is_dir() or not above.is_dir():
        raise _no_file(path)


def write_output(path: Path, text: str) -> None:
    """Write a file that the user named.

    Raises:
        UsageError: no file can be written there.
    """
    from bench.store.files import write_text

    try:
        write_text(path, text)
    except (FileExistsError, IsADirectoryError, NotADirectoryError):
        raise _no_file(path) from None


def _no_file(path: Path) -> "UsageError":
    from bench.errors import UsageError

    return UsageError(f"no file can be written at {path}", mend="it, or a part of it, is something else")
