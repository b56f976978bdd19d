"""What data files hold: text, JSON lines, parquet; whatever is wrong said with its place and without its text."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.errors import UsageError


def read_text(path: Path, encoding: str = "utf-8") -> str:
    """A text file.

    Raises:
        UsageError: the file is missing, or is no UTF-8 text.
    """
    try:
        return path.read_text(encoding=encoding)
    except FileNotFoundError:
        raise UsageError(f"no such file: {path}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start})") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read as text ({type(error).__name__})") from None


def read_parquet(path: Path) -> list[dict[str, Any]]:
    """The rows of a parquet file, as the hub keeps its datasets.

    Raises:
        UsageError: the file is missing, or is none.
    """
    import pandas as pd

    try:
        rows: list[dict[str, Any]] = json.loads(pd.read_parquet(path).to_json(orient="records"))  # lists as lists
    except FileNotFoundError:
        raise UsageError(f"no such file: {path}") from None
    except (ValueError, OSError) as error:
        raise UsageError(f"{path} is no parquet file ({type(error).__name__})") from None
    return rows


def read_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a JSONL file, each with the place to name in an error; blank lines are passed over.

    Raises:
        UsageError: the file is missing or not UTF-8, or a line is not a JSON object.
    """
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if line.strip():
            where = f"{path}, line {number}"
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise UsageError(f"{where}: not JSON ({error.msg} at column {error.colno})") from None
            if not isinstance(row, dict):
                raise UsageError(f"{where}: not a JSON object")
            yield where, row
