"""`bench sweep`, as a user types it."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

PATIENCE = 600
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(carried_out: Command, cache_dir: Path) -> Command:
    """`bench ARGS...` in a folder of the test's own."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("BENCH_")}
    variables = kept | {"BENCH_CACHE": str(cache_dir), "OMP_NUM_THREADS": "1"}
    return lambda *args: carried_out(args, variables, PATIENCE)


def test_a_sweep_is_kept_found_again_and_holds_the_plain_run(run, tiny_suite):
    asked = ("--method", "contrastive", "--suite", str(tiny_suite()))
    plain = json.loads(run("run", *asked, "--json").stdout)
    done = run("sweep", *asked, "--points", "2")
    assert done.returncode == 0, done.stderr
    table, _, records = done.stdout.partition("records:\n")
    lines = [" ".join(line.split()) for line in table.splitlines()]
    assert any(line.startswith("none (base)") for line in lines)
    assert any(line.startswith("scale 0.5") for line in lines)
    assert any(line.startswith("scale 1") for line in lines)
    assert "HV P" in table
    folders = [line.strip() for line in records.splitlines()]
    assert len(folders) == 3
    assert set(plain["runs"]) < set(folders)
    assert done.stderr.count("found tiny-") == 2
    assert "train contrastive" not in done.stderr, "one artifact for all strengths"

    begin = time.monotonic()
    again = run("sweep", *asked, "--points", "2")
    assert (again.returncode, again.stdout) == (0, done.stdout)
    assert again.stderr.count("found tiny-") == 3
    assert "load " not in again.stderr, f"nothing was measured ({time.monotonic() - begin:.1f} s)"

    value = json.loads(run("sweep", *asked, "--points", "2", "--json").stdout)
    assert value["failed"] == []
    (curve,) = value["tradeoff"]["curves"]
    assert [point["setting"] for point in curve["points"]] == [0.5, 1.0]
    assert curve["points"][1]["run_ids"] == [Path(plain["runs"][1]).name]
    assert value["tradeoff"]["base"]["costs"]["accuracy"]["value"] is None  # the suite has no tasks of lm-eval


def test_along_a_training_the_last_point_is_the_plain_run(run, tiny_suite):
    asked = ("--method", "contrastive", "--suite", str(tiny_suite()), "--limit", "2")
    plain = json.loads(run("run", *asked, "--json").stdout)
    done = run("sweep", *asked, "--along", "2", "--json")
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    (curve,) = value["tradeoff"]["curves"]
    assert curve["over"] == "until"
    assert [point["setting"] for point in curve["points"]] == [1, 2]
    assert curve["points"][1]["run_ids"] == [Path(plain["runs"][1]).name]
    shown = run("sweep", *asked, "--along", "2")
    assert shown.stderr.count("found tiny-") == 3
    lines = [" ".join(line.split()) for line in shown.stdout.splitlines()]
    assert any(line.startswith("until 1") for line in lines)
    assert any(line.startswith("until 2") for line in lines)
    drawn = run("plot", "sweep", *value["runs"], "-o", "curve.svg")
    assert drawn.returncode == 0, drawn.stderr


def test_an_option_by_name_and_a_method_without_it(run, tiny_suite):
    asked = ("--method", "contrastive,sft", "--over", "tau", "--values", "0.5,2", "--limit", "2", "--set", "steps=1")
    done = run("sweep", *asked, "--suite", str(tiny_suite()), "--json")
    assert done.returncode == 0, done.stderr
    curves = {curve["label"]: curve for curve in json.loads(done.stdout)["tradeoff"]["curves"]}
    assert [point["setting"] for point in curves["contrastive (signed)"]["points"]] == [0.5, 2.0]
    assert curves["sft"]["over"] is None
    assert [point["setting"] for point in curves["sft"]["points"]] == [None]


def test_stacked_methods_are_swept_compared_drawn_reported_and_held_to_limits(run, tiny_suite, tmp_path):
    stack, suite = "contrastive+steering", str(tiny_suite())
    asked = ("--method", stack, "--suite", suite, "--limit", "4", "--set", "contrastive.steps=1")
    single = run("sweep", *asked, "--points", "2")
    assert single.returncode == 0, single.stderr
    mend = "--over contrastive.scale or steering.multiplier gives it more"
    assert f"{stack} has no strength of its own, so it has one point; {mend}" in single.stderr
    done = run("sweep", *asked, "--over", "steering.multiplier", "--points", "2", "--json")
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    (curve,) = value["tradeoff"]["curves"]
    assert [point["setting"] for point in curve["points"]] == [1.5, 3.0]
    base, low, high = value["runs"]
    for command in (
        ("compare", low, high),
        ("plot", "tradeoff", *value["runs"], "-o", "front.svg"),
        ("plot", "sweep", *value["runs"], "--over", "steering.multiplier", "-o", "curve.svg"),
        ("report", base, high, "-o", "page.html"),
        ("check", base, high, "--require", "toxic_fraction <= 1"),
    ):
        told = run(*command)
        assert told.returncode == 0, (command, told.stderr)
    assert stack in (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--method", "contrastive", "--points", "1"), "invalid value for '--points'"),
        (("--method", "contrastve"), "unknown method 'contrastve'; did you mean 'contrastive'?"),
        (("--method", "contrastive", "--over", "tau", "--values", ","), "--values names none"),
        (
            ("--method", "contrastive", "--values", "1", "--points", "7"),
            "--values chooses the points itself; leave out",
        ),
        (("--method", "contrastive", "--over", "objective"), "'contrastive' has objective = signed: no points can be"),
        (("--method", "sft", "--over", "tau", "--values", "1"), "none of sft has the option 'tau' (--over)"),
        (("--method", "contrastive", "--suite", "minni"), "unknown suite 'minni'; did you mean 'mini'?"),
        (("--method", "steering", "--along", "2"), "--along: method 'steering' has no training that it can be taken"),
        (("--method", "dpo", "--along", "2", "--points", "3"), "--along chooses the points itself; leave out --over,"),
        (("--method", "dpo", "--along", "1"), "invalid value for '--along'"),
        ((), "missing option '--method'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(run, args, said):
    done = run("sweep", *args)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"bench: error: {said}")
    assert done.stderr.count("\n") == 1


def test_a_cell_that_fails_leaves_the_others_in_the_table(run, tiny_suite, tmp_path):
    rows = tmp_path / "positives.jsonl"
    rows.write_text('{"anchor": "She asked", "positives": [{"text": " him."}], "negatives": []}\n')
    suite = str(tiny_suite(sets={"source": str(rows)}))
    done = run("sweep", "--method", "contrastive", "--points", "2", "--suite", suite, "--limit", "2")
    assert done.returncode == 4
    assert "none (base)" in done.stdout
    assert "scale" not in done.stdout
    assert done.stderr.count("(experiment: contrastive") == 2
    assert "Traceback" not in done.stderr
