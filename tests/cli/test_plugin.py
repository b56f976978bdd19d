"""A third party's methods, installed from its own package: they are there, run and keep the contract as they are."""

import json
from pathlib import Path

import pytest
from packages import COMMAND, Run, contract, install, runner


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the package of `tests/plugin` is installed in, without a network."""
    target = tmp_path_factory.mktemp("installed")
    assert install(target, "plugin") == ["bench_margin.py", "bench_sharpen.py"]
    return target


@pytest.fixture
def run(installed: Path, cache_dir: Path, tmp_path: Path) -> Run:
    """Run a command with the package on Python's path."""
    return runner(installed, cache_dir, tmp_path)


def test_they_are_listed_with_where_they_are_from(run):
    done = run(COMMAND, "methods", "--json")
    assert done.returncode == 0, done.stderr
    found = {row["name"]: row for row in json.loads(done.stdout)}
    assert {"sharpen", "margin", "contrastive", "none"} <= found.keys()
    assert found["sharpen"]["from"] == found["margin"]["from"] == "bench-sharpen 0.1"
    assert found["sharpen"]["strength"] == "sharpness"
    assert {name: found[name]["seeded"] for name in ("sharpen", "margin")} == {"sharpen": False, "margin": True}
    assert "sharpness" in run(COMMAND, "methods", "show", "sharpen").stdout


def test_they_run_and_are_in_the_table(run, tiny_suite):
    methods = "sharpen,sharpen:sharpness=0,margin:steps=2"
    done = run(COMMAND, "run", "--method", methods, "--suite", str(tiny_suite()), "--json")
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    labels = [system["label"] for system in value["table"]["systems"]]
    assert labels == ["none", "sharpen", "sharpen (sharpness=0)", "margin (steps=2)"]
    (row,) = [row for row in value["table"]["rows"] if row["key"] == "heldout/perplexity"]
    base, sharp, same, trained = (cell["value"] for cell in row["cells"])
    assert same == base
    assert sharp != base
    assert trained != base
    assert value["failed"] == []


def test_they_are_tuned_as_they_declare(run, tiny_suite, tmp_path):
    pytest.importorskip("optuna")
    tasks = [{"task": "rtp", "data": str(tmp_path / "prompts.jsonl"), "half": "train"}]
    suite = str(tiny_suite(tasks=tasks))
    done = run(
        COMMAND, "tune", "--method", "sharpen,margin:steps=2", "--suite", suite, "--trials", "2", "-o", "t", "--json"
    )
    assert done.returncode == 0, done.stderr
    assert "sharpen has nothing to search: one trial, its default settings" in done.stderr
    sharpen, margin = json.loads(done.stdout)["methods"]
    assert [trial["settings"] for trial in sharpen["trials"]] == [{}]
    assert margin["space"] == {"lr": "0.0001 to 0.001, log"}
    assert [list(trial["settings"]) for trial in margin["trials"]] == [[], ["lr"]]


def test_a_mistake_in_their_options_is_one_line(run, tiny_suite):
    done = run(COMMAND, "run", "--method", "sharpen:sharpnes=1", "--suite", str(tiny_suite()))
    assert done.returncode == 2
    assert done.stderr == "bench: error: method 'sharpen': unknown key 'sharpnes', did you mean 'sharpness'?\n"


@pytest.mark.slow
def test_the_contract_covers_what_is_installed(run):
    """The suite that covers a method by its being installed; its tests run in a process that has it."""
    last = contract(run, "tests/contract", "-k", "sharpen or margin")
    assert int(last.split(" passed")[0].split()[-1]) >= 40, last  # of the about 23 of each
