"""Files that are either whole or not there."""

import errno
import json
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.errors import UnreadableError
from bench.parsing import check_regular, parse_json
from bench.store.lease import assert_held
from bench.store.leftovers import sweep_beside
from bench.store.temporary import beside

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
"""What the system says of a disk that is full, or as full as a user may make it."""
_NO_FILE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EINVAL, errno.EFBIG)
"""What the system, or `check_regular`, says where something other than a file that we wrote is in its place."""


def write_text(path: Path, text: str) -> None:
    """Write a text file, in UTF-8, as `write_bytes` does."""
    write_bytes(path, text.encode("utf-8", errors="surrogatepass"))


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file by way of a temporary one beside it: a reader sees the old bytes or all of the new."""
    path = path.resolve()  # a link stays one, and what it leads to is replaced
    if path.exists() and not path.is_file():  # a device or a pipe is written to
        with writing(path):
            path.write_bytes(data)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep_beside(path)
    temporary = beside(path)
    try:
        with writing(path), temporary.open("xb") as stream:  # with the rights that the user's umask leaves
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say of a full disk what was being written there: who writes (a stream, safetensors, torch) often does not know.

    Raises:
        OSError: no space is left; it names the path, or the file that the system named.
        LostError: another process has taken over what is written.
    """
    assert_held(path)
    try:
        yield
    except OSError as error:
        if error.errno in NO_SPACE and error.filename is None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    except Exception as error:
        if code := next((one for one in NO_SPACE if os.strerror(one) in str(error)), None):
            raise OSError(code, os.strerror(code), str(path)) from error
        raise


def _share(made: Path) -> None:
    """Give all that lies in a folder the rights that its own making had: safetensors writes for the owner alone."""
    rights = stat.S_IMODE(made.stat().st_mode)
    for one in made.rglob("*"):
        if not one.is_symlink():
            one.chmod(rights if one.is_dir() else rights & 0o666)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically; NaN and infinity are refused, what is absent is null."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file; lone surrogates, which a model may write, are read as they were written."""
    check_regular(path)
    return parse_json(path.read_text(encoding="utf-8", errors="surrogatepass"))


def refuse_unreadable(path: Path, error: Exception) -> None:
    """Tell a file that could not be read (too many are open, no access, a disk that is away) from a damaged one.

    Raises:
        UnreadableError: it is of the first kind.
    """
    if isinstance(error, OSError) and error.errno not in _NO_FILE:
        mend = "look at its permissions and its disk, and run the same command again"
        raise UnreadableError(f"{path} cannot be read ({error.strerror or error})", mend=mend) from error


def files_in(folder: Path, ending: str) -> list[Path]:
    """Files with an ending in a folder, by name, hidden ones left out: macOS puts `._NAME` beside what it copies."""
    return sorted(path for path in folder.glob(f"*{ending}") if not path.name.startswith("."))


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read whole lines of a JSONL file; a last line that was cut off is left out, a missing file is empty."""
    if not path.exists():
        return []
    check_regular(path)
    lines = path.read_text(encoding="utf-8", errors="surrogatepass").split("\n")
    return [parse_json(line) for line in lines[:-1] if line]


@contextmanager
def folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that takes the place of `path` when the block ends without an error.

    Where another process was first, its folder stays and ours is dropped: both hold the same content.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep_beside(path)
    temporary = beside(path)
    temporary.mkdir()
    try:
        with writing(path):
            yield temporary
        _share(temporary)
        try:
            temporary.rename(path)
        except OSError:
            if not path.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
