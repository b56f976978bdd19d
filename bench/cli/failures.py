"""How a command ends: every failure is one line on stderr and an exit code, never a traceback."""

import errno
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import typer
from typer.exceptions import TyperException

import bench
from bench.cli.output import plain
from bench.errors import BenchError, ForeignExitError

INTERRUPTED, TERMINATED = 130, 143  # 128 + SIGINT, 128 + SIGTERM
_BROKEN_PIPE = 141  # 128 + SIGPIPE, as the shell counts it
_MISSING = 3
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_NO_ACCESS = (errno.EACCES, errno.EPERM, errno.EROFS)
_UNEXPECTED = 1
_BEGINNING, _END = 3_000, 900
"""Characters of a message that are shown of its beginning and its end: somebody's key or path may be of any length."""


@dataclass(frozen=True)
class Failure:
    """A failure as the user sees it: cause, remedy, exit code."""

    what: str
    mend: str | None
    exit_code: int

    def line(self) -> str:
        """The failure in one line."""
        text = self.what if self.mend is None else f"{self.what}; {self.mend}"
        line = plain(" ".join(f"bench: error: {text}".split()))
        return line if len(line) <= _BEGINNING + _END else f"{line[:_BEGINNING]} ... {line[-_END:]}"


class TerminatedError(KeyboardInterrupt):
    """SIGTERM: a scheduler takes the machine back. It ends the command as Ctrl-C does, with another exit code."""


def watch_signals() -> None:
    """Let SIGTERM end the command as Ctrl-C does, and a second signal end the process at once.

    The first lets work in progress be written down; what hangs (a scorer, a server) would hold the process for ever.
    """
    asked: list[int] = []

    def end(number: int, frame: object) -> None:
        del frame
        if asked:
            os._exit(128 + number)
        asked.append(number)
        raise TerminatedError if number == signal.SIGTERM else KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as `nohup` and background jobs ask for
            signal.signal(number, end)


def guard(call: Callable[[], object]) -> int:
    """Run a command and return its exit code: what it returned where that is one, else 0.

    Whatever it raises becomes one line on stderr, and with `--json` an object `{"error": ...}` on stdout as well.
    `BENCH_DEBUG=1` adds the traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        # Model output may hold what the terminal's encoding cannot show; that must not end a run.
        getattr(stream, "reconfigure", dict)(errors="backslashreplace")
    try:
        value = call()
        sys.stdout.flush()
        code = value if isinstance(value, int) and not isinstance(value, bool) else 0
        return _interrupted() if code == INTERRUPTED else code
    except (KeyboardInterrupt, typer.Abort) as end:
        return _interrupted(TERMINATED if isinstance(end, TerminatedError) else INTERRUPTED)
    except BrokenPipeError:
        return _reader_gone()
    except SystemExit as end:
        # Typer makes one out of a broken pipe, with a code that means something else here.
        if isinstance(end.__context__, BrokenPipeError):
            return _reader_gone()
        return _report(ForeignExitError(end))
    except Exception as error:
        return _report(error)


def _interrupted(code: int = INTERRUPTED) -> int:
    print("bench: interrupted; the same command goes on where this one stopped", file=sys.stderr)
    return code


def _reader_gone() -> int:
    """Whoever read stdout has gone (`bench ... | head`): nothing is wrong."""
    _settle_stdout()
    return _BROKEN_PIPE


def _report(error: Exception) -> int:
    failure = explain(error)
    if os.environ.get("BENCH_DEBUG") == "1":
        traceback.print_exception(error)
    print(failure.line(), file=sys.stderr)
    if "--json" in sys.argv[1:]:
        from bench.cli.output import print_json

        with suppress(OSError):  # where stdout itself is what failed
            print_json({"error": asdict(failure)})
    _settle_stdout()
    return failure.exit_code


def _settle_stdout() -> None:
    """Write out what stdout still holds, or drop it: Python would fail with a traceback when it flushes at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def explain(error: Exception) -> Failure:
    """Say what a failure is to the user; what nobody foresaw is written to a log file, which the remedy names."""
    if isinstance(error, BenchError):
        return Failure(error.what, error.mend, error.exit_code)
    if isinstance(error, TyperException):
        return _usage(error)
    if isinstance(error, OSError) and error.errno in _NO_SPACE:
        return Failure(f"no space left on the disk {_place(error)}", _free(error), _MISSING)
    if isinstance(error, OSError) and error.errno in _NO_ACCESS and error.filename is not None:
        return Failure(f"no access to {error.filename} ({error.strerror})", "change its permissions", _MISSING)
    if isinstance(error, MemoryError):
        return Failure("not enough memory", "ask for a smaller model, suite or --limit, or free some", _MISSING)
    mend = f"please report it with {_write_log(error)} (BENCH_DEBUG=1 shows it here)"
    detail = next(iter(str(error).splitlines()), "")
    return Failure(f"unexpected {type(error).__name__}: {detail:.200}", mend, _UNEXPECTED)


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


def _place(error: OSError) -> str:
    return f"of {error.filename}" if error.filename is not None else "that was being written to"


def _free(error: OSError) -> str:
    from bench.assets.catalogue import default_cache

    folder = error.filename if error.filename is not None else f"{Path.cwd()} or the cache {default_cache()}"
    return f"free some at {folder}, or point BENCH_CACHE and BENCH_RUNS to another disk; the same command then goes on"


def _write_log(error: Exception) -> str:
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
