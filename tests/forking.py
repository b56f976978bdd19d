"""`bench` as a fork of a process that has imported what commands import: it begins at once, and not after 8 s.

Each command is a process of its own all the same: the command's `main` with its own arguments, environment, folder,
stdin, stdout, stderr, signals and exit code. What it shares with the others is what importing leaves behind, so this is
not for tests of what importing does:

- how a command starts, and fails to start; what it loads, and what is said while it loads;
- plugins, and whatever else `PYTHONPATH` brings in or patches;
- what Python or a library reads when it is loaded (`HOME`, `HF_HUB_OFFLINE`, so `--offline`): `Server.takes` tells;
- whether sets have an order: all forks have the same hash seed.

So each verb is given to the installed command until it has succeeded once (`carry_out`), and what this hides is seen
there. A test that runs alone runs the installed command first, too.

The server may have no thread but its own, as forks would lack the others: it imports, and computes nothing.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

COMMAND = str(Path(sysconfig.get_path("scripts")) / "bench")
MODULES = (
    *("accelerate", "datasets", "matplotlib.figure", "peft", "profanity_check", "py3langid", "rouge_score", "rich"),
    *("transformers.trainer", "pandas", "pyarrow.parquet", "bench.cli.app", "bench.cli.progress", "bench.policy"),
    *("bench.run.launch.local", "bench.sets.own", "bench.sets.written.runner", "bench.sets.written.measure"),
    *("bench.judging.tournament", "bench.writers.opening", "methods.contrastive", "methods.none", "reports.gate"),
    *("reports.page.page", "reports.table.forms", "reports.table.build", "reports.tradeoff.build"),
)
"""What commands import, so that no fork does."""
_FREE = (
    *("BENCH_", "_BENCH_", "COMP_", "COLUMNS", "PYTEST_"),
    *("KMP_", "TORCHINDUCTOR_", "HF_XET_", "RAY_CLIENT_MODE", "MLFLOW_", "_MLFLOW_", "WANDB_"),
    *("TOKENIZERS_PARALLELISM", "MKL_CBWR", "TQDM_DISABLE", "HF_HUB_DISABLE_PROGRESS_BARS", "TRANSFORMERS_VERBOSITY"),
)
"""How variables begin that may be others than the server's: a command reads them when it runs; what tests import sets
them for itself; or each command sets them (`settle_process`), and so has the server, and tests that call one."""
_THREADS = "OMP_NUM_THREADS"
_OF_AN_ALLOCATOR = "jemalloc_bg_thd"  # pyarrow's, whose forks start their own
_GROUPS = ("data", "methods", "scorers", "suites", "tasks")  # their verbs have two words
_LARGEST = 1 << 20  # bytes of a request; an environment has a few thousand


Done = subprocess.CompletedProcess[str]


def installed(args: Sequence[str], env: Mapping[str, str], cwd: Path, patience: float, typed: str = "") -> Done:
    """Run `bench ARGS...`, the installed command itself."""
    return subprocess.run(
        [COMMAND, *args],
        env=env,
        cwd=cwd,
        input=typed,
        text=True,
        encoding="utf-8",
        capture_output=True,
        timeout=patience,
        check=False,
    )


class Forked:
    """A command that runs, or has run; named as in `subprocess.Popen`."""

    def __init__(self, args: Sequence[str], told: int, stdin: int, stdout: int, stderr: int) -> None:
        self.args = args
        self._told = os.fdopen(told)
        self.stdin = os.fdopen(stdin, "w", encoding="utf-8")
        self.stdout, self.stderr = (os.fdopen(handle, encoding="utf-8") for handle in (stdout, stderr))
        self.pid = int(self._line())
        self.returncode: int | None = None
        self._said: tuple[str, str] | None = None

    def poll(self) -> int | None:
        """Its exit code, minus the number of the signal that ended it; None as long as it runs."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended."""
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired([*self.args], timeout or 0)
        return code

    def communicate(self, typed: str = "", timeout: float | None = None) -> tuple[str, str]:
        """Type some lines, read what is left to be read until its end, and return that of stdout and of stderr."""
        if self._said is None:
            with contextlib.suppress(BrokenPipeError):  # it may have ended
                self.stdin.write(typed)  # a pipe holds more than any test types
                self.stdin.close()
            read: dict[str, str] = {}
            streams = {"out": self.stdout, "err": self.stderr}
            readers = [
                threading.Thread(target=lambda n=name, s=stream: read.update({n: s.read()}), daemon=True)
                for name, stream in streams.items()
            ]
            until = None if timeout is None else time.monotonic() + timeout
            for reader in readers:
                reader.start()
            for reader in readers:
                reader.join(None if until is None else max(until - time.monotonic(), 0))
            self.wait(None if until is None else max(until - time.monotonic(), 0))
            for stream in streams.values():
                stream.close()
            self._said = read["out"], read["err"]
        return self._said

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def _ended(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._told], [], [], timeout)[0]:
            self.returncode = int(self._line())
            self._told.close()
        return self.returncode

    def _line(self) -> str:
        line = self._told.readline()
        assert line, "the server of forks has ended"
        return line


Process = Forked | subprocess.Popen[str]


