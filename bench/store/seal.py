"""Seals of what is kept in the cache, and the way out of it for what fails its seal.

A seal tells what was changed, cut, mixed up or put in another's place. It is no signature: who may write in the cache
can make one.
"""

import os
import shutil
from pathlib import Path
from typing import Any

from bench.hashing import hash_json
from bench.progress import Progress

SEAL = "seal"
"""The key under which a row or a note carries its seal."""


def sealed(row: dict[str, Any], under: str) -> dict[str, Any]:
    """A row with its seal.

    Args:
        row: JSON values.
        under: What the row belongs to, so that it fits nowhere else.
    """
    bare = {key: value for key, value in row.items() if key != SEAL}
    return {**bare, SEAL: hash_json([under, bare])[:32]}


def is_sound(row: Any, under: str) -> bool:
    """Whether a row is what was sealed."""
    try:
        return isinstance(row, dict) and SEAL in row and sealed(row, under)[SEAL] == row[SEAL]
    except ValueError:  # NaN
        return False


def set_aside_in_cache(path: Path, cause: str, progress: Progress) -> None:
    """Put a damaged file or folder of the cache beside its place, over an earlier one, and say so in one line."""
    aside = path.with_name(f"{path.name}.broken")
    if aside.is_dir() and not aside.is_symlink():
        shutil.rmtree(aside, ignore_errors=True)
    else:
        aside.unlink(missing_ok=True)
    os.replace(path, aside)  # noqa: PTH105 - of a folder too
    progress.note(f"{cause}: it is made anew, and what was there is {aside}")
