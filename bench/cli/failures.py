"""How a command ends: every failure is one line on stderr and an exit code, never a traceback."""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict

import typer

from bench.cli.explaining import explain
from bench.errors import ForeignExitError

INTERRUPTED = 130  # 128 + SIGINT; SIGTERM is 143
_BROKEN_PIPE = 141  # 128 + SIGPIPE, as the shell counts it


_ENDING_SIGNALS: list[int] = []
"""Those that have asked this process to end: what they raise may arrive here as another's exception (Typer's)."""


def watch_signals() -> None:
    """Let SIGTERM end the command as Ctrl-C does, and a second signal end the process at once.

    The first lets work in progress be written down; what hangs (a scorer, a server) would hold the process for ever.
    """

    def end(number: int, frame: object) -> None:
        del frame
        if _ENDING_SIGNALS:
            os._exit(128 + number)
        _ENDING_SIGNALS.append(number)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as `nohup` and background jobs ask for
            signal.signal(number, end)


def is_ending() -> bool:
    """Whether a signal has asked this process to end."""
    return bool(_ENDING_SIGNALS)


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
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted()
    except BrokenPipeError:
        return _reader_gone()
    except SystemExit as end:
        # Typer makes one out of a broken pipe, with a code that means something else here.
        if isinstance(end.__context__, BrokenPipeError):
            return _reader_gone()
        return 0 if end.code == 0 and _is_completing() else _report(ForeignExitError(end))
    except Exception as error:
        return _report(error)


def _is_completing() -> bool:
    """Whether the shell asks what may follow, or how to ask: Typer ends the program after that."""
    asked = {"--install-completion", "--show-completion"}
    return "_BENCH_COMPLETE" in os.environ or not asked.isdisjoint(sys.argv[1:2])


def _interrupted() -> int:
    print("bench: interrupted; the same command resumes it", file=sys.stderr)
    return 128 + _ENDING_SIGNALS[0] if _ENDING_SIGNALS else INTERRUPTED


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
