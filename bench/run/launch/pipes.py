"""Processes that are told and tell in messages, JSON values in lines, on their stdin and stdout."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Protocol, TextIO, cast

from bench.errors import BenchError

WORKER = (sys.executable, "-P", "-m", "bench.cli.worker")  # -P: no module is taken from the current folder
"""Starts a worker."""

Message = dict[str, Any]
Hear = Callable[[Message], None]
"""Is given what a process says. The last message is `{"ended": how}`, with None where it ended as it should."""


class Process(Protocol):
    """A process that is told and tells in messages, here or on another machine."""

    def tell(self, message: Message) -> None:
        """Tell it something; where it has ended, nobody hears."""

    def wait(self) -> None:
        """Wait until it has ended, and all that it said was heard."""


class PipedProcess:
    """A process of this machine. It ends when its stdin does: when this process has ended."""

    def __init__(
        self,
        command: Sequence[str],
        job: Message,
        hear: Hear,
        *,
        variables: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        """Start it.

        Args:
            command: Its command.
            job: What it is told first.
            hear: Is given what it says, from a thread of its own; what it says on stderr is a note.
            variables: Of its environment, beside those of this process.
            folder: Where it works; None for where this process does.
        """
        self._hear = hear
        self._process = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="backslashreplace",
            env={**os.environ, **(variables or {})},
            cwd=folder,
            start_new_session=True,  # Ctrl-C comes to this process alone, who tells it
        )
        self._listening = threading.Thread(target=self._listen, name="bench-listening", daemon=True)
        self._listening.start()
        self.tell(job)

    def tell(self, message: Message) -> None:
        """Tell it something."""
        stdin = cast("IO[str]", self._process.stdin)
        with contextlib.suppress(OSError, ValueError):  # it has ended
            stdin.write(json.dumps(message) + "\n")
            stdin.flush()

    def wait(self) -> None:
        """Wait until it has ended."""
        self._listening.join()

    def end(self, patience: float) -> None:
        """Let it end, as where this process has; after so many seconds it must."""
        with contextlib.suppress(OSError):
            cast("IO[str]", self._process.stdin).close()
        self._listening.join(patience)
        self._process.kill()

    def _listen(self) -> None:
        def heard(stream: IO[str], read: Callable[[str], Message]) -> None:
            for line in stream:
                self._hear(read(line))

        beside = threading.Thread(target=heard, args=(self._process.stderr, _note), daemon=True)
        beside.start()
        heard(cast("IO[str]", self._process.stdout), _message)
        beside.join()
        code = self._process.wait()
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        self._hear({"ended": how if code else None})


class Telling:
    """What such a process tells; where its parent has gone, nobody hears."""

    def __init__(self) -> None:
        """Take stdout for messages; what libraries print goes to stderr from here on."""
        self._stream: TextIO = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        self._lock = threading.Lock()

    def __call__(self, message: Message) -> None:
        """Tell a message."""
        with self._lock, contextlib.suppress(OSError):
            self._stream.write(json.dumps(message) + "\n")
            self._stream.flush()


def failure(error: BenchError) -> Message:
    """A failure as a message."""
    return {"error": {"what": error.what, "mend": error.mend, "exit_code": error.exit_code}}


def _note(line: str) -> Message:
    return {"note": line.rstrip("\n")} if line.strip() else {}


def _message(line: str) -> Message:
    with contextlib.suppress(ValueError):
        if isinstance(told := json.loads(line), dict):
            return told
    return _note(line)
