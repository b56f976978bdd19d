"""A folder for one piece of work: a file in it says what is made there, and nothing else may be made there."""

from pathlib import Path
from typing import Any

from bench.errors import MissingError, UsageError
from bench.store.files import read_json, write_json

_MEND = "name another folder by --out"


def claim(
    folder: Path,
    marker: str,
    told: dict[str, Any],
    *,
    identity: str | None = None,
    differs: str,
    mend: str = _MEND,
    has_begun: bool = True,
    fresh: bool = False,
) -> None:
    """Write down what is made in a folder, or find that the same work has begun there.

    Args:
        folder: The folder; it need not exist.
        marker: The file in it that says what is made there.
        told: What the file says: JSON values.
        identity: The key of `told` whose value must stay the same; None for all of it.
        differs: In what the work differs where it is another, for people.
        mend: What to do then.
        has_begun: Whether anything was made since the file was written: if not, the work may be another.
        fresh: Whether the folder may hold other files though it has no such file yet.

    Raises:
        UsageError: the folder is a file, holds something else, or another work has begun there.
        MissingError: the file that says what is made there is damaged.
    """
    path = folder / marker
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file", mend="name a folder by --out")
    if path.exists():
        if has_begun and _identity(path, identity) != (told[identity] if identity else told):
            raise UsageError(f"{folder} was begun with {differs}", mend=mend)
    elif not fresh and folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} holds something else (no {marker})", mend=_MEND)
    write_json(path, told)


def _identity(path: Path, key: str | None) -> Any:
    """What the file says that was written before."""
    try:
        earlier = read_json(path)
    except ValueError:
        raise MissingError(f"{path} is damaged", mend=_MEND) from None
    if key is None:
        return earlier
    return earlier.get(key) if isinstance(earlier, dict) else None
