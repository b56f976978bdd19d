"""Commands that are started and disturbed: what tests of `--workers` and of `--on ray` share."""

import contextlib
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bench.store import process

if TYPE_CHECKING:
    import subprocess

PATIENCE = 300


def ended(command: "subprocess.Popen[str]") -> tuple[str, str, int]:
    out, err = command.communicate(timeout=PATIENCE)
    assert "Traceback" not in err
    return out, err, command.returncode


def holder_of(place: Path, pattern: str) -> int:
    """The number of the process that holds a record, once one does."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        for lease in place.glob(f"runs/.{pattern}.lease"):
            with contextlib.suppress(OSError):
                match = re.match(process.NAME, lease.read_text())
                if match and process.lives(int(match["pid"]), match["start"]):
                    return int(match["pid"])
        time.sleep(0.002)
    raise AssertionError("nobody takes it")


def is_gone(pid: int) -> bool:
    until = time.monotonic() + PATIENCE
    while process.start_of(pid) not in ("", "0") and time.monotonic() < until:
        time.sleep(0.05)
    return time.monotonic() < until


@contextlib.contextmanager
def two_killed(place: Path, pattern: str) -> Iterator[None]:
    """Meanwhile, kill the process that holds a record, and the one that takes its place."""

    def kill() -> None:
        for _ in range(2):
            pid = holder_of(place, pattern)
            os.kill(pid, signal.SIGKILL)
            is_gone(pid)

    killing = threading.Thread(target=kill)
    killing.start()
    yield
    killing.join()
