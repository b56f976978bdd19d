"""What a killed process leaves: temporary files and folders, whose names say who made them, and leases.

A name is `.TARGET.MACHINE-PID-START.RANDOM.tmp`. Where the process is gone, the next one that starts removes it. Of
other machines' leases none is judged by its date: it goes where a sweep saw it before, long enough ago, as it is now.
"""

import contextlib
import os
import re
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from bench.store import lease
from bench.store.process import NAME, lives, machine
from bench.store.temporary import beside, shortened

_NAME = re.compile(rf"\.(?P<target>.+)\.{NAME}\.[0-9A-Za-z_]{{8}}\.tmp", re.DOTALL)
_FOREIGN_SECONDS = 24 * 3600
"""How old another machine's leftover must be: whether its process lives cannot be seen from here."""


_DEPTH = 2  # artifacts/KEY, runs/ID/samples: nothing is written below


def sweep(root: Path) -> int:
    """Remove what dead processes left in a folder and two levels below it; return how many things that were.

    What cannot be read or removed stays: a sweep never keeps work from being done.
    """
    cleared = 0
    for place, folders, names in os.walk(root):
        cleared += _clear(Path(place), [*folders, *names])
        if len(Path(place).relative_to(root).parts) == _DEPTH:
            folders.clear()
    return cleared


def sweep_beside(target: Path) -> None:
    """Remove what dead processes left that were writing this file or folder."""
    prefix = f".{shortened(target.name)}."
    with contextlib.suppress(OSError):
        _clear(target.parent, [path.name for path in target.parent.iterdir() if path.name.startswith(prefix)])


def drop(path: Path) -> None:
    """Remove a folder in one step as others see it: half of it is never taken for the whole, whenever we are killed."""
    lease.assert_held(path)
    aside = beside(path)
    path.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def _clear(place: Path, names: Iterable[str]) -> int:
    cleared = 0
    for name in names:
        path = place / name
        with contextlib.suppress(OSError):
            if name.endswith(lease.SUFFIX):
                cleared += lease.clear(path)
            elif (match := _NAME.fullmatch(name)) and _is_dead(path, match):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
                cleared += 1
    return cleared


def _is_dead(path: Path, match: re.Match[str]) -> bool:
    """Whether nobody will finish it."""
    if match["machine"] == machine():
        return lives(int(match["pid"]), match["start"]) is False
    try:
        old = time.time() - path.stat().st_mtime > _FOREIGN_SECONDS
    except OSError:
        return False
    return old and not lease.is_held(path.with_name(f".{match['target']}{lease.SUFFIX}"))
