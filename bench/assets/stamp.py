"""What a file was when it was checked: its size, time of change and hash, so that an unchanged one is not read again.

A *sealed* folder carries its own stamp file and must stay as it is. Other files (a user's model, the hub's cache) may
change; for them the same notes are kept in our cache and only save time.
"""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TypedDict

from bench.errors import MissingError
from bench.hashing import hash_file, hash_json
from bench.store.files import read_json, write_json

STAMP = "bench-stamp.json"


class Note(TypedDict):
    """What is known of one file: bytes, nanoseconds since the epoch, hex digits."""

    size: int
    mtime_ns: int
    sha256: str


def _note(path: Path, known: Note | None = None) -> Note:
    """Look at a file; it is read only where its size or time differ from what is known."""
    stat = path.stat()
    if known and (known["size"], known["mtime_ns"]) == (stat.st_size, stat.st_mtime_ns):
        return known
    return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": hash_file(path)}


def _members(folder: Path) -> list[str]:
    """The names of a sealed folder's files; hidden ones (a desktop's droppings) are no part of it."""
    return sorted(p.name for p in folder.iterdir() if p.name != STAMP and not p.name.startswith("."))


def content_hash(hashes: dict[str, str]) -> str:
    """SHA-256 over files' names and hashes: the same on every machine."""
    return hash_json(hashes)


def seal(folder: Path) -> None:
    """Stamp a finished folder: every file in it is part of the asset from now on."""
    write_json(folder / STAMP, {"files": {name: _note(folder / name) for name in _members(folder)}})


def check(folder: Path, *, mend: str, full: bool = False) -> dict[str, str]:
    """Check a sealed folder against its stamp and return its files' hashes by name.

    Args:
        folder: The sealed folder.
        mend: What the user can do where something is wrong.
        full: Read every file, also those whose size and time are as they were.

    Raises:
        MissingError: A file is missing, truncated, changed or new; the message names it.
    """
    try:
        stamped: dict[str, Note] = read_json(folder / STAMP)["files"]
        hashes = {name: note["sha256"] for name, note in stamped.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise MissingError(f"{folder / STAMP} is missing or unreadable", mend=mend) from error
    seen: dict[str, Note] = {}
    for name, note in stamped.items():
        path = folder / name
        if not path.is_file():
            raise MissingError(f"{path} is missing", mend=mend)
        if (size := path.stat().st_size) != note["size"]:
            word = "truncated" if size < note["size"] else "changed"
            raise MissingError(f"{path} is {word}: {size:,} bytes instead of {note['size']:,}", mend=mend)
        seen[name] = _note(path, None if full else note)
        if seen[name]["sha256"] != note["sha256"]:
            raise MissingError(f"{path} was changed: its sha256 is not the one that was stamped", mend=mend)
    if extra := [name for name in _members(folder) if name not in stamped]:
        raise MissingError(f"{folder / extra[0]} is no part of the asset", mend=f"remove it, or {mend}")
    if seen != stamped:  # touched or copied, the content is the same: spare the next run the reading
        _remember(folder / STAMP, seen)
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
        known = dict(read_json(place)["files"])
        notes = {name: _note(path, known.get(name)) for name, path in paths.items()}
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        known, notes = {}, {name: _note(path) for name, path in paths.items()}
    if notes != known:
        _remember(place, notes)
    return {name: note["sha256"] for name, note in sorted(notes.items())}


def _remember(place: Path, notes: dict[str, Note]) -> None:
    """Keep notes for the next run; a cache that cannot be written only costs time."""
    try:
        write_json(place, {"files": notes})
    except OSError:
        return
