"""`bench run --workers N`: one command, several processes, and what becomes of them."""

import json
import os
import queue
import signal
import sys
import time
from pathlib import Path

import pytest
from fuzz.commands import Essence, essence
from launched import PATIENCE, ended, holder_of, is_gone, two_killed

from bench.cli import workers
from bench.run.launch.pipes import PipedProcess

# A worker whose work takes the first signal for something of its own.
_DEAF = """
import sys, time
from bench.cli import run, worker

def work(*_, **more):
    while True:
        try:
            print("works", flush=True)
            time.sleep(600)
        except KeyboardInterrupt:
            print("goes on", flush=True)

run.in_this_process = work
worker._END_SECONDS = float(sys.argv[1])
worker.main()
"""


def test_two_workers_leave_what_one_process_does_also_when_one_is_killed(start, tmp_path, undisturbed):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "random.py").write_text("raise SystemExit('a module of the current folder')\n")
    command = start("shared", "--workers", "2", "--json")
    os.kill(holder_of(tmp_path / "shared", "tiny-contrastive-s1-*"), signal.SIGKILL)
    out, err, code = ended(command)
    assert code == 0, err
    value = json.loads(out)
    assert value["failed"] == []
    assert [Path(one).name.rpartition("-")[0] for one in value["runs"]] == [
        *("tiny-none-s0", "tiny-contrastive-s0", "tiny-none-s1", "tiny-contrastive-s1")
    ]
    assert [system["label"] for system in value["table"]["systems"]] == ["none", "contrastive (signed)"]
    lines = err.splitlines()
    assert lines[0] == "2 workers for 4 experiments, 1 thread each"
    assert all(line.startswith(("worker 1: ", "worker 2: ")) for line in lines[1:])
    assert sum(line.endswith("ended (killed by SIGKILL); another process takes its place") for line in lines) == 1
    again, err, code = ended(start("shared", "--workers", "2", "--json"))
    assert (json.loads(again), code) == (value, 0)
    assert err.count("found tiny-") == 4, "each is told of once"
    (tmp_path / "shared" / "random.py").unlink()
    assert essence(tmp_path / "shared") == undisturbed


def told(err: str) -> set[str]:
    """What workers say, whichever says it."""
    return {line.partition(": ")[2] for line in err.splitlines()}


@pytest.fixture(scope="module")
def read_alone(module_bench, small_suite, tmp_path_factory) -> tuple[tuple[str, ...], Essence]:
    """What one process leaves of an experiment that takes a while, and how it is asked for."""
    folder = tmp_path_factory.mktemp("read-alone")
    rows = folder / "long.jsonl"
    texts = ("The river rises in the hills", "She asked whether the train was late", "It rained")
    rows.write_text("".join(json.dumps({"text": f"{text} {n}"}) + "\n" for n in range(1500) for text in texts))
    time.sleep(2.1)  # a file that was just changed is hashed again by the next process
    sampled = [{"task": "rtp", "data": str(Path(small_suite).with_name("prompts.jsonl"))}, {"task": "fluency"}]
    heldout = {"task": "heldout", "data": str(rows), "field": "text", "passages": 4500, "max_tokens": 16}
    tasks = json.dumps([*sampled, heldout])
    args = ("--method", "none", "--seeds", "0", "--set", f"suite.tasks={tasks}")
    (folder / "alone").mkdir()
    done = module_bench(folder / "alone", "run", "--batch-tokens", "400", "--suite", small_suite, *args)
    assert done.returncode == 0, done.stderr
    return args, essence(folder / "alone")


@pytest.mark.slow
@pytest.mark.parametrize("killed", [False, True])
def test_workers_share_one_experiment(start, tmp_path, read_alone, killed):
    """What is sampled from the edited model, and what it and the base model read."""
    args, undisturbed = read_alone
    command = start("shared", *args, "--workers", "2")
    if killed:
        until = time.monotonic() + PATIENCE
        while not any((tmp_path / "shared").glob("runs/*/samples/heldout.parts/*/*.jsonl")):
            assert time.monotonic() < until, "nobody reads a batch"
            time.sleep(0.005)
        os.kill(holder_of(tmp_path / "shared", "tiny-none-*"), signal.SIGKILL)
    _, err, code = ended(command)
    assert code == 0, err
    assert err.splitlines()[0] == "2 workers for 1 experiment, 1 thread each"
    assert killed or {"[1/1] none, seed 0: helps", "help with heldout …"} <= told(err)
    assert essence(tmp_path / "shared") == undisturbed


