"""`bench du`, `bench rm` and `bench gc`, and runs that are named 'last'."""

import fcntl
import json
import os
import pty
import subprocess
import sys
import sysconfig
import termios
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer
from synthetic import write_run

from bench.cli import upkeep
from bench.cli.upkeep import size_in_words
from bench.store.latest import remember

COMMAND = Path(sysconfig.get_path("scripts")) / "bench"


@pytest.fixture
def trained(bench, tiny_suite):
    """Two runs, in `runs` where `bench` works."""
    done = bench("run", "--method", "contrastive", "--suite", str(tiny_suite()))
    assert done.returncode == 0, done.stderr
    return bench


def test_what_gc_leaves_is_enough_and_what_it_takes_is_made_again(trained, tmp_path, tiny_suite):
    runs = sorted(path.name for path in (tmp_path / "runs").glob("tiny-*"))
    kept = json.loads(trained("du", "--json").stdout)
    assert (kept["runs"]["items"], kept["artifacts"]["items"], kept["artifacts"]["unused_bytes"]) == (2, 2, 0)
    assert trained("gc", "--yes").stdout == "nothing to remove\n"

    asked = trained("rm", runs[0])
    assert (asked.returncode, "nobody can be asked; give --yes" in asked.stderr) == (2, True)
    assert "would be removed" in trained("rm", runs[0], "--dry-run").stdout
    assert len(list((tmp_path / "runs").glob("tiny-*"))) == 2
    assert trained("rm", *runs, "--yes").returncode == 0
    assert not list((tmp_path / "runs").glob("*tiny-*"))

    again = trained("run", "--method", "contrastive", "--suite", str(tiny_suite()))
    assert (again.returncode, "train contrastive" in again.stderr) == (0, False)
    assert trained("rm", *runs, "--yes").returncode == 0
    told = trained("gc", "--yes", "--json")
    assert json.loads(told.stdout)["items"] == 2, "two artifacts"
    assert "0 runs in runs count" in told.stderr
    anew = trained("run", "--method", "contrastive", "--suite", str(tiny_suite()))
    assert (anew.returncode, "train contrastive" in anew.stderr) == (0, True)
    before, after = (text.stdout.splitlines()[:14] for text in (again, anew))  # further down stand its seconds
    assert ("toxic fraction" in " ".join(after), after) == (True, before)


def test_the_last_request_needs_no_names(trained, tmp_path):
    named = sorted(path.name for path in (tmp_path / "runs").glob("tiny-*"))
    table = trained("table")
    assert (table.returncode, table.stdout) == (0, trained("table", "last").stdout)
    assert set(json.loads(trained("table", "--json").stdout)["systems"][0]["run_ids"]) < set(named)
    compared = trained("compare")
    assert (compared.returncode, compared.stdout) == (0, trained("compare", named[1], named[0]).stdout)
    assert trained("plot", "tradeoff", "-o", "a.svg").returncode == 0
    assert trained("report", "-o", "a.html").returncode == 0
    write_run(tmp_path / "runs", "dpo")
    assert trained("table").stdout == table.stdout, "what came in otherwise is not of the last request"
    assert trained("rm", *named, "--yes").returncode == 0
    assert "say which runs" in trained("table").stderr
    assert "has no last request" in trained("table", "last").stderr


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["rm"], "say which runs; name them, or give --unfinished"),
        (["rm", "x"], "no run 'x'"),
        (["gc", "--runs-dir", "nowhere"], "there is no folder of records at nowhere"),
        (["du", "--runs-dir", "nowhere"], "there is no folder of records at nowhere"),
        (["du", "--also", "nowhere"], "there is no folder of records at nowhere"),
        (["runs", "--runs-dir", "nowhere"], "there is no folder of records at nowhere"),
        (["compare", "x"], "one run is not compared with itself"),
    ],
)
def test_wrong_requests(bench, tmp_path, command, said):
    write_run(tmp_path / "runs", "dpo")
    done = bench(*command)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr


def test_before_the_first_run_there_are_none(bench):
    done = bench("runs")
    assert (done.returncode, done.stdout.strip()) == (0, "no runs")
    assert bench("du").returncode == 0
    assert bench("gc").returncode == 2


