"""Locks: one process at a time does a piece of work."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.progress import SILENT, Progress


@contextmanager
def alone(path: Path, progress: Progress = SILENT) -> Iterator[None]:
    """Hold the lock beside `path`, so that two processes do not do the same work at once."""
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.parent / f".{path.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress.note(f"another process works on {path.name[:40]}; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