class Server:
    """The process that forks, and how it is asked."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = {**environment, _THREADS: "1"}
        self.proven: set[tuple[str, ...]] = set()  # verbs that the installed command has carried out
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, __file__, str(theirs.fileno())]
        nothing, shared = subprocess.DEVNULL, (theirs.fileno(),)
        self._process = subprocess.Popen(
            command, env=self.environment, stdin=nothing, stdout=nothing, pass_fds=shared, start_new_session=True
        )
        theirs.close()

    @cached_property
    def works(self) -> bool:
        """Whether it has loaded; where it has not, stderr says why, and all commands are the installed one."""
        return bool(self._ours.recv(1))

    def takes(self, args: Sequence[str], env: Mapping[str, str]) -> bool:
        """Whether a command is the same in a fork: it has no variable of its own that is read where things load."""
        if "--offline" in args or "BENCH_OFFLINE" in env or not self.works:
            return False
        wanted = {_THREADS: "1", **env}
        names = [name for name in wanted.keys() | self.environment.keys() if not name.startswith(_FREE)]
        return all(wanted.get(name) == self.environment.get(name) for name in names)

    def begin(self, args: Sequence[str], env: Mapping[str, str], cwd: Path) -> Process:
        """Start `bench ARGS...`, in a fork where that is the same."""
        if self.takes(args, env):
            return self.start(args, env, cwd)
        pipe = subprocess.PIPE
        return subprocess.Popen([COMMAND, *args], env=env, cwd=cwd, stdout=pipe, stderr=pipe, text=True)

    def start(self, args: Sequence[str], env: Mapping[str, str], cwd: Path) -> Forked:
        """Start `bench ARGS...` in a fork."""
        (stdin, typed), (out, stdout), (err, stderr), (told, tell) = (os.pipe() for _ in range(4))
        request = json.dumps({"args": [*args], "env": {**env}, "cwd": str(cwd)}).encode()
        theirs = [stdin, stdout, stderr, tell]
        socket.send_fds(self._ours, [request], theirs)
        for handle in theirs:
            os.close(handle)
        return Forked((COMMAND, *args), told, typed, out, err)

    def carry_out(
        self, args: Sequence[str], env: Mapping[str, str], cwd: Path, patience: float, typed: str = ""
    ) -> Done:
        """Run `bench ARGS...` in a fork where that is the same, and its verb has succeeded by itself."""
        verb = tuple(args[: 2 if args and args[0] in _GROUPS else 1])
        if verb in self.proven and self.takes(args, env):
            return self.run(args, env, cwd, patience, typed)
        done = installed(args, env, cwd, patience, typed)
        if not done.returncode:
            self.proven.add(verb)
        return done

    def run(self, args: Sequence[str], env: Mapping[str, str], cwd: Path, patience: float, typed: str = "") -> Done:
        """Run `bench ARGS...` in a fork, to its end; it is killed when patience (seconds) is over."""
        begun = self.start(args, env, cwd)
        try:
            out, err = begun.communicate(typed, patience)
        finally:
            begun.kill()
        return subprocess.CompletedProcess([COMMAND, *args], begun.wait(), out, err)

    def close(self) -> None:
        """End it, with what it started."""
        self._ours.close()
        self._process.wait()


class _Serving:
    """The server's own side."""

    def __init__(self, asked: socket.socket) -> None:
        self.asked = asked
        self.running: dict[int, tuple[int, int]] = {}
        """Processes, and where the end of each is told, by a handle that is readable at its end."""

    def serve(self) -> None:
        """Fork for each request, and tell the end of each fork, until nobody is left to ask."""
        while True:
            for ready in select.select([self.asked.fileno(), *self.running], [], [])[0]:
                if ready != self.asked.fileno():
                    self._tell_end(ready)
                elif not self._fork():
                    for pid, _ in self.running.values():
                        os.kill(pid, signal.SIGKILL)
                    return

    def _fork(self) -> bool:
        request, handles, _, _ = socket.recv_fds(self.asked, _LARGEST, 4)
        if not request:
            return False
        *streams, tell = handles
        pid = os.fork()
        if not pid:
            for handle in (self.asked.detach(), tell, *self.running, *(other for _, other in self.running.values())):
                os.close(handle)
            _be(json.loads(request), streams)
        for handle in streams:
            os.close(handle)
        self.running[os.pidfd_open(pid)] = pid, tell
        os.write(tell, f"{pid}\n".encode())
        return True

    def _tell_end(self, ready: int) -> None:
        pid, tell = self.running.pop(ready)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        with contextlib.suppress(BrokenPipeError):  # whoever asked has gone
            os.write(tell, f"{code}\n".encode())
        os.close(tell)
        os.close(ready)


def _load() -> None:
    """Import what commands import."""
    sys.path[0] = str(Path(COMMAND).parent)  # as in the command
    from bench.cli.run import settle_process

    settle_process(offline=False)  # libraries read it when they are loaded
    for name in MODULES:
        importlib.import_module(name)
    threads = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    assert threads.count(_OF_AN_ALLOCATOR) == len(threads) - 1, f"forks would lack a thread: {threads}"
    gc.collect()
    gc.freeze()  # trainings collect garbage: what is here already is none


def _be(request: dict[str, Any], streams: Sequence[int]) -> NoReturn:
    """Be the command's process, from its first line to its end."""
    from bench import cli

    for number, handle in enumerate(streams):
        os.dup2(handle, number)
        os.close(handle)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = [COMMAND, *request["args"]]
    code: object = 0
    try:
        cli.main()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    # As `multiprocessing` ends its forks: taking down what the server has imported would take half a second.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        code = 120  # as Python's own
    os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    asked = socket.socket(fileno=int(sys.argv[1]))
    _load()
    asked.send(b"1")
    _Serving(asked).serve()
