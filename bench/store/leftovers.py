"""What a killed process leaves: temporary files and folders, whose names say who made them.

A name is `.TARGET.MACHINE-PID-START.RANDOM.tmp`. Where the process is gone, the next one that starts removes it.
"""

import contextlib
import hashlib
import os
import platform
import re
import shutil
import time
from collections.abc import Iterable
from functools import cache
from pathlib import Path

_NAME = re.compile(
    r"\.(?P<target>.+)\.(?P<machine>[0-9a-f]{12})-(?P<pid>\d{1,10})-(?P<start>\d{1,20})\.[0-9A-Za-z_]{8}\.tmp",
    re.DOTALL,
)
_LONGEST = 100  # bytes of a target's name that stand in the temporary one: a name has 255 at most
_FOREIGN_SECONDS = 24 * 3600
"""How old another machine's leftover must be: whether its process lives cannot be seen from here."""


_DEPTH = 2  # artifacts/KEY, runs/ID/samples: nothing is written below


def affixes(target: Path) -> tuple[str, str]:
    """Prefix and suffix, around eight random letters, of the name of a temporary file or folder beside `target`."""
    pid = os.getpid()
    return f".{_shortened(target.name)}.{_machine()}-{pid}-{_start_of(pid)}.", ".tmp"


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
    prefix = f".{_shortened(target.name)}."
    with contextlib.suppress(OSError):
        _clear(target.parent, [path.name for path in target.parent.iterdir() if path.name.startswith(prefix)])


def drop(path: Path) -> None:
    """Remove a folder in one step as others see it: half of it is never taken for the whole, whenever we are killed."""
    prefix, suffix = affixes(path)
    aside = path.with_name(f"{prefix}{os.urandom(4).hex()}{suffix}")
    path.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def _clear(place: Path, names: Iterable[str]) -> int:
    cleared = 0
    for name in names:
        match = _NAME.fullmatch(name)
        if match and _is_dead(place / name, match):
            with contextlib.suppress(OSError):
                path = place / name
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
                cleared += 1
    return cleared


def _is_dead(path: Path, match: re.Match[str]) -> bool:
    """Whether nobody will finish it."""
    if match["machine"] == _machine():
        return not _lives(int(match["pid"]), match["start"])
    try:
        old = time.time() - path.stat().st_mtime > _FOREIGN_SECONDS
    except OSError:
        return False
    return old and not is_locked(path.with_name(f".{match['target']}.lock"))


def _lives(pid: int, start: str) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's
        pass
    return _start_of(pid) in (start, "0")


def is_locked(lock_file: Path) -> bool:
    """Whether a process, here or on a machine that shares the disk, holds a lock; one that cannot be tried is held."""
    from filelock import FileLock, Timeout

    if not lock_file.exists():
        return False
    try:
        with FileLock(lock_file, timeout=0):
            return False
    except (Timeout, OSError):
        return True


def _shortened(name: str) -> str:
    raw = os.fsencode(name)
    return name if len(raw) <= _LONGEST else hashlib.sha256(raw).hexdigest()[:16]


@cache
def _machine() -> str:
    """This start of this machine, and within it the container whose process numbers we see."""
    told = [platform.node()]
    for path, read in (("/proc/sys/kernel/random/boot_id", _text), ("/proc/self/ns/pid", os.readlink)):
        with contextlib.suppress(OSError):
            told.append(read(path))
    return hashlib.sha256("\0".join(told).encode("utf-8", "surrogateescape")).hexdigest()[:12]


def _text(path: str) -> str:
    return Path(path).read_text(encoding="ascii").strip()


def _start_of(pid: int) -> str:
    """When a process started, in the kernel's ticks: a later process of the same number has another. "0": unknown.

    One that has ended and that nobody has waited for has none.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
        fields = stat[stat.rindex(b")") :].split()  # the name before them may hold blanks and brackets
        return "" if fields[1] in (b"Z", b"X") else fields[20].decode("ascii")
    except (OSError, ValueError, IndexError):
        return "0"
