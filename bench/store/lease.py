"""Leases: files that say which process holds what, on one machine or on a disk that several machines share.

A lease rests on three things that every shared file system has: a hard link (or a file) is made under a name once and
not twice, a rename moves a file whole, and whoever opens a file sees its last change. It needs no `flock`.

The file names its holder (`MACHINE-PID-START` and a random token), who touches it every `BEAT_SECONDS`. It is free when
it is gone. Nobody holds it, either, when its process has ended, which is seen at once on the same machine, also where
another process has the same number by now; or when it has stayed untouched for `LEASE_SECONDS` while another process
watched it. That time is measured by the watcher's own clock alone: no two clocks are compared, so they may differ.

A holder that does not get to touch its lease for so long (a machine that sleeps, a disk that is away) loses it without
knowing. So whatever writes what a lease protects asks first (`assert_held`, see `bench.store.files.writing`).
"""

import contextlib
import errno
import os
import re
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from bench.errors import MissingError
from bench.store.process import NAME, lives, machine, own_name
from bench.store.temporary import beside

SUFFIX = ".lease"
"""Of the files' names."""
LEASE_SECONDS = 120.0
"""How long a lease holds without being touched."""
BEAT_SECONDS = 10.0
"""How often it is touched."""
_AGAIN_SECONDS = 1.0  # another's look at a lease may move it aside for a moment
_LONGEST = 200  # bytes of a lease
_TEXT = re.compile(rf"{NAME} [0-9a-f]{{32}}\n")
_NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK)


class LostError(MissingError):
    """Another process has taken over what this one held."""


@dataclass(frozen=True)
class _Look:
    """A lease's file at a moment: what tells whether it was touched, or is another by now."""

    text: bytes
    inode: int
    touched_ns: int


_WATCHED: dict[Path, tuple[_Look, float]] = {}
"""Other processes' leases as they were first seen, and when that was (by this process's clock)."""


class Lease:
    """A lease that this process holds.

    Attributes:
        path: Its file.
        guarded: What it protects: nothing at, below or beside it (as NAME.suffix) is written once the lease is lost.
    """

    def __init__(self, path: Path, text: bytes, guarded: Path | None) -> None:
        self.path, self._text = path, text
        self.guarded = guarded and guarded.parent.resolve() / guarded.name

    @property
    def is_ours(self) -> bool:
        """Whether the file still names this holder."""
        found = _look(self.path)
        return found is not None and found.text == self._text

    def beat(self) -> None:
        """Touch the file; a disk that is away for a moment is tried again by the next beat."""
        with contextlib.suppress(OSError):
            if self.is_ours:
                os.utime(self.path)

    def release(self) -> None:
        """Give it up."""
        _HELD.discard(self)
        with contextlib.suppress(OSError):
            if self.is_ours:
                self.path.unlink()

    def protects(self, path: Path) -> bool:
        """Whether a path is what the lease protects."""
        if self.guarded is None or not path.is_relative_to(self.guarded.parent):
            return False
        first = next(iter(path.relative_to(self.guarded.parent).parts), "")  # "": the folder in which it lies
        return first == self.guarded.name or first.startswith(f"{self.guarded.name}.")


_HELD: set[Lease] = set()


def take(path: Path, guarded: Path | None = None) -> Lease | None:
    """Take a lease; None where another holds it.

    Args:
        path: The lease's file.
        guarded: What it protects (see `Lease`).

    Raises:
        OSError: the file cannot be written.
    """
    text = f"{own_name()} {os.urandom(16).hex()}\n".encode()
    for _ in range(2):  # the second time after one that nobody holds was cleared
        lease = Lease(path, text, guarded)
        try:
            if _publish(path, text):
                _keep_beating()
                _HELD.add(lease)
                return lease
        except BaseException:
            lease.release()
            raise
        found = _look(path)
        if found is not None and (_is_held(path, found) or not _discard(path, found)):
            return None
    return None


def is_held(path: Path) -> bool:
    """Whether a process holds the lease of this file."""
    found = _look(path)
    return found is not None and _is_held(path, found)


def clear(path: Path) -> bool:
    """Remove a lease that nobody holds; return whether it was one. A file that is none stays, whatever its name."""
    found = _look(path)
    return found is not None and _is_lease(path, found) and not _is_held(path, found) and _discard(path, found)


def assert_held(path: Path) -> None:
    """Make sure that this process still holds what protects a path that it is about to write.

    Raises:
        LostError: it does not.
    """
    place = path.parent.resolve() / path.name
    for lease in list(_HELD):
        if lease.protects(place) and not lease.is_ours:
            time.sleep(_AGAIN_SECONDS)
            if not lease.is_ours:
                what = f"another process has taken over {lease.guarded}: this one gave no sign of life for a while"
                raise LostError(what, mend="run the same command again: it resumes, or waits for the other process")


def _publish(path: Path, text: bytes) -> bool:
    """Put a lease with all of its text in place, unless there is one."""
    draft = beside(path)
    try:
        draft.write_bytes(text)
        try:
            os.link(draft, path)
        except FileExistsError:
            return draft.stat().st_nlink > 1  # NFS: the link was made, and the answer got lost
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            return _create(path, text)
        return True
    finally:
        draft.unlink(missing_ok=True)


def _create(path: Path, text: bytes) -> bool:
    """The same on a disk without links: who is killed here leaves a lease of nobody, which ends by its age."""
    try:
        with path.open("xb") as stream:
            stream.write(text)
    except FileExistsError:
        return False
    return True


def _look(path: Path) -> _Look | None:
    try:
        with path.open("rb") as stream:  # NFS asks the server when a file is opened
            stat = os.fstat(stream.fileno())
            return _Look(stream.read(_LONGEST), stat.st_ino, stat.st_mtime_ns)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ESTALE:
            return None
        raise


def _is_lease(path: Path, found: _Look) -> bool:
    """Whether a file is ours: by its text, or by its name where who made it was killed before it wrote (`_create`)."""
    return bool(_named(found)) or (not found.text and path.name.startswith("."))


def _named(found: _Look) -> re.Match[str] | None:
    return _TEXT.fullmatch(found.text.decode("ascii", "replace"))


def _is_held(path: Path, found: _Look) -> bool:
    named = _named(found)
    if named and named["machine"] == machine():
        alive = lives(int(named["pid"]), named["start"])
        if alive is not None:
            return alive
    before, since = _WATCHED.get(path, (None, 0.0))
    if before != found:
        _WATCHED[path] = found, time.monotonic()
        return True
    return time.monotonic() - since < LEASE_SECONDS


def _discard(path: Path, found: _Look) -> bool:
    """Remove a lease that nobody holds, and no other that has come into its place."""
    _WATCHED.pop(path, None)
    aside = beside(path)
    try:
        if _look(path) != found:
            return False
        path.rename(aside)
    except FileNotFoundError:
        return True
    if _look(aside) == found:
        aside.unlink(missing_ok=True)
        return True
    with contextlib.suppress(OSError):  # another was faster: its lease goes back, unless there is a third by now
        os.link(aside, path)
    aside.unlink(missing_ok=True)
    return False


_BEATING = threading.Event()


def _keep_beating() -> None:
    if not _BEATING.is_set():
        _BEATING.set()
        threading.Thread(target=_beat, name="bench-leases", daemon=True).start()


def _beat() -> None:
    while True:
        time.sleep(BEAT_SECONDS)
        for lease in list(_HELD):
            lease.beat()


def _forget() -> None:
    """In a fork: leases are the parent's, and so is the thread."""
    _HELD.clear()
    _BEATING.clear()


os.register_at_fork(after_in_child=_forget)
