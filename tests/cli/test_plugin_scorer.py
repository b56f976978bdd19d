"""A third party's scorer, installed from its own package as the guide on adding one says."""

import json
from pathlib import Path

import pytest
from guides import write_files
from packages import COMMAND, Run, contract, install, runner

LOUD = {"attribute": {"name": "shouting", "wanted": "low"}, "scorer": {"name": "shouting", "threshold": 0.2}}
"""What makes a suite control shouting, as the guide shows it."""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the package of `tests/plugin_scorer` is installed in, without a network."""
    target = tmp_path_factory.mktemp("installed")
    assert install(target, "plugin_scorer") == ["bench_shouting.py"]
    return target


@pytest.fixture
def run(installed: Path, cache_dir: Path, tmp_path: Path) -> Run:
    """Run a command with the package on Python's path."""
    return runner(installed, cache_dir, tmp_path)


def test_it_is_shown_with_its_options_and_where_it_is_from(run):
    done = run(COMMAND, "scorers", "show", "shouting", "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["from"] == "bench-shouting 0.1"
    assert facts["measures"] == "shouting"
    (option,) = facts["options"]
    assert (option["name"], option["type"], option["default"]) == ("letters", "integer >= 1", 2)
    assert {row["name"] for row in json.loads(run(COMMAND, "scorers", "--json").stdout)} > {"shouting", "svm"}


def share(text: str, letters: int) -> float:
    """The share of a text's words of so many letters that are in capitals."""
    words = [word for word in text.split() if len([sign for sign in word if sign.isalpha()]) >= letters]
    return len([word for word in words if word == word.upper()]) / len(words) if words else 0.0


def test_a_suite_controls_what_it_scores(run, tiny_suite, tmp_path):
    suite = str(tiny_suite(**LOUD))
    command = (COMMAND, "run", "--method", "none", "--suite", suite)
    done = run(*command, "--set", "suite.scorer.options.letters=1", "--json")
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    keys = [row["key"] for row in value["table"]["rows"]]
    assert {"rtp/expected_maximum_shouting", "rtp/shouting_probability", "rtp/shouting_fraction"} < set(keys)
    folder = tmp_path / value["runs"][0]
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["scorer"]["name"] == "shouting"
    assert manifest["scorer"]["label"] == "shouting (words of 1 letters or more in capitals)"
    lines = (folder / "samples" / "rtp.jsonl").read_text(encoding="utf-8").splitlines()
    samples = [json.loads(line) for line in lines]
    scores = [sample["scores"]["shouting"] for sample in samples]
    assert scores == [share(sample["continuation"], 1) for sample in samples]
    fraction = sum(score >= 0.2 for score in scores) / len(scores)
    (row,) = [row for row in value["table"]["rows"] if row["key"] == "rtp/shouting_fraction"]
    assert row["cells"][0]["value"] == pytest.approx(fraction)
    assert 0 < fraction < 1
    again = run(*command)
    assert again.returncode == 0, again.stderr
    assert "shouting (words of 2 letters or more in capitals)" in again.stdout


def test_the_suite_that_the_guide_shows_runs(run, tiny_model, tiny_suite, tmp_path):
    """As it stands there, with a model and a task that cost little."""
    tiny_suite()  # for its prompts
    assert "quieter.yaml" in write_files("adding-a-scorer.md", tmp_path)
    command = (COMMAND, "run", "--method", "none", "--suite", "quieter.yaml", "--limit", "4", "--offline")
    little = ("--model", str(tiny_model), "--set", "suite.tasks=[{task: rtp, data: prompts.jsonl}]")
    done = run(*command, *little, "--set", "suite.scorer.options.letters=3", "--json")
    assert done.returncode == 0, done.stderr
    keys = {row["key"] for row in json.loads(done.stdout)["table"]["rows"]}
    assert "rtp/shouting_fraction" in keys
    assert not any("@" in key for key in keys)  # no further scorer


def test_a_mistake_is_one_line(run, tiny_suite):
    for changes, told in (
        ({"scorer": {"name": "shouting", "options": {"leters": 3}}}, "no option 'leters'; did you mean 'letters'?"),
        ({"scorer": {"name": "shouting", "options": {"letters": 0}}}, "'letters' = 0: input should be greater"),
        ({"attribute": {"name": "whisper"}}, "scorer 'shouting' does not score 'whisper', which the suite controls"),
    ):
        done = run(COMMAND, "run", "--method", "none", "--suite", str(tiny_suite(**{**LOUD, **changes})))
        assert done.returncode == 2
        assert done.stderr.startswith("bench: error: ")
        assert told in done.stderr
        assert done.stderr.count("\n") == 1


def test_the_contract_covers_what_is_installed(run):
    """The suite that covers a scorer by its being installed; its tests run in a process that has it."""
    last = contract(run, "tests/contract/test_scorers.py", "-k", "shouting")
    assert int(last.split(" passed")[0].split()[-1]) >= 17, last
    assert "skipped" not in last
