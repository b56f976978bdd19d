"""`bench judge`, as a user types it, with the tiny model for a judge."""

import json

import pytest
from synthetic import write_run


@pytest.fixture
def runs(tmp_path):
    write_run(tmp_path / "runs", "none")
    write_run(tmp_path / "runs", "contrastive", toxicity=0.1)
    return tmp_path


def test_two_runs_are_compared_and_the_answers_kept(bench, runs, tiny_model):
    command = ("judge", "--all", "--task", "rtp", "--prompts", "3", "--model", str(tiny_model), "--out", "verdicts")
    done = bench(*command)
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "Bradley-Terry" in done.stdout
    found = json.loads((runs / "verdicts" / "result.json").read_text())
    assert {one["system"] for one in found["standings"]} == {"none", "contrastive"}
    answers = (runs / "verdicts" / "answers.jsonl").read_bytes()
    again = bench(*command, "--json")
    assert json.loads(again.stdout) == found | {"written": "verdicts/result.json"}
    assert (runs / "verdicts" / "answers.jsonl").read_bytes() == answers


@pytest.mark.parametrize(
    ("flags", "code", "told"),
    [
        (["--all"], 2, "has no samples of 'continuation'; it has those of: rtp"),
        (["--all", "--task", "rtp", "--endpoint", "x"], 2, "not an address of the form"),
        (["--all", "--task", "rtp", "--template", "no.txt"], 2, "no such file: no.txt"),
        (["--all", "--task", "rtp", "--template", "runs"], 2, "runs cannot be read as text"),
        (["--all", "--task", "rtp", "--model", "./nowhere"], 3, "nowhere"),
        (["mini-n", "--task", "rtp"], 2, "a comparison takes two systems or more"),
        (["mini-n", "other", "--task", "rtp"], 3, "are not comparable: they differ in suite_hash"),
    ],
)
def test_what_is_wrong_is_one_line(bench, runs, flags, code, told):
    write_run(runs, "dpo", run_id="other", suite_hash="x")
    done = bench("judge", *flags, "--out", "verdicts", *([] if "--model" in flags else ["--model", "./nowhere"]))
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert told in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
