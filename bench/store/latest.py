"""Which runs a folder's last request was for, so that other commands need no names."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from bench.store.files import read_json, write_json

_NAME = ".last.json"


def remember(root: Path, folders: Sequence[Path]) -> None:
    """Keep which of a folder's runs were asked for together; nothing changes where there are none.

    A folder that cannot be written stays as it is: it is no reason for what has been found in it to fail.
    """
    if not folders:
        return
    with contextlib.suppress(OSError):
        write_json(root / _NAME, [path.name for path in folders])


def latest(root: Path) -> list[Path]:
    """The folders of the last request's runs, less those that are gone; none where nothing is known of it."""
    try:
        names = read_json(root / _NAME)
    except (OSError, ValueError, RecursionError):
        return []
    if not isinstance(names, list) or not all(isinstance(name, str) and Path(name).name == name for name in names):
        return []
    return [root / name for name in names if name and (root / name / "manifest.json").is_file()]