@pytest.mark.slow
def test_an_experiment_at_which_two_workers_die_fails_alone(start, tmp_path):
    command = start("shared", "--workers", "2")

    with two_killed(tmp_path / "shared", "tiny-contrastive-s0-*"):
        out, err, code = ended(command)
    assert code == 4, err
    assert "contrastive" in out
    assert len(list((tmp_path / "shared" / "runs").glob("*/result.json"))) == 3
    failed = [line for line in err.splitlines() if line.startswith("bench: error: ")]
    assert failed == [
        "bench: error: 2 workers have ended while they carried it out (killed by SIGKILL); the same command goes on; "
        "fewer --workers need less memory (experiment: contrastive (signed), seed 0)"
    ]
    assert ended(start("shared"))[2] == 0


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_all_of_them_and_the_same_command_goes_on(start, tmp_path, undisturbed, number, code):
    command = start("shared", "--workers", "2")
    pids = [holder_of(tmp_path / "shared", f"tiny-{name}-*") for name in ("none", "contrastive")]
    command.send_signal(number)
    out, err, ending = ended(command)
    assert (out, ending) == ("", code)
    assert err.splitlines()[-1] == "bench: interrupted; the same command resumes it"
    assert err.count("interrupted") == 1
    assert all(map(is_gone, pids))
    assert list((tmp_path / "shared" / "runs").glob(".*.lease")) == [], "they gave up what they held"
    assert ended(start("shared", "--workers", "2"))[2] == 0
    assert essence(tmp_path / "shared") == undisturbed


@pytest.mark.slow
def test_workers_end_with_their_parent(start, tmp_path):
    command = start("shared", "--workers", "2")
    pid = holder_of(tmp_path / "shared", "tiny-*")
    command.kill()
    command.wait()
    assert is_gone(pid)


def test_a_worker_that_misses_the_signal_ends_with_its_parent_all_the_same(tmp_path, small_suite):
    request = {"methods": ["none"], "suite": small_suite}
    place = {"cache_dir": None, "runs_dir": str(tmp_path), "offline": True, "fresh": False, "batch_tokens": None}
    job = {"request": request, "place": place, "patience": 60, "since": 0, "given_up": {}}
    heard: queue.SimpleQueue[dict[str, object]] = queue.SimpleQueue()
    worker = PipedProcess([sys.executable, "-c", _DEAF, "1"], job, heard.put)
    assert heard.get(timeout=PATIENCE) == {"note": "works"}
    worker.end(PATIENCE)  # closes its stdin, as where its parent has gone
    said = [heard.get_nowait() for _ in range(heard.qsize())]
    assert said == [{"note": "goes on"}, {"note": "works"}, {"ended": "exit code 143"}]


@pytest.mark.slow
def test_what_no_worker_can_begin_with_is_said_once(start):
    out, err, code = ended(start("shared", "--workers", "2", "--set", "suite.sets.source=none.jsonl"))
    assert (out, code) == ("", 3)
    assert err.splitlines()[-1].startswith("bench: error: data file 'none.jsonl' does not exist")
    assert err.count("does not exist") == 1


@pytest.mark.slow
def test_what_fails_fails_alone_with_its_own_words(start, tmp_path):
    rows = tmp_path / "positives.jsonl"
    rows.write_text('{"anchor": "She asked", "positives": [{"text": " him."}], "negatives": []}\n')
    out, err, code = ended(start("shared", "--workers", "2", "--set", f"suite.sets.source={rows}"))
    assert code == 4
    assert "none" in out
    failed = [line for line in err.splitlines() if line.startswith("bench: error: ")]
    assert len(failed) == 2
    assert all("has positives and negatives" in line and "another process" not in line for line in failed)


@pytest.mark.slow
def test_fresh_workers_make_each_thing_once(start, tmp_path):
    assert ended(start("shared"))[2] == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "shared" / "runs").glob("*/result.json")}
    _, err, code = ended(start("shared", "--workers", "2", "--fresh"))
    assert code == 0
    assert all(path.stat().st_mtime_ns > date for path, date in before.items())
    assert err.count("train contrastive … done") == 2


@pytest.mark.parametrize("count", ["0", "-1", "two"])
def test_a_number_of_workers_is_a_number_from_1(bench, count):
    done = bench("run", "--method", "none", "--workers", count)
    assert done.returncode == 2
    assert done.stderr.startswith("bench: error: invalid value for '--workers'")
    assert done.stderr.count("\n") == 1


def test_workers_and_a_launcher_are_too_many(bench, tiny_suite):
    args = ("run", "--method", "none", "--seeds", "0-1", "--workers", "2", "--suite", str(tiny_suite()))
    done = bench(*args, WORLD_SIZE="2", RANK="0")
    assert done.returncode == 2
    assert "--workers 2 starts processes of its own, and a launcher has started 2; leave out" in done.stderr


def test_gpus_are_dealt_out_in_turn(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    dealt = [workers._variables(number, 4, workers._gpus()) for number in range(3)]
    assert dealt == [{"OMP_NUM_THREADS": "4", "CUDA_VISIBLE_DEVICES": gpu} for gpu in ("0", "1", "0")]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,GPU-0a1b")
    assert workers._gpus() == ["5", "GPU-0a1b"]
    assert workers._told(2, 8, 1, ["5", "GPU-0a1b"]) == "2 workers for 8 experiments, 1 thread each, 2 GPUs"
    monkeypatch.undo()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # as `--device cpu` sets it
    assert workers._variables(1, 4, workers._gpus()) == {"OMP_NUM_THREADS": "4"}
    told = "3 workers for 8 experiments, 4 threads each, 1 GPU shared: each loads the model"
    assert workers._told(3, 8, 4, ["0"]) == told


def test_threads_are_those_of_one_process(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "6,2")
    assert workers._said_threads() == 6
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert workers._said_threads() is None
    assert workers._cores() == len(os.sched_getaffinity(0))
