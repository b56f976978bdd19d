"""Folders that runs keep in the cache (sets, artifacts): sealed when they are made, checked whenever they are used."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.assets import stamp
from bench.errors import MissingError, UnreadableError
from bench.progress import Progress
from bench.store.aside import set_aside
from bench.store.files import folder, refuse_unreadable


@contextmanager
def kept(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that is sealed and takes the place of `path` when the block ends without an error."""
    with folder(path) as made:
        yield made
        stamp.seal(made, path.name)


def is_kept(path: Path) -> bool:
    """Whether a folder is there and holds what was sealed under its name."""
    return path.is_dir() and _harm(path) is None


def is_kept_or_set_aside(path: Path, progress: Progress) -> bool:
    """As `is_kept`; what is damaged is set aside, with one line. The caller holds the folder's lock."""
    if not path.exists():
        return False
    harm = _harm(path)
    if harm is not None:
        set_aside(path, harm, progress)
    return harm is None


def generation(path: Path) -> frozenset[tuple[str, int, int]]:
    """What tells one making of a file or folder from another: its files' names, inodes and dates; empty for nothing."""
    places = [path] if path.is_file() else [one for one in path.rglob("*") if one.name != stamp.STAMP and one.is_file()]
    looked = [(place, place.stat()) for place in places]
    return frozenset((str(place), stat.st_ino, stat.st_mtime_ns) for place, stat in looked)


def _harm(path: Path) -> str | None:
    try:
        stamp.check(path, mend="")
    except UnreadableError:
        raise
    except MissingError as error:
        return error.what
    except OSError as error:
        refuse_unreadable(path, error)
        return f"{path} cannot be read ({error.strerror})"
    return None
