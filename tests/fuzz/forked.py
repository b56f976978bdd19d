"""A command of ours in a forked process, which is killed at an operation on a file, or gets a signal at a moment.

What the commands import is imported once, by the process that forks: a case takes as long as its work and no longer.
"""

import builtins
import io
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PATIENCE = 120.0
"""Seconds after which a command hangs."""

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_AUDITED = {  # how many paths come first in an event's arguments, and where their folders' handles stand, if anywhere
    "os.rename": (2, 2),
    "os.link": (2, 2),
    "os.symlink": (2, None),
    "os.remove": (1, 1),
    "os.rmdir": (1, 1),
    "os.mkdir": (1, 2),
    "os.chmod": (1, 2),
    "os.truncate": (1, None),
    "os.utime": (1, None),
    "sqlite3.connect": (1, None),
}


@dataclass
class Operations:
    """Counts what a process does to files below a folder, and kills it at one of them.

    Counted are opening for writing, each write, fsync, truncate, rename, link, unlink, mkdir, rmdir, chmod, utime,
    each opening of an SQLite file and each file that safetensors writes.

    Attributes:
        root: The folder.
        at: The operation to die at, from 0: before it; a write is done by half. None for none.
        seen: Each operation so far.
    """

    root: str
    at: int | None = None
    seen: list[str] = field(default_factory=list)

    def watch(self) -> None:
        """Count from now on, in this process, for ever."""
        sys.addaudithook(self._audit)
        real_open, real_fsync, real_write = io.open, os.fsync, os.write
        counted = _raw_class(self)

        def open_counted(  # noqa: PLR0917 - as the function that it stands for
            file: Any,
            mode: str = "r",
            buffering: int = -1,
            encoding: str | None = None,
            errors: str | None = None,
            newline: str | None = None,
            closefd: bool = True,
            opener: Any = None,
        ) -> Any:
            if not set(mode) & set("wax+"):
                return real_open(file, mode, buffering, encoding, errors, newline, closefd, opener)
            raw = counted(file, mode.replace("b", "").replace("t", ""), closefd, opener)
            if buffering == 0:
                return raw
            buffer = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            return buffer if "b" in mode else io.TextIOWrapper(buffer, encoding, errors, newline, buffering == 1)

        def fsync(handle: Any) -> None:
            self.count("fsync", _path_of(handle if isinstance(handle, int) else handle.fileno()))
            real_fsync(handle)

        def write(handle: int, data: Any) -> int:
            self.count("write", _path_of(handle), lambda: real_write(handle, bytes(data)[: len(data) // 2]))
            return real_write(handle, data)

        io.open = builtins.open = open_counted  # type: ignore[assignment]
        os.fsync, os.write = fsync, write
        self._watch_safetensors()

    def count(self, what: str, path: str, half: Callable[[], object] = lambda: None) -> None:
        """Count an operation; where it is the one to die at, do half of it and die."""
        if not path.startswith(self.root):
            return
        if len(self.seen) == self.at:
            half()
            os.kill(os.getpid(), signal.SIGKILL)
        self.seen.append(f"{what} {path.removeprefix(self.root)}")

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = args
            if isinstance(flags, int) and flags & _WRITING and not isinstance(path, int):
                self.count("open", _absolute(path))
        elif event in _AUDITED:
            paths, handles = _AUDITED[event]
            at = [args[handles + n] if handles is not None else -1 for n in range(paths)]
            for path, folder in list(zip(args, at, strict=False))[-1:]:
                self.count(event, _absolute(path, folder))

    def _watch_safetensors(self) -> None:
        import safetensors.torch

        real = safetensors.torch.serialize_file

        def half(path: str) -> None:
            with real_open(path, "r+b") as stream:
                stream.truncate(os.stat(path).st_size // 2)  # noqa: PTH116

        def serialize_file(tensors: Any, filename: Any, metadata: Any = None) -> None:
            path = _absolute(filename)
            self.count("safetensors", path, lambda: (real(tensors, filename, metadata), half(path)))
            real(tensors, filename, metadata)

        real_open = io.open
        safetensors.torch.serialize_file = serialize_file


def _raw_class(operations: Operations) -> Callable[..., io.FileIO]:
    class CountedFile(io.FileIO):
        """A file of which each write to the disk is counted."""

        def write(self, data: Any) -> int:
            half = memoryview(data).cast("B")[: len(data) // 2]
            operations.count("write", _path_of(self.fileno()), lambda: super(CountedFile, self).write(half))
            return super().write(data)

        def truncate(self, size: int | None = None) -> int:
            operations.count("truncate", _path_of(self.fileno()))
            return super().truncate(size)

    return CountedFile


def _path_of(handle: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{handle}")  # noqa: PTH115
    except OSError:
        return ""


def _absolute(path: Any, folder: object = -1) -> str:
    if isinstance(path, int):
        return _path_of(path)
    name = os.fsdecode(path)
    return os.path.join(_path_of(folder) if isinstance(folder, int) and folder >= 0 else os.getcwd(), name)  # noqa: PTH109, PTH118


@dataclass(frozen=True)
class Ending:
    """How a command ended.

    Attributes:
        code: Its exit code; minus the number of the signal that killed it.
        out: What it wrote on stdout.
        err: What it wrote on stderr.
        seconds: How long it took.
        operations: What it did to files, where it was not killed.
    """

    code: int
    out: str
    err: str
    seconds: float
    operations: list[str]


def carry_out(
    args: Sequence[str],
    place: Path,
    *,
    kill_at: int | None = None,
    send: tuple[int, float] | None = None,
) -> Ending:
    """Run `bench ARGS...` in a folder of its own, in a fork of this process.

    Args:
        args: The arguments.
        place: The folder; its cache and temporary folder are `cache` and `tmp` in it. What it says goes beside it.
        kill_at: The operation on a file at which it kills itself.
        send: A signal, and how many seconds after the command's start it is sent.
    """
    place.mkdir(parents=True, exist_ok=True)
    logs = {name: place.with_name(f"{place.name}.{name}") for name in ("out", "err", "ops")}
    began_read, began_write = os.pipe()
    begin = time.monotonic()
    pid = os.fork()
    if pid == 0:
        _be_command(args, place, logs, began_write, kill_at)
    os.close(began_write)
    os.read(began_read, 1)  # from here on it minds signals; empty where it has ended
    os.close(began_read)
    if send is not None:
        _send_later(pid, *send)
    code = os.waitstatus_to_exitcode(_wait(pid, begin + PATIENCE))
    out, err = (logs[name].read_text(encoding="utf-8", errors="backslashreplace") for name in ("out", "err"))
    operations = logs["ops"].read_text(encoding="utf-8").split("\n") if logs["ops"].exists() else []
    for log in logs.values():
        log.unlink(missing_ok=True)
    return Ending(code, out, err, time.monotonic() - begin, operations)


def _send_later(pid: int, number: int, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return
        time.sleep(min(0.002, max(0.0, until - time.monotonic())))
    os.kill(pid, number)  # nobody has waited for it: the number is still its own


def _wait(pid: int, until: float) -> int:
    while time.monotonic() < until:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return status
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    raise TimeoutError(f"a command hung for {PATIENCE:.0f} s")


def _be_command(args: Sequence[str], place: Path, logs: dict[str, Path], began: int, kill_at: int | None) -> None:
    """Be the command, as the console script is it, and end the process."""
    code = 70
    try:
        os.chdir(place)
        temporary = place / "tmp"
        temporary.mkdir(exist_ok=True)
        os.environ.update({"BENCH_CACHE": str(place / "cache"), "TMPDIR": str(temporary), "COLUMNS": "100"})
        for handle, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(logs[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), handle)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115
        sys.argv = ["bench", *args]
        operations = Operations(f"{place}/", kill_at)
        operations.watch()
        code = _main(began)
        sys.stdout.flush()
        sys.stderr.flush()
        logs["ops"].write_text("\n".join(operations.seen), encoding="utf-8")
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _main(began: int) -> int:
    from bench import cli
    from bench.cli import failures

    real = failures.watch_signals

    def watch_signals() -> None:
        real()
        os.close(began)

    failures.watch_signals = watch_signals
    try:
        cli.main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0