def test_what_changes_with_each_request_is_not_removed(bench, tmp_path):
    remember(tmp_path / "runs", [write_run(tmp_path / "runs", "dpo"), write_run(tmp_path / "runs", "none")])
    done = bench("rm", "last", "--yes")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("names no run to remove; name them: mini-dpo-s0 mini-none-s0\n")
    assert len(list((tmp_path / "runs").glob("mini-*"))) == 2


def test_last_is_told_of_where_runs_are_asked_for(bench, tmp_path):
    write_run(tmp_path / "runs", "dpo")
    done = bench("check", "--require", "toxic_fraction <= 0.5")
    assert (done.returncode, "'last'" in done.stderr) == (2, True)


@pytest.mark.parametrize("verb", [("export", "-o", "out"), ("chat",), ("generate", "--prompts", "in.txt")])
def test_one_run_of_the_last_request_is_found_without_its_name(bench, tmp_path, verb):
    (tmp_path / "in.txt").write_text("The river was\n")
    made = [write_run(tmp_path / "runs", name) for name in ("none", "dpo", "sft")]
    remember(tmp_path / "runs", made)
    done = bench(verb[0], "last", *verb[1:])
    assert (done.returncode, "say which: mini-dpo-s0, mini-sft-s0" in done.stderr) == (2, True), done.stderr
    remember(tmp_path / "runs", made[:2])
    done = bench(verb[0], "last", *verb[1:])
    assert (done.returncode, "the model of mini-dpo-s0" in done.stderr) == (2, True), done.stderr  # found: it has none


def test_unfinished_and_damaged_runs_are_removed(bench, tmp_path):
    write_run(tmp_path / "runs", "none")
    write_run(tmp_path / "runs", "dpo", finished=False)
    (tmp_path / "runs" / "mini-none-s0" / "manifest.json").write_text("{", encoding="utf-8")
    assert "bench rm runs/mini-none-s0" in bench("gc", "--dry-run").stderr
    assert bench("rm", "--unfinished", "runs/mini-none-s0", "--yes").returncode == 0
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.parametrize(
    ("answer", "code", "said"), [(b"n\n", 2, "nothing is removed"), (b"y\n", 0, ""), (b"\x03", 130, "interrupted")]
)
def test_whoever_is_asked_may_say_no(variables, tmp_path, answer, code, said):
    write_run(tmp_path / "runs", "dpo")
    ours, theirs = pty.openpty()
    command = [str(COMMAND), "rm", "mini-dpo-s0"]
    # A session of its own, which the pseudo terminal controls, so that Ctrl-C reaches it.
    asked = subprocess.Popen(
        command, env=variables, cwd=tmp_path, stdin=theirs, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - no threads here
    )  # fmt: skip
    assert asked.stderr.read(len("Remove")) == "Remove"
    os.write(ours, answer)
    err = asked.communicate(timeout=60)[1]
    os.close(ours)
    os.close(theirs)
    assert (asked.returncode, said in err, "Traceback" in err) == (code, True, False), err
    assert (tmp_path / "runs" / "mini-dpo-s0").exists() == bool(code)


def test_the_run_in_which_one_stands_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(write_run(tmp_path / "runs", "dpo"))
    upkeep.rm(["."], yes=True, runs_dir=Path("runs"))
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.parametrize("verb", ["rm", "gc"])
def test_what_ends_while_the_question_stands_is_not_removed(tmp_path, monkeypatch, capsys, verb):
    runs, artifact = tmp_path / "runs", tmp_path / "cache" / "artifacts" / "a"
    write_run(runs, "dpo", finished=False)
    artifact.mkdir(parents=True)

    def confirm(*_: object, **__: object) -> bool:
        write_run(runs, "dpo", method__artifact_key="a")
        return True

    monkeypatch.setattr(typer, "confirm", confirm)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    if verb == "rm":
        upkeep.rm(unfinished=True, runs_dir=runs)
    else:
        upkeep.gc(runs_dir=runs, cache_dir=tmp_path / "cache")
    assert "stays: it was finished, or a run has come to use it, meanwhile" in capsys.readouterr().err
    assert (runs / "mini-dpo-s0" / "result.json").exists()
    assert artifact.exists()


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (41_000_000, "41 MB"), (1_234_000_000, "1.2 GB")],
)
def test_sizes(size, words):
    assert size_in_words(size) == words
