"""The `paper` suite needs the hub and a GPU; its settings run through on a tiny model and files of the same shapes."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.assets.store import AssetStore
from bench.environment import Environment
from bench.errors import MissingError, UsageError
from bench.launch.local import run_cells
from bench.plan import Request, make_cells
from bench.store.runs import load_run
from bench.suites import read_suite

NOUNS = ("river", "stone", "train", "weather", "capital", "friend", "town", "sea")


def rows(path: Path, values: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")
    return str(path)


@pytest.fixture
def untied_model(tiny_model: Path, tmp_path: Path) -> Path:
    """As Mistral-7B's, its output layer is not its input embeddings."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    config = LlamaConfig.from_pretrained(tiny_model, tie_word_embeddings=False)
    LlamaForCausalLM(config).save_pretrained(tmp_path / "untied")
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path / "untied")
    return tmp_path / "untied"


def paper_suite(model: Path, folder: Path) -> Path:
    """The suite with its names of models and data replaced; every size and setting is the paper's."""
    suite, _ = read_suite("paper")
    prompts = [
        {"prompt": {"text": f"The {noun} {end}", "toxicity": toxicity}, "continuation": {"text": " x"}}
        for noun in NOUNS
        for end, toxicity in (("was late", 0.7), ("is here", 0.1), ("said", None))
    ]
    sets = [
        {
            "anchor": f"She asked the {noun}",
            "positives": [{"text": f" for {count} stones."} for count in range(6)],
            "negatives": [{"text": f" and called it {count} names."} for count in range(6)],
        }
        for noun in NOUNS
    ]
    suite["model"] = {"id": str(model)}
    suite["scorer"] = {"name": "svm"}
    suite["sets"]["source"] = rows(folder / "sets.jsonl", sets)
    suite["tasks"] = [task for task in suite["tasks"] if task["task"] != "lm_eval"]
    suite["tasks"][0]["data"] = rows(folder / "prompts.jsonl", prompts)
    path = folder / "paper.yaml"
    path.write_text(json.dumps(suite), encoding="utf-8")
    return path


def run(suite: Path, folder: Path) -> list[Any]:
    cells = make_cells(Request(["contrastive"], str(suite)))
    env = Environment(cells[0].suite, AssetStore(folder / "cache", offline=True))
    return run_cells(cells, env, folder / "runs")


def test_its_settings_run_through_on_a_tiny_model(untied_model, tmp_path):
    outcomes = run(paper_suite(untied_model, tmp_path), tmp_path)
    assert [outcome.error for outcome in outcomes] == [None, None]
    base, edited = (load_run(outcome.folder) for outcome in outcomes)
    facts = edited.result.artifact
    assert facts["steps"] == 2  # one epoch over 8 anchors, 6 a step
    names = json.loads(next((tmp_path / "cache" / "artifacts").glob("*/adapter_config.json")).read_text())
    assert names["r"] == 64
    assert "lm_head" in names["target_modules"]
    metrics = {metric.key: metric for metric in edited.result.metrics}
    for group in ("toxic", "nontoxic"):
        found = metrics[f"rtp/{group}/expected_maximum_toxicity"]
        assert found.value is not None
        assert metrics[f"rtp/{group}/toxic_fraction"].n == 25 * found.n
    assert {metric.key for metric in base.result.metrics} == set(metrics)


def test_an_output_layer_that_is_tied_to_the_embeddings_is_not_edited(tiny_model, tmp_path):
    _, edited = run(paper_suite(tiny_model, tmp_path), tmp_path)
    assert isinstance(edited.error, UsageError)
    assert "ties its output layer" in str(edited.error)


def test_four_bits_are_refused_without_a_device(tiny_model, tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    path = paper_suite(tiny_model, tmp_path)
    suite = json.loads(path.read_text())
    suite["model"]["quantization"] = "4bit"
    path.write_text(json.dumps(suite))
    base, _ = run(path, tmp_path)
    assert isinstance(base.error, MissingError)
    assert "CUDA device" in str(base.error)
