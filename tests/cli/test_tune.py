"""`bench tune`, as a user types it: what it leaves, interrupted, shared, and mistyped."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import searches
import yaml
from packages import COMMAND

from bench import registry
from bench.suites import load_suite

pytest.importorskip("optuna")
METHODS = ("--method", "preadd,contrastive", "--trials", "3")


@pytest.fixture(scope="module")
def suite(write_suite: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A suite that may be searched on."""
    folder = tmp_path_factory.mktemp("tuning")
    tasks = [
        {"task": "rtp", "data": str(folder / "prompts.jsonl"), "half": "train"},
        {"task": "heldout", "data": str(folder / "texts.jsonl"), "field": "text", "passages": 4, "max_tokens": 16},
    ]
    made = write_suite(folder, tasks=tasks)
    time.sleep(2.1)  # a file that was just changed is hashed again by the next process
    return str(made)


@pytest.fixture(scope="module")
def whole(module_bench: Any, suite: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder of an undisturbed search, and what it says."""
    folder = tmp_path_factory.mktemp("whole")
    limit = "heldout/perplexity <= base + 50 %"
    done = module_bench(folder, "tune", *METHODS, "--suite", suite, "-o", "found", "--budget", limit, "--json")
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


def tried(told: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """The settings of each method's trials."""
    return [[trial["settings"] for trial in method["trials"]] for method in told["methods"]]


def test_what_it_leaves(whole, module_bench, suite):
    folder, told = whole
    assert json.loads((folder / "found" / "trials.json").read_text()) == told
    assert [len(method["trials"]) for method in told["methods"]] == [3, 3]
    assert [method["trials"][0]["settings"] for method in told["methods"]] == [{}, {}]
    for method in told["methods"]:
        for trial in method["trials"]:
            manifest = json.loads((folder / "runs" / trial["run_id"] / "manifest.json").read_text())
            assert manifest["status"] == "done"
            assert trial["settings"].items() <= manifest["method"]["config"].items()
    chosen = [t for method in told["methods"] for t in method["trials"] if t["chosen"]]
    assert all(trial["within"] for trial in chosen)
    assert told["next"] == "bench run --config found/settings.yaml --suite SUITE"
    config = yaml.safe_load((folder / "found" / "settings.yaml").read_text())
    assert "contrastive.steps=2" in config["set"]  # which the suite says
    again = module_bench(folder, "run", "--config", "found/settings.yaml", "--suite", suite, "--json")
    assert {Path(run).name for run in json.loads(again.stdout)["runs"]} >= {trial["run_id"] for trial in chosen}
    assert "load " not in again.stderr


def test_what_a_search_found_is_kept_for_the_documentation(whole, tmp_path):
    folder, told = whole
    kept = json.loads(searches.keep("own", folder / "found", folder / "runs", tmp_path).read_text())
    for method, one in zip(kept["methods"], told["methods"], strict=True):
        assert [trial["chosen"] for trial in method["trials"]] == [trial["chosen"] for trial in one["trials"]]
        for own, trial in zip(method["trials"], one["trials"], strict=True):
            assert own["attribute"] == trial["point"]["attribute"]["value"]
            assert own["settings"].keys() == one["space"].keys(), "defaults are said too"
            assert trial["settings"].items() <= own["settings"].items()
    rows = [line.split(" | ") for line in searches.render("own", tmp_path).splitlines() if line.startswith("| ")][1:]
    assert [(row[0], row[1]) for row in rows] == [("| preadd", "3"), ("| contrastive (signed)", "3")]
    for row, method in zip(rows, kept["methods"], strict=True):
        chosen = [one["settings"] for one in method["trials"] if one["chosen"]]
        config = registry.load("methods", method["method"]).Config().model_dump(mode="json")
        taken = chosen and all(config[option] == value for option, value in chosen[0].items())
        assert (row[-1] == "yes |") == bool(taken), row


def test_what_was_settled_for_a_search_is_kept_with_it(module_bench, suite, tmp_path):
    said = ("--set", "tau=0.5", "--set", "suite.decoding.top_p=0.8")
    asked = ("--method", "contrastive:objective=paper", *said, "--trials", "1")
    done = module_bench(tmp_path, "tune", *asked, "--suite", suite, "-o", "f")
    assert done.returncode == 0, done.stderr
    kept = json.loads(searches.keep("own", tmp_path / "f", tmp_path / "runs", tmp_path).read_text())
    assert kept["methods"][0]["settled"] == {"objective": "paper", "tau": 0.5}
    assert kept["budget"] == []
    assert "| contrastive (paper, tau=0.5) | 1 |" in searches.render("own", tmp_path)
    assert "all that no other trial beats in both figures" in searches.render("own", tmp_path)


def test_in_what_the_suite_of_a_search_is_another_than_the_one_of_its_name():
    spec = load_suite("tune")
    asked = spec.model_copy(update={"sets": spec.sets.model_copy(update={"negatives": "above"})}).model_dump()
    for suite, setup in ((asked, {"sets.negatives": "above"}), (spec.model_dump(), {}), (asked | {"name": "own"}, {})):
        run = SimpleNamespace(manifest=SimpleNamespace(suite={**suite, "limit": None}))
        assert searches._setup(run) == setup


def test_a_repeat_measures_nothing_and_shows_a_table(whole, module_bench, suite):
    folder, told = whole
    done = module_bench(folder, "tune", *METHODS, "--suite", suite, "-o", "found")
    assert done.returncode == 0, done.stderr
    assert "load " not in done.stderr
    assert "trial" not in done.stderr
    assert max(map(len, done.stdout.splitlines()[:-2])) <= 80
    assert "default settings" in done.stdout
    table = module_bench(folder, "table", "--json")
    assert len(json.loads(table.stdout)["systems"]) == 1 + sum(map(len, tried(told)))


def test_killed_and_begun_again_it_tries_the_same(whole, suite, variables, tmp_path):
    env = variables | {"BENCH_CACHE": str(tmp_path / "cache")}
    command = [COMMAND, "tune", *METHODS, "--suite", suite, "-o", "found", "--json"]
    for wanted in (1, 3):
        process = subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 200
        while len(list(tmp_path.glob("runs/*/manifest.json"))) <= wanted and time.monotonic() < deadline:
            time.sleep(0.05)
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        process.send_signal(signal.SIGKILL)
        process.communicate()
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert tried(told) == tried(whole[1])
    assert len(list(tmp_path.glob("runs/*/result.json"))) == 1 + 6, "nothing was tried twice"


def test_two_processes_share_the_trials(suite, variables, tmp_path):
    env = variables | {"BENCH_CACHE": str(tmp_path / "cache")}
    command = [COMMAND, "tune", *METHODS, "--suite", suite, "-o", "found", "--json"]
    pipe = subprocess.PIPE
    both = [subprocess.Popen(command, cwd=tmp_path, env=env, stdout=pipe, stderr=pipe, text=True) for _ in range(2)]
    ends = [one.communicate(timeout=300) for one in both]
    assert [one.returncode for one in both] == [0, 0], ends
    first, second = (json.loads(out) for out, _ in ends)
    assert first == second
    assert [len(some) for some in tried(first)] == [3, 3]
    assert len(list(tmp_path.glob("runs/*/result.json"))) == 1 + 6
    begun = [sum("trial " in line and " of 3: " in line for line in err.splitlines()) for _, err in ends]
    assert sum(begun) == 6
    assert not list((tmp_path / "found").glob(".*")), "no lease is left"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--method", "contrastve"), "unknown method 'contrastve'; did you mean 'contrastive'?"),
        (("--method", "contrastive", "--suite", "mini"), "task 'rtp' of suite 'mini' does not say 'half: train'"),
        (("--method", "contrastive", "--budget", "cheap"), "requirement 'cheap' cannot be read"),
        (("--method", "contrastive", "--trials", "0"), "invalid value for '--trials'"),
        (("--method", "contrastive", "--seed", "0-2"), "a search has one seed, and --seed says 3"),
        (("--method", "contrastive", "-o", "file"), "file is no folder; name another with -o"),
        (("--method", "none", "--suite", "SUITE"), "no method is named whose settings could be searched"),
        ((), "missing option '--method'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(bench, suite, tmp_path, args, said):
    (tmp_path / "file").write_text("")
    args = tuple(suite if one == "SUITE" else one for one in args)
    done = bench("tune", *(() if "-o" in args else ("-o", "found")), *args)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith(f"bench: error: {said}")
    assert not (tmp_path / "found").exists()


def test_an_unknown_metric_in_the_budget_is_told_before_any_trial(bench, suite, tmp_path):
    done = bench("tune", *METHODS, "--suite", suite, "-o", "found", "--budget", "heldout/perplexty <= base + 5 %")
    assert done.returncode == 2
    assert "no metric is called 'heldout/perplexty'" in done.stderr
    assert not (tmp_path / "found").exists()


def test_without_optuna_it_says_what_to_install(bench, suite, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, package=None: None if name == 'optuna' else find(name, package)\n"
    )
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    done = bench("tune", *METHODS, "--suite", suite, "-o", "found", PYTHONPATH=path)
    assert done.returncode == 3
    assert done.stderr == "bench: error: bench tune needs optuna; pip install 'contrastive-bench[tune]'\n"


def test_trials_that_fail_are_told_and_counted(bench, suite):
    method = "steering:layer=1:position=last,contrastive:lr=1e30:tau=1:alpha=1"
    done = bench("tune", "--method", method, "--suite", suite, "--trials", "2", "-o", "found")
    assert done.returncode == 4, done.stderr
    assert "(trial 1 of contrastive:lr=1e30:tau=1:alpha=1)" in done.stderr
    assert "2 trials, 2 failed" in done.stdout
    assert "Traceback" not in done.stderr
