"""`bench run --on ray`: workers in a cluster of two, and what becomes of them."""

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from fuzz.commands import essence
from launched import PATIENCE, ended, holder_of, is_gone, two_killed

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed"),
    pytest.mark.skipif(sys.platform != "linux", reason="a cluster is tested on Linux"),
]
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}  # else Ray writes one into the user's home


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in TOKEN.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """`--on` of a cluster of one machine with two cores."""
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:  # a short name: sockets lie in it
        log = Path(folder) / "log"
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--num-cpus", "2"]
        command += ["--port", "0", "--temp-dir", folder]
        command += ["--include-dashboard", "false", "--disable-usage-stats", "--object-store-memory", "100000000"]
        with log.open("w") as said:
            env = os.environ | TOKEN
            head = subprocess.Popen(command, stdout=said, stderr=said, env=env, start_new_session=True)
        try:
            yield f"ray:{_address(head, log)}"
        finally:
            head.send_signal(signal.SIGTERM)
            head.wait(60)


def _address(head: "subprocess.Popen[bytes]", log: Path) -> str:
    until = time.monotonic() + PATIENCE
    while "--address='" not in log.read_text():
        assert head.poll() is None, log.read_text()
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.1)
    return log.read_text().partition("--address='")[2].partition("'")[0]


def errors(err: str) -> list[str]:
    return [line for line in err.splitlines() if line.startswith("bench: error: ")]


def test_a_cluster_leaves_what_one_process_does_whoever_is_killed(start, tmp_path, undisturbed, cluster):
    """A worker; then the command, which is given again."""
    shared = tmp_path / "shared"
    killed = start("shared", "--on", cluster)
    pid = holder_of(shared, "tiny-contrastive-s0-*")
    killed.kill()
    killed.wait()
    assert is_gone(pid), "workers end with the command"

    command = start("shared", "--on", cluster, "--json", "--workers", "3")  # the third waits for a core
    os.kill(holder_of(shared, "tiny-contrastive-s1-*"), signal.SIGKILL)
    out, err, code = ended(command)
    assert code == 0, err
    value = json.loads(out)
    assert value["failed"] == []
    assert [Path(one).name.rpartition("-")[0] for one in value["runs"]] == [
        *("tiny-none-s0", "tiny-contrastive-s0", "tiny-none-s1", "tiny-contrastive-s1")
    ]
    first, second, *lines = err.splitlines()
    assert first == f"joining the Ray cluster at {cluster.partition(':')[2]} …"
    assert second == "3 workers for 4 experiments, 1 thread each"
    assert all(re.match(r"worker [123]: ", line) for line in lines), "Ray says nothing"
    assert sum(line.endswith("ended (killed by SIGKILL); another process takes its place") for line in lines) == 1
    assert essence(shared) == undisturbed


def test_an_experiment_at_which_two_workers_die_fails_alone(start, tmp_path, cluster):
    command = start("shared", "--on", cluster, "--seeds", "0")

    with two_killed(tmp_path / "shared", "tiny-contrastive-s0-*"):
        out, err, code = ended(command)
    assert code == 4, err
    assert "tiny-none-s0-" in out
    assert len(list((tmp_path / "shared" / "runs").glob("*/result.json"))) == 1
    assert len(errors(err)) == 1
    assert "2 workers have ended while they carried it out (killed by SIGKILL)" in err


def test_sigterm_ends_all_workers(start, tmp_path, cluster):
    command = start("shared", "--on", cluster, "--workers", "3")
    pids = [holder_of(tmp_path / "shared", f"tiny-{name}-*") for name in ("none", "contrastive")]
    command.send_signal(signal.SIGTERM)
    out, err, code = ended(command)
    assert (out, code) == ("", 143)
    assert err.splitlines()[-1] == "bench: interrupted; the same command resumes it"
    assert all(map(is_gone, pids))
    assert list((tmp_path / "shared" / "runs").glob(".*.lease")) == [], "they gave up what they held"


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        (["--worker-gpus", "1"], 3, "the Ray cluster has no GPU; --worker-gpus 0 measures on processors"),
        (["--on", "ray:127.0.0.1:1"], 3, "no Ray cluster answers at 127.0.0.1:1 (ConnectionRefusedError); start one"),
        (["--on", "ray://head:10001"], 2, "'//head:10001' is no address of a Ray cluster; write --on ray:HOST:PORT"),
        (["--on", "spark"], 2, "--on spark is not known; say --on ray, --on ray:auto or --on ray:HOST:PORT"),
    ],
)
def test_what_is_not_there_is_said_in_a_line(start, cluster, more, code, says):
    out, err, ending = ended(start("shared", "--on", cluster, *more))
    assert (out, ending) == ("", code)
    assert errors(err) == [err.splitlines()[-1]]
    assert says in err
