"""Rows of data files: JSON lines, whatever is wrong with one said with its number and without its text."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.errors import UsageError


def read_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a JSONL file, each with the place to name in an error; blank lines are passed over.

    Raises:
        UsageError: the file is missing or not UTF-8, or a line is not a JSON object.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        raise UsageError(f"no such file: {path}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start})") from None
    for number, line in enumerate(lines, 1):
        if line.strip():
            where = f"{path}, line {number}"
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise UsageError(f"{where}: not JSON ({error.msg} at column {error.colno})") from None
            if not isinstance(row, dict):
                raise UsageError(f"{where}: not a JSON object")
            yield where, row
