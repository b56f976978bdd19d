"""Files that are either whole or not there."""

import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.parsing import check_regular, parse_json
from bench.store.leftovers import affixes, sweep_beside


def write_text(path: Path, text: str) -> None:
    """Write a text file, in UTF-8, as `write_bytes` does."""
    write_bytes(path, text.encode("utf-8", errors="surrogatepass"))


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file by way of a temporary one beside it: a reader sees the old bytes or all of the new."""
    path = path.resolve()  # a link stays one, and what it leads to is replaced
    if path.exists() and not path.is_file():  # a device or a pipe is written to
        path.write_bytes(data)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep_beside(path)
    prefix, suffix = affixes(path)
    handle, name = tempfile.mkstemp(suffix, prefix, path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically; NaN and infinity are refused, what is absent is null."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file; lone surrogates, which a model may write, are read as they were written."""
    check_regular(path)
    return parse_json(path.read_text(encoding="utf-8", errors="surrogatepass"))


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read whole lines of a JSONL file; a last line that was cut off is left out, a missing file is empty."""
    if not path.exists():
        return []
    check_regular(path)
    lines = path.read_text(encoding="utf-8", errors="surrogatepass").split("\n")
    return [parse_json(line) for line in lines[:-1] if line]


def set_aside(path: Path) -> Path:
    """Rename what is damaged, so that it is not lost and no longer in the way; its new name ends in `.damaged`."""
    for number in itertools.count():
        aside = path.with_name(f"{path.name}{f'.{number}' if number else ''}.damaged")
        if not aside.exists():
            path.rename(aside)
            return aside
    raise AssertionError


@contextmanager
def folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that takes the place of `path` when the block ends without an error.

    Where another process was first, its folder stays and ours is dropped: both hold the same content.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep_beside(path)
    prefix, suffix = affixes(path)
    temporary = Path(tempfile.mkdtemp(suffix, prefix, path.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        try:
            temporary.rename(path)
        except OSError:
            if not path.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
