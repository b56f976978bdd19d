"""`bench run`, as a user types it."""

import json
import signal
import subprocess
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.assets.catalogue import AssetCatalogue, default_cache

COMMAND = str(Path(sysconfig.get_path("scripts")) / "bench")
SHARED = default_cache()
BASELINE = Path(__file__).parents[2] / "baselines" / "smoke-contrastive.json"
PATIENCE = 1800
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(carried_out: Command, variables: dict[str, str]) -> Command:
    """`bench run ARGS...` in a folder of the test's own; keyword arguments add variables."""
    return lambda *args, **more: carried_out(["run", *args], variables | more, PATIENCE)


def error_of(done: subprocess.CompletedProcess[str]) -> str:
    """The last line on stderr, which says what was wrong; nothing else was printed and there is no traceback."""
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith("bench: error: ")
    return line.removeprefix("bench: error: ")


def test_one_line_gives_a_table_and_a_record(run, tiny_suite, tmp_path):
    suite = str(tiny_suite())
    done = run("--method", "contrastive", "--suite", suite)
    assert done.returncode == 0, done.stderr
    table, _, records = done.stdout.partition("records:\n")
    assert "none" in table
    assert "contrastive" in table
    assert "toxic" in table.lower()
    assert "perplexity" in table.lower()
    folders = [Path(line.strip()) for line in records.splitlines()]
    assert [json.loads((tmp_path / one / "manifest.json").read_text())["status"] for one in folders] == ["done"] * 2
    assert [one.parent for one in folders] == [Path("runs")] * 2
    assert "train contrastive" in done.stderr
    assert "rtp" in done.stderr
    assert "Warning" not in done.stderr

    again = run("--method", "contrastive", "--suite", suite)
    assert (again.returncode, again.stdout) == (0, done.stdout)
    assert "train contrastive" not in again.stderr
    assert again.stderr.count("found tiny-") == 2

    asked = run("--method", "contrastive", "--suite", suite, "--json")
    value = json.loads(asked.stdout)
    assert value["failed"] == []
    assert [Path(one) for one in value["runs"]] == folders
    assert [system["label"] for system in value["table"]["systems"]] == ["none", "contrastive (signed)"]


