"""Paths as people write them."""

import os
from pathlib import Path


def expanded(ref: str | Path) -> Path:
    """A path with `~` made the user's home; left as it is where there is no such user."""
    return Path(os.path.expanduser(ref))  # noqa: PTH111 - pathlib's own raises where there is none
