"""Locks: one process at a time does a piece of work, and nothing is taken away from those who use it."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.progress import SILENT, Progress


@contextmanager
def alone(path: Path, progress: Progress = SILENT) -> Iterator[None]:
    """Hold the lock beside `path`, so that two processes do not do the same work at once."""
    waiting = f"another process works on {path.name[:40]}; waiting for it"
    with locked(path.parent / f".{path.name}.lock", waiting, progress):
        yield


@contextmanager
def locked(lock_file: Path, waiting: str, progress: Progress = SILENT) -> Iterator[None]:
    """Hold a lock; `waiting` is what the user is told where another process has it.

    Raises:
        OSError: the lock's file cannot be written.
    """
    from filelock import FileLock, Timeout

    lock_file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(lock_file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress.note(waiting)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def in_use(path: Path) -> Iterator[None]:
    """Keep other processes from taking away what lies at `path`; any number of them may use it at once."""
    with _flocked(path, fcntl.LOCK_SH, None):
        yield


@contextmanager
def unused(path: Path, progress: Progress = SILENT) -> Iterator[None]:
    """Wait until no process uses what lies at `path`, and let none begin to."""
    with _flocked(path, fcntl.LOCK_EX, progress):
        yield


@contextmanager
def _flocked(path: Path, kind: int, progress: Progress | None) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path.parent / f".{path.name}.use.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if progress:
                progress.note(f"another process uses {path.name[:40]}; waiting for it")
            fcntl.flock(handle, kind)
        except OSError as error:
            if error.errno not in (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK):  # a disk without locks goes without
                raise
        yield
    finally:
        os.close(handle)
