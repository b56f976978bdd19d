"""What a failure is to the user: its cause, what to do about it, and the exit code."""

import errno
import os
import shutil
import sys
import tempfile
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from typer.exceptions import TyperException

import bench
from bench.errors import BenchError
from bench.packages import broken_package, brought_by
from bench.printed import inert, plain

_MISSING = 3
_UNEXPECTED = 1
_NO_ACCESS = (errno.EACCES, errno.EPERM, errno.EROFS)
_NO_FOLDER = (errno.ENOTDIR, errno.EEXIST)
_ELSEWHERE = "BENCH_RUNS (--runs-dir) and BENCH_CACHE (--cache-dir) name other folders"
_FULL = 1 << 20  # bytes: a disk with fewer to spare is one that nothing can be written to
_LONGEST = 2_000  # characters of a line: what is wrong stands at its beginning


@dataclass(frozen=True)
class Failure:
    """A failure as the user sees it: cause, remedy, exit code."""

    what: str
    mend: str | None
    exit_code: int

    def line(self) -> str:
        """The failure in one line."""
        text = " ".join(f"bench: error: {self.what}".split())
        text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"
        return inert(plain(text if self.mend is None else f"{text}; {' '.join(self.mend.split()):.{_LONGEST}}"))


def explain(error: BaseException) -> Failure:
    """Say what a failure is to the user; what nobody foresaw is written to a log file, which the remedy names."""
    if isinstance(error, BenchError):
        return Failure(error.what, error.mend, error.exit_code)
    if isinstance(error, TyperException):
        return _usage(error)
    if blamed := broken_package(error):
        return Failure(f"the package {blamed.name} cannot be loaded ({blamed.why})", blamed.mend, _MISSING)
    if isinstance(error, OSError) and (told := _of_system(error)):
        return told
    if isinstance(error, MemoryError):
        return Failure("not enough memory", "ask for a smaller model, suite or --limit, or free some", _MISSING)
    return _unforeseen(error)


def _unforeseen(error: BaseException) -> Failure:
    detail = f"{type(error).__name__}: {next(iter(str(error).splitlines()), ''):.200}".removesuffix(": ")
    log = f"{_write_log(error)} (BENCH_DEBUG=1 shows it here)"
    if package := brought_by(error):
        return Failure(f"{package} failed: {detail}", f"report it to who made that package, with {log}", _UNEXPECTED)
    return Failure(f"unexpected {detail}", f"please report it with {log}", _UNEXPECTED)


def _of_system(error: OSError) -> Failure | None:
    """What the operating system refused; None where it does not say of what."""
    from bench.store.files import NO_SPACE  # imported here: it brings yaml, which --help does without

    if error.errno in NO_SPACE:
        return _no_space(error)
    if error.filename is None or error.errno is None:
        return None
    place, why = os.fsdecode(error.filename) if isinstance(error.filename, bytes) else error.filename, error.strerror
    if error.errno in _NO_ACCESS:
        mend = f"change its permissions, or choose another: {_ELSEWHERE}"
        return Failure(f"no access to {place} ({why})", mend, _MISSING)
    if error.errno in _NO_FOLDER:
        return Failure(f"{place} cannot be a folder: it, or a part of it, is a file", _ELSEWHERE, _MISSING)
    return Failure(
        f"{place} cannot be used ({why})", f"look at the path and its disk, or choose another: {_ELSEWHERE}", 3
    )


def _no_space(error: OSError) -> Failure:
    """A full disk: the one of the file, or, where that is not known, all those that are full."""
    full = [os.fsdecode(error.filename)] if error.filename is not None else list(_full())
    place = f"of {' and of '.join(full)}" if full else "that was being written to"
    mend = f"free some there, or use another disk ({_ELSEWHERE}); the same command resumes"
    return Failure(f"no space left on the disk {place}", mend, _MISSING)


def _full() -> Iterator[str]:
    """Where our output goes, and is full."""
    from bench.assets.catalogue import default_cache

    if sys.stdout is not None:
        try:
            room = os.fstatvfs(sys.stdout.fileno())
        except (OSError, ValueError):
            pass
        else:
            if room.f_blocks and room.f_bavail * room.f_frsize < _FULL:
                yield "stdout"
    for folder in (Path.cwd(), default_cache(), Path(tempfile.gettempdir())):
        there = next((one for one in (folder, *folder.parents) if one.is_dir()), None)
        if there and shutil.disk_usage(there).free < _FULL:
            yield str(folder)


def _usage(error: TyperException) -> Failure:
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "bench"
    close = getattr(error, "possibilities", None)
    if close:
        what, mend = f"no such option: {error.option_name}", f"did you mean {' or '.join(close)}?"  # type: ignore[attr-defined]
    else:
        what, _, mend = " ".join(error.format_message().split()).rstrip(".").partition(". Did you mean ")
        mend = f"did you mean {mend}" if mend else f"see '{command} --help'"
    return Failure(what[:1].lower() + what[1:], mend, error.exit_code)


def _write_log(error: BaseException) -> str:
    from bench.assets.catalogue import default_cache

    now = datetime.now(UTC)
    text = "".join(
        [
            f"bench {bench.__version__}, Python {sys.version}, {now.isoformat(timespec='seconds')}\n",
            f"arguments: {sys.argv[1:]}\n",
            *traceback.format_exception(error),
        ]
    )
    name = f"error-{now:%Y%m%d-%H%M%S}-{os.getpid()}.log"
    for folder in (default_cache() / "logs", Path(tempfile.gettempdir())):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8", errors="backslashreplace")
        except OSError:
            continue
        return str(folder / name)
    return "the traceback (no log file could be written)"
