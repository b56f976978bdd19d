"""Locks: one process at a time does a piece of work."""

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
