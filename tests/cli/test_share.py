"""`bench run` several times at once: the processes share the work, and what they leave does not show who did what."""

import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from forking import Process, Server
from fuzz.commands import Essence, essence

PATIENCE = 300
SEEDS = 3
CELLS = 2 * SEEDS
ARGS = ("--method", "contrastive", "--seeds", f"0-{SEEDS - 1}", "--batch-tokens", "400")
# Prompts that the model writes sets of, so that these are shared as well.
SELF = {
    **{"source": "self", "positive_below": 0.04, "negative_above": 0.05, "num_prompts": 8},
    "decoding": {"num_samples": 80, "max_new_tokens": 20},
}
_NO_FLOCK = """
import errno, fcntl
def missing(*_):
    raise OSError(errno.ENOSYS, "no such call here")
fcntl.flock = fcntl.lockf = missing
"""
# Another machine, as far as leases can tell, and leases that end soon.
_ELSEWHERE = """
import os, platform
from bench.store import lease
platform.node = lambda: os.environ["NODE"]
lease.LEASE_SECONDS, lease.BEAT_SECONDS = 4.0, 0.5
"""
Start = Callable[..., Process]


@pytest.fixture(scope="module")
def suite(write_suite, tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("suite")
    prompts = folder / "self.jsonl"
    prompts.write_text("".join(json.dumps({"text": f"It rained on {n} stones"}) + "\n" for n in range(24)))
    decoding = {"num_samples": 10, "max_new_tokens": 12}
    made = write_suite(folder, sets={**SELF, "prompts": str(prompts)}, decoding=decoding)
    time.sleep(2.1)  # a file that was just changed is hashed again by the next process
    return str(made)


@pytest.fixture
def start(tmp_path: Path, variables: dict[str, str], forks: Server) -> Iterator[Start]:
    """Start `bench run ARGS...` in a place of its own (a cache and records), and end it with the test."""
    started = []

    def begin(place: str, *args: str, **more: str) -> Process:
        folder = tmp_path / place
        folder.mkdir(exist_ok=True)
        env = variables | {"BENCH_CACHE": str(folder / "cache")} | more
        started.append(forks.begin(["run", *args], env, folder))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def undisturbed(installed_bench, suite, tmp_path_factory) -> tuple[str, Essence]:
    """What one process prints and leaves."""
    folder = tmp_path_factory.mktemp("undisturbed")
    done = installed_bench(folder, "run", *ARGS, "--suite", suite)
    assert done.returncode == 0, done.stderr
    return figures(done.stdout), essence(folder)


def ended(process: Process) -> tuple[str, str, int]:
    """The figures that it printed, what it said, and its exit code."""
    out, err = process.communicate(timeout=PATIENCE)
    assert "Traceback" not in err
    return figures(out), err, process.returncode


def figures(out: str) -> str:
    """What was printed, without the notes below the legend, and what it took (times, memory)."""
    legend = re.search(r"(?m)^↑ higher.*$", out)
    assert legend
    table = out[: legend.end()]
    taken = r"(?m)^ *(.* seconds|.* per second|peak memory gib) .*$|[¹²³⁴⁵]"
    return re.sub(taken, "", table)


def patched(folder: Path, code: str) -> dict[str, str]:
    """The environment of a Python that runs some code first."""
    (folder / "patched").mkdir()
    (folder / "patched" / "sitecustomize.py").write_text(code)
    return {"PYTHONPATH": str(folder / "patched")}


def made_by(err: str) -> list[str]:
    """The experiments that a process carried out: those that it did not find."""
    return re.findall(r"^\[\d+/\d+\] (.*, seed \d+): tiny-", err, re.MULTILINE)


def wait_for(place: Path, pattern: str, processes: Sequence[Process]) -> None:
    until = time.monotonic() + PATIENCE
    while not any(path.stat().st_size for path in place.glob(pattern)):
        assert time.monotonic() < until
        assert any(one.poll() is None for one in processes), "it ended before it could be stopped"
        time.sleep(0.005)


def test_processes_share_the_experiments(start, suite, tmp_path, undisturbed):
    """Two at once, where there is no flock: each does its part, both print the whole table, and the bytes are those
    of one process."""
    patch = patched(tmp_path, _NO_FLOCK)
    both = [start("shared", *ARGS, "--suite", suite, **patch) for _ in range(2)]
    endings = [ended(one) for one in both]
    assert [code for _, _, code in endings] == [0, 0]
    assert [out for out, _, _ in endings] == [undisturbed[0]] * 2
    parts = [made_by(err) for _, err, _ in endings]
    assert all(parts), "each of them had its part"
    assert len({*parts[0], *parts[1]}) == CELLS
    # Both may begin one at the same moment; who finds it taken leaves it.
    assert sum(err.count("heldout … done") for _, err, _ in endings) == CELLS, "nothing was done twice"
    assert sum(err.count("contrastive sets … done") for _, err, _ in endings) == 1
    assert essence(tmp_path / "shared") == undisturbed[1]


def test_what_a_killed_process_held_is_gone_on_with_by_another(start, suite, tmp_path, undisturbed):
    place = tmp_path / "shared"
    first = start("shared", *ARGS, "--suite", suite)
    wait_for(place, "runs/*/samples/rtp.jsonl", [first])
    second = start("shared", *ARGS, "--suite", suite)
    wait_for(place, "cache/artifacts/.*.tmp/*", [first, second])
    first.kill()
    first.communicate()
    out, err, code = ended(second)
    assert (out, code) == (undisturbed[0], 0)
    assert "waiting" not in err, "what is free is not waited for"
    ended(start("shared", *ARGS, "--suite", suite))  # sweeps what was half made
    assert essence(place) == undisturbed[1]


@pytest.mark.slow
@pytest.mark.parametrize("way", [signal.SIGKILL, signal.SIGSTOP], ids=["dies", "sleeps"])
def test_a_machine_that_dies_or_sleeps_loses_its_experiment_to_another(start, suite, tmp_path, undisturbed, way):
    """One that wakes finds out before it writes, and continues with what is left."""
    place, patch = tmp_path / "shared", patched(tmp_path, _ELSEWHERE)
    first = start("shared", *ARGS, "--suite", suite, **patch, NODE="first")
    wait_for(place, "runs/*/samples/rtp.jsonl", [first])
    first.send_signal(way)
    (held,) = (place / "runs").glob(".*.lease")
    second = start("shared", *ARGS, "--suite", suite, **patch, NODE="second")
    out, said, code = ended(second)
    assert (out, code) == (undisturbed[0], 0)
    if way == signal.SIGSTOP:
        assert not held.exists()
        first.send_signal(signal.SIGCONT)
        out, err, code = ended(first)
        assert (out, code) == (undisturbed[0], 0)
        assert re.search(r"another process has taken over .*: this one gave no sign of life for a while", err)
    else:
        for path in [*place.rglob("*.tmp"), *place.rglob("*.lease")]:
            os.utime(path, (0, 0))  # of another machine: swept when it is old
        ended(start("shared", *ARGS, "--suite", suite, **patch, NODE="second"))
    left = essence(place)
    if "scores are not cached" in said:  # the first was stopped while it held the file of scores
        left["cache/scores.sqlite3"] = undisturbed[1]["cache/scores.sqlite3"]
    assert left == undisturbed[1]


def test_what_one_fails_at_the_other_tries_no_more(start, tiny_suite, tmp_path):
    rows = tmp_path / "positives.jsonl"
    rows.write_text('{"anchor": "She asked", "positives": [{"text": " him."}], "negatives": []}\n')
    args = ("--method", "contrastive", "--seeds", "0-1", "--suite", str(tiny_suite(sets={"source": str(rows)})))
    endings = [ended(one) for one in [start("shared", *args) for _ in range(2)]]
    assert [code for _, _, code in endings] == [4, 4]
    assert all("none" in out for out, _, _ in endings)
    lines = [line for _, err, _ in endings for line in err.splitlines() if line.startswith("bench: error: ")]
    assert len(lines) == 4
    assert all("has positives and negatives" in line for line in lines)
    assert sum("error: another process failed at it: " in line for line in lines) == 2, "each was tried once"


def test_what_another_machine_holds_is_left_to_it_as_long_as_it_gives_signs_of_life(start, tiny_suite, tmp_path):
    args = ("--method", "none", "--seeds", "0-1", "--limit", "4", "--suite", str(tiny_suite()))
    _, _, code = ended(start("shared", *args))
    assert code == 0
    (folder,) = (tmp_path / "shared" / "runs").glob("tiny-none-s0-*")
    (folder / "result.json").unlink()
    held = folder.with_name(f".{folder.name}.lease")
    held.write_text(f"0123456789ab-7-7 {'a' * 32}\n")
    process = start("shared", *args)
    assert process.stderr
    said = iter(process.stderr.readline, "")
    assert any("other processes work on what is left (1 of 2): waiting for them" in line for line in said)
    assert not (folder / "result.json").exists()
    held.unlink()
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert (folder / "result.json").exists()
    assert [path.name for path in folder.parent.glob(".*")] == [".last.json"], "what names the last request"
