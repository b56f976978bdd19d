"""A process as others see it: `MACHINE-PID-START`, in the names and files of what it makes and holds."""

import contextlib
import hashlib
import os
import platform
from functools import cache
from pathlib import Path

NAME = r"(?P<machine>[0-9a-f]{12})-(?P<pid>\d{1,10})-(?P<start>\d{1,20})"
"""A regular expression of a process's name."""


def own_name() -> str:
    """The name of this process."""
    pid = os.getpid()
    return f"{machine()}-{pid}-{start_of(pid)}"


@cache
def machine() -> str:
    """This start of this machine, and within it the container whose process numbers we see."""
    told = [platform.node()]
    for path, read in (("/proc/sys/kernel/random/boot_id", _text), ("/proc/self/ns/pid", os.readlink)):
        with contextlib.suppress(OSError):
            told.append(read(path))
    return hashlib.sha256("\0".join(told).encode("utf-8", "surrogateescape")).hexdigest()[:12]


def lives(pid: int, start: str) -> bool | None:
    """Whether a process of this machine lives; None where one of its number does and nothing tells them apart."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's
        pass
    now = start_of(pid)
    return None if "0" in (now, start) else now == start


def start_of(pid: int) -> str:
    """When a process started, in the kernel's ticks: a later process of the same number has another. "0": unknown.

    One that has ended and that nobody has waited for has none.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
        fields = stat[stat.rindex(b")") :].split()  # the name before them may hold blanks and brackets
        return "" if fields[1] in (b"Z", b"X") else fields[20].decode("ascii")
    except (OSError, ValueError, IndexError):
        return "0"


def _text(path: str) -> str:
    return Path(path).read_text(encoding="ascii").strip()
