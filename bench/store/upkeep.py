"""What the cache and the runs take on the disk, which of it nothing uses, and its removal.

Models, data and scores are fetched or computed for any run. An artifact (what a method made of the model) and the sets
that it learned from belong to the runs whose manifests name their keys: without one, the next run would make another.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import MissingError
from bench.store.files import read_json, refuse_unreadable
from bench.store.leftovers import drop
from bench.store.lock import HeldError, alone, in_use_by_any
from bench.store.runs import folders

_OF_RUNS = {"artifacts": "artifact_key", "sets": "sets_key"}
"""Folders of the cache whose entries belong to runs, and the manifest's field that names the entry.

A run of stacked methods names the artifact of each under `artifact_keys`.
"""


@dataclass(frozen=True)
class Kept:
    """One thing that is kept.

    Attributes:
        kind: `runs`, or the folder of the cache that it lies in.
        path: Where it lies.
        size: Bytes.
        used: Whether something uses it; None for what belongs to no run.
    """

    kind: str
    path: Path
    size: int
    used: bool | None = None


def everything(cache: Path, runs: Sequence[Path]) -> list[Kept]:
    """All that is kept, by kind and name.

    Args:
        cache: The cache.
        runs: Folders of records; what none of their manifests names counts as unused.
    """
    found = [Kept("runs", path, size_of(path)) for root in runs for path in folders(root)]
    named = _named(runs)
    for folder in sorted(cache.iterdir()) if cache.is_dir() else []:
        if folder.name not in _OF_RUNS:
            found.append(Kept(folder.name, folder, size_of(folder)))
            continue
        for path in sorted(folder.iterdir()):
            if not path.name.startswith("."):
                found.append(Kept(folder.name, path, size_of(path), _key(path) in named[folder.name]))
    return found


def unused(cache: Path, runs: Sequence[Path]) -> list[Kept]:
    """What `everything` finds that no run uses."""
    return [one for one in everything(cache, runs) if one.used is False]


def remove(paths: Iterable[Path], may_go: Callable[[Path], bool] = lambda path: True) -> list[Path]:
    """Remove folders or files, each in one step, where no process works on it, and return those that are removed.

    Args:
        paths: What was to go when it was listed.
        may_go: Whether one still is to go, asked when no other process can begin to work on it.

    Raises:
        MissingError: one is worked on or used; those before it are removed.
        OSError: one cannot be removed.
    """
    removed = []
    for path in paths:
        try:
            with alone(_worked_on(path), wait=False):
                if in_use_by_any(path):
                    raise HeldError
                if not may_go(path):
                    continue
                removed.append(path)
                if path.is_dir() and not path.is_symlink():
                    drop(path)
                else:
                    path.unlink(missing_ok=True)
        except HeldError:
            raise MissingError(f"a process works on {path}", mend="wait until it is done, or end it") from None
    return removed


def is_finished(run: Path) -> bool:
    """Whether a run's folder has a result."""
    return (run / "result.json").is_file()


def size_of(path: Path) -> int:
    """Bytes of a file or of all files in a folder; a link counts as itself."""
    parts = [path] if path.is_symlink() or not path.is_dir() else path.rglob("*")
    return sum(part.lstat().st_size for part in parts if part.is_symlink() or part.is_file())


def _worked_on(path: Path) -> Path:
    """What a process locks that works on it; in the cache, KEY.parts and damaged copies belong to their entry."""
    return path.with_name(_key(path)) if path.parent.name in _OF_RUNS else path


def _key(path: Path) -> str:
    """The key of the cache's entry that it belongs to."""
    return path.name.split(".")[0]


def _named(runs: Sequence[Path]) -> dict[str, set[str]]:
    """The keys that manifests name, by folder of the cache.

    Raises:
        MissingError: a manifest cannot be read: what its run uses is not known.
    """
    named: dict[str, set[str]] = {kind: set() for kind in _OF_RUNS}
    for root in runs:
        for path in folders(root):
            try:
                method = read_json(path / "manifest.json")["method"]
                for kind, field in _OF_RUNS.items():
                    named[kind].add(str(method.get(field)))
                named["artifacts"].update(map(str, method.get("artifact_keys", {}).values()))
            except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
                refuse_unreadable(path / "manifest.json", error)
                what = f"what {path} uses is not known: its manifest cannot be read ({type(error).__name__})"
                raise MissingError(what, mend=f"remove the run: bench rm {path}") from None
    return named
