"""Names of temporary files and folders: they say for what, and by which process (see `bench.store.leftovers`)."""

import hashlib
import os
from pathlib import Path

from bench.store.process import own_name

_LONGEST = 100  # bytes of a target's name that stand in the temporary one: a name has 255 at most


def affixes(target: Path) -> tuple[str, str]:
    """Prefix and suffix, around eight random letters, of the name of a temporary file or folder beside `target`."""
    return f".{shortened(target.name)}.{own_name()}.", ".tmp"


def beside(target: Path) -> Path:
    """A name beside a path that nobody has."""
    prefix, suffix = affixes(target)
    return target.with_name(f"{prefix}{os.urandom(4).hex()}{suffix}")


def shortened(name: str) -> str:
    """A name as it stands in temporary ones: a hash of it where it is long."""
    raw = os.fsencode(name)
    return name if len(raw) <= _LONGEST else hashlib.sha256(raw).hexdigest()[:16]