def test_variables_stand_in_for_flags_and_flags_go_first(run, tiny_suite, tmp_path):
    suite = str(tiny_suite())
    config = tmp_path / "config.yaml"
    config.write_text(f"suite: {suite}\nmethod: none\nseeds: '3'\n")
    done = run("--config", "config.yaml", "--seeds", "1", BENCH_SEEDS="2", BENCH_LIMIT="2", BENCH_RUNS="elsewhere")
    assert done.returncode == 0, done.stderr
    (manifest,) = [json.loads(path.read_text()) for path in (tmp_path / "elsewhere").glob("*/manifest.json")]
    assert (manifest["seed"], manifest["suite"]["limit"], manifest["method"]["name"]) == (1, 2, "none")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--method", "contrastve"), "unknown method 'contrastve'; did you mean 'contrastive'?"),
        (("--method", "none", "--suite", "minni"), "unknown suite 'minni'; did you mean 'mini'?"),
        (("--method", "none", "--suite", "no.yaml"), "no such file: no.yaml"),
        (("--method", "contrastive", "--set", "lr=high"), "method 'contrastive': 'lr' = 'high'"),
        (("--method", "contrastive", "--set", "stps=1"), "no method of this run has the option 'stps'; did you mean"),
        (("--method", "contrastive", "--set", "steps"), "'steps' is not KEY=VALUE"),
        (("--method", "none", "--seeds", "a"), "seeds 'a' are not numbers and ranges"),
        (("--method", "none", "--limit", "0"), "invalid value for '--limit'"),
        (("--method", "none", "--model", "smolm2-135m-instruct"), "unknown model 'smolm2-135m-instruct'; did you mean"),
        (("--method", "dpo", "--set", "steps=-1"), "method 'dpo': 'steps' = -1: input should be greater than"),
        (("--method", "kto:accumulation=2"), "method 'kto': anchors_per_step = 2 with accumulation = 2 leaves"),
        (("--method", "adapter"), "method 'adapter': 'path' is missing"),
        (("--method", "checkpoint:path="), "method 'checkpoint': 'path' = None: input should be a valid string"),
        ((), "missing option '--method'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(run, args, said):
    done = run(*args)
    assert error_of(done).startswith(said)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_an_unknown_key_in_a_suite_is_named(run, tiny_suite):
    done = run("--method", "none", "--suite", str(tiny_suite(decodng={})))
    assert "unknown key 'decodng', did you mean 'decoding'?" in error_of(done)
    assert done.returncode == 2


def test_what_is_missing_is_exit_3_and_nothing_is_left(run, tiny_suite, tmp_path):
    suite = str(tiny_suite())
    for args, said in (
        (("--suite", suite, "--model", "./nowhere"), "model folder './nowhere' does not exist"),
        (("--suite", "smoke", "--offline"), "--offline"),
        (("--suite", suite, "--set", "suite.sets.source=none.jsonl"), "data file 'none.jsonl' does not exist"),
    ):
        done = run("--method", "contrastive", *args)
        assert said in error_of(done)
        assert done.returncode == 3
    assert not (tmp_path / "runs").exists()


def test_some_failed_cells_are_exit_4_and_the_others_in_the_table(run, tiny_suite, tmp_path):
    rows = tmp_path / "positives.jsonl"
    rows.write_text('{"anchor": "She asked", "positives": [{"text": " him."}], "negatives": []}\n')
    done = run("--method", "contrastive", "--suite", str(tiny_suite(sets={"source": str(rows)})))
    assert done.returncode == 4
    assert "none" in done.stdout
    line = done.stderr.strip().splitlines()[-1]
    assert "has positives and negatives" in line
    assert line.endswith("(experiment: contrastive (signed), seed 0)")
    assert "Traceback" not in done.stderr
    alone = run(
        "--method", "contrastive", "--no-base", "--suite", str(tiny_suite(sets={"source": str(rows)})), "--json"
    )
    assert alone.returncode == 3
    assert json.loads(alone.stdout)["failed"][0]["method"] == "contrastive (signed)"
    pairs = run("--method", "dpo", "--no-base", "--suite", str(tiny_suite(sets={"source": str(rows)})))
    assert pairs.returncode == 3
    assert "none of the 1 contrastive sets" in error_of(pairs)


def test_ctrl_c_is_exit_130_and_the_same_command_goes_on(run, variables, tiny_suite, tmp_path):
    suite = str(tiny_suite(decoding={"num_samples": 300, "max_new_tokens": 20}))
    args = ("--method", "none", "--suite", suite, "--limit", "6")
    process = subprocess.Popen(
        [COMMAND, "run", *args], env=variables, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    begin = time.monotonic()
    while not any(path.stat().st_size for path in (tmp_path / "runs").glob("*/samples/rtp.jsonl")):
        assert process.poll() is None, "it ended before it could be stopped"
        assert time.monotonic() - begin < PATIENCE
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert out == ""
    assert err.strip().splitlines()[-1].startswith("bench: interrupted; the same command resumes it")
    assert "Traceback" not in err
    (samples,) = (tmp_path / "runs").glob("*/samples/rtp.jsonl")
    kept = samples.read_text(encoding="utf-8").split("\n")[:-1]
    assert not (samples.parents[1] / "result.json").exists()
    done = run(*args)
    assert done.returncode == 0, done.stderr
    lines = samples.read_text(encoding="utf-8").split("\n")[:-1]
    whole = len(kept) // 300 * 300
    assert lines[:whole] == kept[:whole]  # what was measured was not measured again
    rows = [(row["prompt_id"], row["sample"]) for row in map(json.loads, lines)]
    assert len(set(rows)) == len(rows) == 300 * len({prompt for prompt, _ in rows})


@pytest.mark.network
@pytest.mark.slow
def test_the_smoke_suite_end_to_end(run, variables, cache_dir, tmp_path):
    """The embedded model and data, fetched into the cache that all tests share; everything else is made here."""
    shared = AssetCatalogue(SHARED)
    for name in ("smollm2-135m-instruct", "rtp", "piqa", "boolq"):
        shared.fetch(name)
    for name in ("models", "data"):
        (cache_dir / name).symlink_to(SHARED / name)
    done = run("--method", "contrastive", "--suite", "smoke", "--json", "--offline")
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    assert [system["label"] for system in value["table"]["systems"]] == ["none", "contrastive (signed)"]
    shown = {row["key"] for row in value["table"]["rows"]}
    assert shown >= {"rtp/expected_maximum_toxicity", "rtp/toxic_fraction", "heldout/perplexity", "embedded_piqa/acc"}
    # The method is as good as it was: docs/ci.md says what to do where this fails.
    second = ("--method", "contrastive", "--suite", "smoke", "--seeds", "1", "--no-base", "--offline")
    assert run(*second).returncode == 0
    command = [COMMAND, "check", "--suite", "smoke", "--against", str(BASELINE), "--json"]
    gate = subprocess.run(command, env=variables, cwd=tmp_path, text=True, capture_output=True, check=False)
    told = [one for one in json.loads(gate.stdout)["decisions"] if one["status"] not in ("passed", "unjudged")]
    assert gate.returncode == 0, (gate.stderr, json.loads(gate.stdout)["problems"], told)
