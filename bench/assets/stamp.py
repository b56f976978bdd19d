"""What a file was when it was read: its hash, and what the file system said of it, so that it is not read again.

The content decides. A file counts as unchanged where size, both times, inode and device are as they were. The time of
change (ctime) is the one that tools which copy a file's dates (tar, cp -p, rsync -t, git) cannot set; inode and device
tell a link that leads elsewhere, or a file that was moved into the place of another.

A *sealed* folder carries its own stamp file and must stay as it is. Other files (a user's model, the hub's cache) may
change; for them the same notes are kept in our cache and only save time.
"""

import hashlib
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypedDict, cast

from bench.errors import MissingError
from bench.hashing import hash_file, hash_json
from bench.store.files import read_json, refuse_unreadable, write_json
from bench.store.seal import is_sound, sealed

STAMP = "bench-stamp.json"


_SETTLED_NS = 2_000_000_000
"""How long before it was read a file must have changed last: within a tick of the clock a second change has the same
time. Two seconds are the coarsest clock of the file systems in use."""


class Note(TypedDict):
    """What is known of one file: bytes, nanoseconds since the epoch, the file system's numbers, hex digits."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int
    read_ns: int
    sha256: str


_LOOKS = ("size", "mtime_ns", "ctime_ns", "inode", "device")


def _look(path: Path) -> dict[str, int]:
    """What the file system says of a file; of a link, what it says of the file that the link leads to."""
    stat = path.stat()
    numbers = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev)
    return dict(zip(_LOOKS, numbers, strict=True))


def _note(path: Path, known: Mapping[str, Any] | None = None) -> Note:
    """Look at a file; it is read unless the file system says that it is the one that was read before.

    A note that was taken within moments of the file's last change is not believed: the file may have changed again.
    """
    looked = _look(path)
    same = known is not None and all(known.get(name) == looked[name] for name in _LOOKS)
    if known and same and looked["ctime_ns"] + _SETTLED_NS <= known.get("read_ns", 0):
        return cast("Note", dict(known))
    read_ns = time.time_ns()
    return cast("Note", {**looked, "read_ns": read_ns, "sha256": hash_file(path)})


def members(folder: Path) -> list[str]:
    """The files of a sealed folder, by their path in it; hidden ones (a desktop's droppings) are no part of it."""
    paths = [path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir()]
    return sorted(path.as_posix() for path in paths if path.name != STAMP and not path.name.startswith("."))


def content_hash(hashes: dict[str, str]) -> str:
    """SHA-256 over files' names and hashes: the same on every machine."""
    return hash_json(hashes)


def seal(folder: Path, name: str | None = None) -> None:
    """Stamp a finished folder: every file in it is part of what it holds from now on.

    Args:
        folder: The folder, which may still lie at a temporary place.
        name: What it holds, so that another's sealed folder in its place is not taken for it; None for the folder's
            own name.
    """
    notes = {member: _note(folder / member) for member in members(folder)}
    write_json(folder / STAMP, sealed({"name": name or folder.name, "files": notes}, STAMP))


def check(folder: Path, *, mend: str, full: bool = False) -> dict[str, str]:
    """Check a sealed folder against its stamp and return its files' hashes by path in it.

    Args:
        folder: The sealed folder, at its place.
        mend: What the user can do where something is wrong.
        full: Read every file, also those that the file system calls unchanged.

    Raises:
        MissingError: A file is missing, truncated, changed or new; the message names it.
        OSError: One cannot be read.
    """
    try:
        stamp = read_json(folder / STAMP)
        stamped: dict[str, Note] = dict(stamp["files"])
        hashes = {name: note["sha256"] for name, note in stamped.items()}
        sizes = {name: int(note["size"]) for name, note in stamped.items()}
        sealed_as = stamp.get("name", folder.name)  # stamps of earlier versions have no name
        full = full or not is_sound(stamp, STAMP)  # notes that were written over save no reading
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        refuse_unreadable(folder / STAMP, error)
        raise MissingError(f"{folder / STAMP} is missing or unreadable", mend=mend) from error
    if sealed_as != folder.name:
        raise MissingError(f"{folder} holds what was sealed as {str(sealed_as)[:80]!r}", mend=mend)
    seen: dict[str, Note] = {}
    for name, note in stamped.items():
        path = folder / name
        if not path.is_file():
            raise MissingError(f"{path} is missing", mend=mend)
        if (size := path.stat().st_size) != sizes[name]:
            word = "truncated" if size < sizes[name] else "changed"
            raise MissingError(f"{path} is {word}: {size:,} bytes instead of {sizes[name]:,}", mend=mend)
        seen[name] = _note(path, None if full else note)
        if seen[name]["sha256"] != note["sha256"]:
            raise MissingError(f"{path} was changed: its sha256 is not the one that was stamped", mend=mend)
    if extra := [name for name in members(folder) if name not in stamped]:
        raise MissingError(f"{folder / extra[0]} is no part of the asset", mend=f"remove it, or {mend}")
    if seen != stamped:  # touched or copied, the content is the same: spare the next run the reading
        _remember(folder / STAMP, sealed({"name": sealed_as, "files": seen}, STAMP))
    return hashes


def hashes_of(files: Iterable[Path], memory: Path) -> dict[str, str]:
    """Hash files that may change, by name; what is known of them lies under the folder `memory`.

    Raises:
        OSError: A file cannot be read.
    """
    paths = {path.name: path.absolute() for path in files}
    key = hashlib.sha256("\0".join(os.fspath(p) for p in paths.values()).encode("utf-8", "surrogateescape"))
    place = memory / f"{key.hexdigest()[:32]}.json"
    try:
        memory_of = read_json(place)
        known = memory_of["files"] if is_sound(memory_of, place.stem) else {}
        notes = {name: _note(path, known.get(name)) for name, path in paths.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        known, notes = {}, {name: _note(path) for name, path in paths.items()}
    if notes != known:
        _remember(place, sealed({"files": notes}, place.stem))
    return {name: note["sha256"] for name, note in sorted(notes.items())}


def _remember(place: Path, notes: dict[str, Any]) -> None:
    """Keep notes for the next run; a cache that cannot be written only costs time."""
    try:
        write_json(place, notes)
    except OSError:
        return
