"""Carries out generated cases, counts how they end, and keeps what ends as nothing should."""

import io
import json
import resource
import signal
import sys
import time
import traceback
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Literal

import typer

from bench.cli.app import app
from bench.cli.failures import guard
from bench.parsing import refuse_constant

PATIENCE = 20
"""Seconds of computing after which a call hangs; the slowest take 1 to 3."""
_WAITING = 6 * PATIENCE
"""Seconds of waiting after which it does: other processes may leave it little of the processor."""
GROWTH = 500 << 20
"""Bytes by which one call may let the process grow."""
_COMMAND = typer.main.get_command(app)  # made once: it takes longer than many a command
_LONGEST_LINE = 4_100
_WORST = ("accepted", "refused", "growth", "hang", "unexpected")
End = Literal["accepted", "refused", "growth", "hang", "unexpected"]


@dataclass(frozen=True)
class Call:
    """Something that a user might do with what was generated: its name, and what does it.

    `is_json` says that stdout must be JSON, `is_text` that it goes to a terminal; `verdicts` are exit codes that need
    no line of error.
    """

    name: str
    action: Callable[[], object]
    arguments: tuple[str, ...] = ()
    is_json: bool = False
    is_text: bool = False
    verdicts: tuple[int, ...] = (0,)

    @classmethod
    def of(cls, *arguments: str, is_text: bool = False) -> "Call":
        """A command line."""
        is_json = "--json" in arguments or "json" in arguments
        action = lambda: _COMMAND(list(arguments), prog_name="bench", standalone_mode=False)  # noqa: E731
        verdicts = (0, 1, 3) if arguments[0] == "check" else (0,)
        return cls(" ".join(arguments), action, arguments, is_json, is_text, verdicts)


@dataclass(frozen=True)
class Trial:
    """One case: the files that were changed, and what is to be tried on them."""

    files: Sequence[Path]
    calls: Sequence[Call]


Case = Callable[[Random], AbstractContextManager[Trial]]


@dataclass(frozen=True)
class Kind:
    """A kind of input: how many cases there are at full size, and what makes them, given an empty folder."""

    name: str
    full: int
    prepare: Callable[[Path], Case]


@dataclass
class Tally:
    """How the cases of one kind have ended."""

    kind: str
    ends: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    told: list[str] = field(default_factory=list)
    seconds: float = 0.0
    grown: int = 0

    @property
    def failed(self) -> int:
        """Cases that have not ended as they should."""
        return sum(self.ends[one] for one in _WORST[2:])


class HangError(BaseException):
    """Ends a call that takes too long, past all handlers of errors."""


def fuzz(kind: Kind, cases: Sequence[int], seed: int, folder: Path, kept: Path, tell: Callable[[str], None]) -> Tally:
    """Try cases of a kind, by number; each follows from the seed, the kind and its number alone."""
    folder.mkdir(parents=True)
    case, tally, began = kind.prepare(folder), Tally(kind.name), time.monotonic()
    for number in cases:
        with case(Random(f"{seed}/{kind.name}/{number}")) as trial:  # noqa: S311
            worst: End = "accepted"
            for call in trial.calls:
                end, why, grown = carried_out(call)
                tally.calls[end] += 1
                tally.grown = max(tally.grown, grown)
                worst = max(worst, end, key=_WORST.index)
                if end not in ("accepted", "refused"):
                    place = _keep(kept / f"{kind.name}-{seed}-{number}", trial, call, why)
                    tally.told.append(
                        f"{kind.name} {number}: {end}: {call.name}: {why.splitlines()[-1][:200]} ({place})"
                    )
                    tell(tally.told[-1])
        tally.ends[worst] += 1
    tally.seconds = time.monotonic() - began
    return tally


def carried_out(call: Call) -> tuple[End, str, int]:
    """Do it as the command does; how it ended, why that is wrong, and by how many bytes the process grew."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
    caught: list[BaseException] = []

    def act() -> object:
        try:
            return call.action()
        except BaseException as error:
            caught.append(error)
            raise

    before, arguments = _size(), sys.argv
    sys.argv = ["bench", *call.arguments]
    try:
        with redirect_stdout(out), redirect_stderr(err), _patience(), warnings.catch_warnings():
            warnings.filterwarnings("error", module=r"(bench|methods|reports)(\..*)?")
            code = guard(act)
    except HangError:
        return "hang", "".join(traceback.format_exc()), 0
    finally:
        sys.argv = arguments
    grown = _size() - before
    said, complaint = (_text(stream) for stream in (out, err))
    if problem := _problem(call, code, said, complaint):
        trace = "".join(traceback.format_exception(caught[0])) if caught else ""
        return "unexpected", f"{trace}{complaint}\n{problem}", grown
    if grown > GROWTH:
        return "growth", f"it grew by {grown >> 20} MB", grown
    return ("refused" if code in (2, 3) and "bench: error:" in complaint else "accepted"), "", grown


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    return stream.buffer.getvalue().decode("utf-8")  # type: ignore[attr-defined]  # a BytesIO


def _problem(call: Call, code: int, said: str, complaint: str) -> str | None:
    """What is wrong with how a call ended."""
    errors = [line for line in complaint.split("\n") if line.startswith("bench: error:")]
    if errors and code in (2, 3):
        if len(errors) != 1 or not complaint.rstrip("\n").endswith(errors[0]):
            return f"exit code {code} and {len(errors)} lines that say why"
        if len(errors[0]) > _LONGEST_LINE:
            return f"a line of {len(errors[0])} characters"
    elif errors or code not in call.verdicts:
        return f"exit code {code}: {errors or 'no word'}"
    if odd := _steering(complaint) or (call.is_text and _steering(said)):
        return f"what steers a terminal: {odd}"
    if call.is_json and said:
        try:
            json.loads(said, parse_constant=refuse_constant)
        except ValueError as error:
            return f"no JSON: {error}"
    return None


def _steering(text: str) -> str:
    """The first control character that is no end of a line."""
    odd = (c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp"))
    return ascii(next(odd, ""))[1:-1]


def _size() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@contextmanager
def _patience() -> Iterator[None]:
    def end(*_: Any) -> None:
        raise HangError

    timers = ((signal.ITIMER_PROF, signal.SIGPROF, PATIENCE), (signal.ITIMER_REAL, signal.SIGALRM, _WAITING))
    before = [signal.signal(number, end) for _, number, _ in timers]
    try:
        for timer, _, seconds in timers:
            signal.setitimer(timer, seconds)
        yield
    finally:
        for timer, _, _ in timers:
            signal.setitimer(timer, 0)
        for (_, number, _), handler in zip(timers, before, strict=True):
            signal.signal(number, handler)


def _keep(folder: Path, trial: Trial, call: Call, why: str) -> Path:
    """Keep the files of a case that failed, and what was said."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in trial.files:
        if path.is_file():
            (folder / path.name).write_bytes(path.read_bytes())
        else:
            why = f"{path.name} is no plain file ({path.readlink() if path.is_symlink() else 'or not there'})\n{why}"
    with (folder / "why.txt").open("a", encoding="utf-8", errors="backslashreplace") as stream:
        stream.write(f"{call.name}\n{why}\n\n")
    return folder
