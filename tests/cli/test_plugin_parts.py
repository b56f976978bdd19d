"""A third party's task and figure, installed from packages of their own, as the guides on adding them say."""

import json
from pathlib import Path

import pytest
from packages import COMMAND, Run, contract, install, runner
from synthetic import write_run

PASSAGES = [
    "The two dogs bark at the gate.",
    "She has seen the river, and it rained again.",
    "Nobody has ever been there.",
    "The train was late.",
]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that both packages are installed in, without a network."""
    target = tmp_path_factory.mktemp("installed")
    assert install(target, "plugin_task", "plugin_figure") == ["bench_intervals.py", "bench_order.py"]
    return target


@pytest.fixture
def run(installed: Path, cache_dir: Path, tmp_path: Path) -> Run:
    """Run a command with the packages on Python's path."""
    return runner(installed, cache_dir, tmp_path)


# --- the task ---


def likelier(folder: Path) -> dict[str, bool]:
    """By passage, whether it is likelier than its words in reverse: as the model itself says."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)

    def logprob(text: str) -> float:
        ids = torch.tensor([[tokenizer.bos_token_id, *tokenizer(text)["input_ids"]]])
        with torch.no_grad():
            known = model(ids).logits[0, :-1].log_softmax(-1)
        return float(known.gather(-1, ids[0, 1:, None]).sum())

    return {text: logprob(text) > logprob(" ".join(reversed(text.split()))) for text in PASSAGES}


@pytest.fixture
def suite(tiny_suite, tmp_path: Path) -> str:
    """A suite of the task alone, on passages of which one stands twice and one has a single word."""
    data = tmp_path / "passages.jsonl"
    rows = [{"passage": text} for text in [*PASSAGES, PASSAGES[0], "Alone."]]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(tiny_suite(tasks=[{"task": "order", "data": str(data)}]))


def evidence_of(folder: Path) -> dict:
    return json.loads((folder / "tasks" / "order.json").read_text(encoding="utf-8"))["evidence"]["order/acc"]


def test_the_task_is_listed_measured_and_in_the_table(run, suite, tiny_model, tmp_path):
    shown = run(COMMAND, "tasks", "show", "order")
    assert shown.returncode == 0, shown.stderr
    assert "bench-order 0.1" in shown.stdout
    assert "words of each text that are read" in shown.stdout
    done = run(COMMAND, "run", "--method", "none", "--suite", suite, "--json")
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    (row,) = [row for row in value["table"]["rows"] if row["key"] == "order/acc"]
    right = likelier(tiny_model)
    assert row["cells"][0]["value"] == pytest.approx(sum(right.values()) / len(right))
    folder = tmp_path / value["runs"][0]
    (metric,) = json.loads((folder / "result.json").read_text(encoding="utf-8"))["metrics"]
    assert (metric["n"], metric["n_failed"], metric["role"]) == (4, 0, "utility")
    whole = evidence_of(folder)
    fewer = run(COMMAND, "run", "--method", "none", "--suite", suite, "--limit", "2", "--json")
    first = evidence_of(tmp_path / json.loads(fewer.stdout)["runs"][0])
    assert first["cluster_ids"] == whole["cluster_ids"][:2]
    assert first["value"] == whole["value"][:2]


def test_a_row_without_a_text_is_named_without_what_it_holds(run, suite, tmp_path):
    (tmp_path / "passages.jsonl").write_text('{"text": "She has seen it."}\n', encoding="utf-8")
    done = run(COMMAND, "run", "--method", "none", "--suite", suite)
    assert done.returncode == 2
    assert "passages.jsonl, line 1: no text under the key 'passage'" in done.stderr
    assert "seen" not in done.stderr


def test_the_contract_covers_the_task(run):
    """The suite that covers a task by its being installed; its tests run in a process that has it."""
    last = contract(run, "tests/contract/test_task_behaviour.py", "-k", "[order]")
    assert int(last.split(" passed")[0].split()[-1]) >= 6, last


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
    last = contract(run, "tests/unit/test_figures.py", "-k", "[intervals]")
    assert int(last.split(" passed")[0].split()[-1]) >= 5, last
