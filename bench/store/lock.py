"""Locks: one process at a time does a piece of work, and nothing is taken away from those who use it.

They rest on leases (`bench.store.lease`), on one machine and on disks that several share.
"""

import errno
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.progress import SILENT, Progress, note_once
from bench.store import lease
from bench.store.leftovers import sweep_beside

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0  # seconds between two looks at what another process holds
_NO_WRITING = (errno.EACCES, errno.EPERM, errno.EROFS)
_SHOWN = 40  # characters of a name


class HeldError(Exception):
    """Another process holds it, and the caller does not want to wait."""


@contextmanager
def alone(path: Path, progress: Progress = SILENT, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock beside `path`, so that two processes do not do the same work at once.

    Raises:
        HeldError: another process holds it, and we do not `wait`.
    """
    waiting = f"another process works on {path.name[:_SHOWN]}; waiting for it"
    with locked(_lease_of(path), waiting, progress, wait=wait, guarded=path):
        yield


def take(path: Path) -> lease.Lease | None:
    """The lock beside `path`, until it is released; None where another process has it.

    Raises:
        OSError: the folder is not there, or cannot be written.
    """
    return lease.take(_lease_of(path), path)


def is_held(path: Path) -> bool:
    """Whether a process holds the lock beside `path`."""
    return lease.is_held(_lease_of(path))


@contextmanager
def locked(
    lease_file: Path, waiting: str, progress: Progress = SILENT, *, wait: bool = True, guarded: Path | None = None
) -> Iterator[None]:
    """Hold a lock.

    Args:
        lease_file: Its file.
        waiting: What the user is told where another process has it.
        progress: Where to tell.
        wait: Whether to wait for it then.
        guarded: What it protects (`bench.store.lease.Lease`).

    Raises:
        HeldError: another process holds it, and we do not `wait`.
        OSError: the lock's file cannot be written.
    """
    lease_file.parent.mkdir(parents=True, exist_ok=True)
    sweep_beside(lease_file)
    held = lease.take(lease_file, guarded)
    if held is None:
        if not wait:
            raise HeldError
        progress.note(waiting)
        waits = pauses(_FIRST_PAUSE, _LONGEST_PAUSE)
        while (held := lease.take(lease_file, guarded)) is None:
            time.sleep(next(waits))
    try:
        yield
    finally:
        held.release()


def pauses(first: float, longest: float) -> Iterator[float]:
    """Seconds to wait between one look and the next, each twice as long as the last."""
    pause = first
    while True:
        yield pause
        pause = min(2 * pause, longest)


@contextmanager
def in_use(path: Path) -> Iterator[None]:
    """Keep other processes from taking away what lies at `path`; any number of them may use it at once.

    Whoever takes it away holds the lock beside it (`alone`), and so does whoever begins to use it. Where one may read
    and not write, nobody can be told: it is used all the same.
    """
    use = path.with_name(f".{path.name}.use-{os.urandom(4).hex()}{lease.SUFFIX}")
    with ExitStack() as held:
        try:
            held.enter_context(locked(use, ""))
        except OSError as error:
            if error.errno not in _NO_WRITING:
                raise
        yield


@contextmanager
def unused(path: Path, progress: Progress = SILENT) -> Iterator[None]:
    """Wait until no process uses what lies at `path`; the caller holds the lock beside it, so that none begins to."""
    waits = pauses(_FIRST_PAUSE, _LONGEST_PAUSE)
    while in_use_by_any(path):
        note_once(progress, f"another process uses {path.name[:_SHOWN]}; waiting for it")
        time.sleep(next(waits))
    yield


def in_use_by_any(path: Path) -> bool:
    """Whether a process uses what lies at `path` (`in_use`)."""
    uses = path.parent.glob(f".{path.name}.use-*{lease.SUFFIX}")
    return any(not lease.clear(one) and lease.is_held(one) for one in uses)


def _lease_of(path: Path) -> Path:
    return path.with_name(f".{path.name}{lease.SUFFIX}")
