"""A third party's methods, installed from its own package: they are there, run and keep the contract as they are."""

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMAND = str(Path(sysconfig.get_path("scripts")) / "bench")
PATIENCE = 600
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the package of `tests/plugin` is installed in, without a network."""
    target = tmp_path_factory.mktemp("installed")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(ROOT / "tests" / "plugin")],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in target.glob("*.py")) == ["bench_margin.py", "bench_sharpen.py"]
    return target


@pytest.fixture
def run(installed: Path, cache_dir: Path, tmp_path: Path) -> Run:
    """Run a command with the package on Python's path."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("BENCH_")}
    variables = kept | {"BENCH_CACHE": str(cache_dir), "PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}

    def call(*command: str, cwd: Path = tmp_path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env=variables, cwd=cwd, capture_output=True, text=True, check=False, timeout=PATIENCE
        )

    return call


def test_they_are_listed_with_where_they_are_from(run):
    done = run(COMMAND, "methods", "--json")
    assert done.returncode == 0, done.stderr
    found = {row["name"]: row for row in json.loads(done.stdout)}
    assert {"sharpen", "margin", "contrastive", "none"} <= found.keys()
    assert found["sharpen"]["from"] == found["margin"]["from"] == "bench-sharpen 0.1"
    assert found["sharpen"]["strength"] == "sharpness"
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


def test_a_mistake_in_their_options_is_one_line(run, tiny_suite):
    done = run(COMMAND, "run", "--method", "sharpen:sharpnes=1", "--suite", str(tiny_suite()))
    assert done.returncode == 2
    assert done.stderr == "bench: error: method 'sharpen': unknown key 'sharpnes', did you mean 'sharpness'?\n"


@pytest.mark.slow
def test_the_contract_covers_what_is_installed(run):
    """The suite that covers a method by its being installed; its tests run in a process that has it."""
    options = ("-q", "-p", "no:cacheprovider", "-k", "sharpen")
    done = run(sys.executable, "-m", "pytest", "tests/contract", *options, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    last = done.stdout.strip().splitlines()[-1]
    assert int(last.split(" passed")[0].split()[-1]) >= 18, last
