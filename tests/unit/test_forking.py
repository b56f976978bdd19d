"""Commands in forks (`forking`): each is a process of its own, and what a fork would hide is not given to one."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from forking import MODULES, Forked, Server, installed
from synthetic import write_run

BEFORE = dict(os.environ)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server(BEFORE)
    if not server.works:
        pytest.skip("the server of forks does not load here: all commands are the installed one")
    yield server
    server.close()


def started(server: Server, folder: Path, *args: str, **more: str) -> Forked:
    return server.start(args, {**BEFORE, "BENCH_CACHE": str(folder / "cache"), **more}, folder)


@pytest.mark.parametrize("args", [("--version",), ("metods",), ("methods", "show", "dpo", "--json"), ("table", "x")])
def test_it_ends_and_says_what_the_installed_command_does(server, tmp_path, args):
    env = {**BEFORE, "BENCH_CACHE": str(tmp_path / "cache"), "COLUMNS": "70"}
    fork, own = server.run(args, env, tmp_path, 100), installed(args, env, tmp_path, 100)
    assert (fork.returncode, fork.stdout, fork.stderr) == (own.returncode, own.stdout, own.stderr)
    assert own.stdout + own.stderr


def test_folder_and_variables_are_its_own(server, tmp_path):
    listed = []
    for name in ("none", "dpo"):
        write_run(tmp_path / name / "runs", name)
        both = [started(server, tmp_path / name, "runs", "--json", COLUMNS="60") for _ in range(2)]
        listed.append([(*one.communicate(timeout=100), one.returncode) for one in both])
    assert listed[0][0] == listed[0][1] != listed[1][0]
    for name, some in zip(("none", "dpo"), listed, strict=True):
        assert [(f"mini-{name}-s0" in out, err, code) for out, err, code in some] == [(True, "", 0)] * 2


def test_a_signal_is_told_as_the_kernel_tells_it(server, tmp_path):
    one = started(server, tmp_path, "methods")
    one.send_signal(signal.SIGSTOP)
    assert one.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        one.communicate(timeout=0.1)
    one.kill()
    assert one.wait(100) == one.poll() == -signal.SIGKILL


def test_what_a_fork_would_hide_is_not_given_to_one(server):
    assert server.takes(["run"], BEFORE)
    assert server.takes(["run"], {**BEFORE, "BENCH_RUNS": "x", "COLUMNS": "9"})
    for name in ("HOME", "PYTHONPATH", "PYTHONIOENCODING", "HF_HUB_OFFLINE", "WORLD_SIZE", "BENCH_OFFLINE"):
        assert not server.takes(["run"], {**BEFORE, name: "1"})
    assert not server.takes(["run"], {**BEFORE, "OMP_NUM_THREADS": "2"})
    assert not server.takes(["run", "--offline"], BEFORE)


def test_what_tests_import_and_commands_set_keeps_none_from_a_fork(server):
    code = (
        "import importlib, json, os; from bench.cli.run import settle_process; settle_process(offline=False)\n"
        f"for name in {(*MODULES, 'lm_eval', 'mlflow', 'ray', 'wandb')!r}: importlib.import_module(name)\n"
        "print(json.dumps(dict(os.environ)))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=BEFORE, capture_output=True, text=True, check=True)
    assert server.takes(["run"], json.loads(done.stdout.splitlines()[-1]))
