"""The installed command, run as a user runs it."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from forking import Process, Server, installed
from fuzz.commands import Essence, essence

Bench = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., Process]
ARGS = ("--method", "contrastive", "--seeds", "0-1", "--batch-tokens", "400")
WORKING = {"OMP_NUM_THREADS": "1", "COLUMNS": "100"}
_ENVIRONMENT = dict(os.environ)  # before any test has changed it

# Where the tests run in the background, a shell may have told them to ignore Ctrl-C, and what they start would too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def environment(cache: Path) -> dict[str, str]:
    """The caller's environment without its own settings, with a cache of the test's own."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("BENCH_") and key != "COLUMNS"}
    return kept | {"BENCH_CACHE": str(cache)}


@pytest.fixture
def variables(cache_dir: Path) -> dict[str, str]:
    """The environment of a command that works: one thread, 100 columns."""
    return environment(cache_dir) | WORKING


@pytest.fixture(scope="session")
def forks() -> Iterator[Server]:
    """What carries commands out in forks."""
    server = Server(_ENVIRONMENT)
    yield server
    server.close()


@pytest.fixture
def carried_out(tmp_path: Path, request: pytest.FixtureRequest) -> Bench:
    """Run `bench` with a list of arguments, an environment and a patience (seconds), in a folder of the test's own.

    In tests marked `installed` it is the installed command, elsewhere mostly a fork.
    """
    itself = request.node.get_closest_marker("installed")
    run = installed if itself else request.getfixturevalue("forks").carry_out
    return lambda args, env, patience: run(args, env, tmp_path, patience)


@pytest.fixture
def bench(carried_out: Bench, cache_dir: Path) -> Bench:
    """Run `bench ARGS...` in an empty folder and return what it did; keyword arguments add variables."""
    return lambda *args, **variables: carried_out(args, environment(cache_dir) | variables, 120)


@pytest.fixture(scope="session")
def module_bench(forks: Server) -> Bench:
    """Run `bench ARGS...` in a folder, which holds its cache: for fixtures that outlive a test."""

    def run(folder: Path, *args: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        return forks.carry_out(args, environment(folder / "cache") | WORKING, folder, 300, typed)

    return run


@pytest.fixture(scope="session")
def installed_bench() -> Bench:
    """As `module_bench`, with the installed command itself: its hash seed is another than that of forks."""
    return lambda folder, *args: installed(args, environment(folder / "cache") | WORKING, folder, 300)


@pytest.fixture(scope="session")
def small_suite(write_suite, tmp_path_factory) -> str:
    made = write_suite(tmp_path_factory.mktemp("small"), decoding={"num_samples": 10, "max_new_tokens": 12})
    time.sleep(2.1)  # a file that was just changed is hashed again by the next process
    return str(made)


@pytest.fixture
def start(tmp_path: Path, variables: dict[str, str], small_suite: str, forks: Server) -> Iterator[Start]:
    """Start `bench run ARGS...` on the suite, in a place of its own, and end it with the test."""
    started = []

    def begin(place: str, *more: str) -> Process:
        folder = tmp_path / place
        folder.mkdir(exist_ok=True)
        env = variables | {"BENCH_CACHE": str(folder / "cache")}
        started.append(forks.begin(["run", *ARGS, "--suite", small_suite, *more], env, folder))
        return started[-1]

    yield begin
    for one in started:
        one.kill()
        one.communicate()


@pytest.fixture(scope="session")
def undisturbed(installed_bench, small_suite, tmp_path_factory) -> Essence:
    """What one process leaves."""
    folder = tmp_path_factory.mktemp("undisturbed")
    assert installed_bench(folder, "run", *ARGS, "--suite", small_suite).returncode == 0
    return essence(folder)
