"""A third party's task and figure, installed from packages of their own, as the guides on adding them say."""

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest
from synthetic import write_run

ROOT = Path(__file__).parents[2]
COMMAND = str(Path(sysconfig.get_path("scripts")) / "bench")
PATIENCE = 600
PACKAGES = ("plugin_task", "plugin_figure")
PAIRS = [
    {"sentence_good": "The two dogs bark at the gate.", "sentence_bad": "The two dogs barks at the gate."},
    {"sentence_good": "She has seen the river.", "sentence_bad": "She has saw the river."},
    {"sentence_good": "Nobody has ever been there.", "sentence_bad": "Somebody has ever been there."},
    {"sentence_good": "The train was late.", "sentence_bad": "The train were late."},
]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that both packages are installed in, without a network."""
    target = tmp_path_factory.mktemp("installed")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet"]
    folders = [str(ROOT / "tests" / name) for name in PACKAGES]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "--target", str(target), *folders],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in target.glob("*.py")) == ["bench_intervals.py", "bench_pairs.py"]
    return target


@pytest.fixture
def run(installed: Path, cache_dir: Path, tmp_path: Path) -> Run:
    """Run a command with the packages on Python's path."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("BENCH_")}
    variables = kept | {"BENCH_CACHE": str(cache_dir), "PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}

    def call(*command: str, cwd: Path = tmp_path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env=variables, cwd=cwd, capture_output=True, text=True, check=False, timeout=PATIENCE
        )

    return call


# --- the task ---


def likelier(folder: Path) -> dict[str, bool]:
    """By good sentence, whether it is likelier than the bad one: as the model itself says."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)

    def logprob(text: str) -> float:
        ids = torch.tensor([[tokenizer.bos_token_id, *tokenizer(text)["input_ids"]]])
        with torch.no_grad():
            known = model(ids).logits[0, :-1].log_softmax(-1)
        return float(known.gather(-1, ids[0, 1:, None]).sum())

    return {pair["sentence_good"]: logprob(pair["sentence_good"]) > logprob(pair["sentence_bad"]) for pair in PAIRS}


def test_the_task_is_listed_measured_and_in_the_table(run, tiny_suite, tiny_model, tmp_path):
    shown = run(COMMAND, "tasks", "show", "pairs")
    assert shown.returncode == 0, shown.stderr
    assert "bench-pairs 0.1" in shown.stdout
    assert "sentence_good" in shown.stdout
    data = tmp_path / "pairs.jsonl"
    data.write_text("".join(json.dumps(pair) + "\n" for pair in [*PAIRS, PAIRS[0]]), encoding="utf-8")
    suite = tiny_suite(tasks=[{"task": "pairs", "data": str(data)}])
    done = run(COMMAND, "run", "--method", "none", "--suite", str(suite), "--json")
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    (row,) = [row for row in value["table"]["rows"] if row["key"] == "pairs/acc"]
    right = likelier(tiny_model)
    assert row["cells"][0]["value"] == pytest.approx(sum(right.values()) / len(right))
    result = json.loads((tmp_path / value["runs"][0] / "result.json").read_text(encoding="utf-8"))
    (metric,) = result["metrics"]
    assert (metric["n"], metric["n_failed"], metric["role"]) == (4, 0, "utility")
    whole = task_of(tmp_path / value["runs"][0])
    fewer = run(COMMAND, "run", "--method", "none", "--suite", str(suite), "--limit", "2", "--json")
    first = task_of(tmp_path / json.loads(fewer.stdout)["runs"][0])
    assert first["cluster_ids"] == whole["cluster_ids"][:2]
    assert first["value"] == whole["value"][:2]


def task_of(folder: Path) -> dict:
    return json.loads((folder / "tasks" / "pairs.json").read_text(encoding="utf-8"))["evidence"]["pairs/acc"]


def test_a_row_that_is_no_pair_is_named_without_its_text(run, tiny_suite, tmp_path):
    data = tmp_path / "pairs.jsonl"
    data.write_text('{"sentence_good": "She has seen it.", "sentence_bad": 3}\n', encoding="utf-8")
    suite = tiny_suite(tasks=[{"task": "pairs", "data": str(data)}])
    done = run(COMMAND, "run", "--method", "none", "--suite", str(suite))
    assert done.returncode == 2
    assert "pairs.jsonl, line 1: expected an object" in done.stderr
    assert "seen" not in done.stderr


# --- the figure ---


@pytest.fixture
def runs(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", "none")
    write_run(tmp_path / "runs", "contrastive", toxicity=0.2, nll=3.1)


@pytest.mark.usefixtures("runs")
def test_the_figure_is_drawn_by_its_name(run, tmp_path):
    done = run(COMMAND, "plot", "intervals", "--suite", "mini")
    assert (done.returncode, done.stdout) == (0, "written: intervals.svg\n"), done.stderr
    again = run(COMMAND, "plot", "intervals", "--all", "--metric", "rtp/toxic/toxic_fraction", "--wide", "-o", "a.pdf")
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF-")
    for flags, code, told in (
        (["intervals", "--metric", "rtp/nothing"], 3, "have not measured 'rtp/nothing'"),
        (["intervals", "--over", "lr"], 2, "has no option 'over'"),
        (["interval"], 2, "did you mean 'intervals'?"),
    ):
        wrong = run(COMMAND, "plot", *flags, "--all")
        assert (wrong.returncode, wrong.stderr.count("\n")) == (code, 1)
        assert told in wrong.stderr


@pytest.mark.usefixtures("runs")
def test_the_figure_is_in_the_page(run, tmp_path):
    done = run(COMMAND, "report", "--all", "-o", "page.html")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<strong>Intervals</strong>: one metric of every system, with its 95 % interval." in page


def test_our_tests_of_figures_cover_it(run):
    options = ("-q", "-p", "no:cacheprovider", "-k", "[intervals]")
    done = run(sys.executable, "-m", "pytest", "tests/unit/test_figures.py", *options, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    last = done.stdout.strip().splitlines()[-1]
    assert int(last.split(" passed")[0].split()[-1]) >= 5, last
