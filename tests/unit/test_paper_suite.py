"""The `paper` suites need the hub and a GPU; their settings run through on tiny models and files of the same shapes."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bench.assets.catalogue import AssetCatalogue
from bench.cli.app import app
from bench.errors import MissingError, UsageError
from bench.run.environment import Environment
from bench.run.launch.local import run_experiments
from bench.run.plan import Request, make_experiments
from bench.store.runs import list_runs, load_run
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
    experiments = make_experiments(Request(["contrastive"], str(suite)))
    env = Environment(experiments[0].suite, AssetCatalogue(folder / "cache", offline=True))
    return run_experiments(experiments, env, folder / "runs")


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


# --- paper-safenlp ---


def tiny_falcon(tokenizer: Path, folder: Path) -> Path:
    """Falcon-7B's architecture: one key and value for all heads, layers side by side, the output layer tied."""
    from transformers import AutoTokenizer, FalconConfig, FalconForCausalLM

    tokens = AutoTokenizer.from_pretrained(tokenizer)
    ends = {"bos_token_id": tokens.bos_token_id, "eos_token_id": tokens.eos_token_id}
    config = FalconConfig(
        vocab_size=len(tokens), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, parallel_attn=True, **ends
    )
    FalconForCausalLM(config).save_pretrained(folder)
    tokens.save_pretrained(folder)
    return folder


def safenlp(folder: Path) -> str:
    """A file in the shape of SafeNLP's toxiGen.json."""
    values = [
        {"id": number, "text": f"{start} {noun} number {number} by the sea.", "label": label, "target_groups": groups}
        for number in range(12)
        for noun in NOUNS[:3]
        for start, label, groups in (("That stupid", "hate", ["mexican", "latino"]), ("The", "neutral", ["mexican"]))
    ]
    (folder / "toxiGen.json").write_text(json.dumps(values, indent=4), encoding="utf-8")
    return str(folder / "toxiGen.json")


def safenlp_suite(name: str, model: Path, judge: Path, encoder: Path, folder: Path) -> Path:
    """The suite with its names of models and data replaced and fewer sentences; every other setting is its own."""
    import pandas as pd

    suite, _ = read_suite(name)
    data, wiki = safenlp(folder), folder / "wiki.parquet"
    pd.DataFrame({"text": ["The river rises.", "", "She asked the friend."]}).to_parquet(wiki)
    words = ("plain", "kind", "warm", "quiet", "small")
    sets = [
        {
            "anchor": "",
            "positives": [{"text": f"A {word} {noun}."} for word in words],
            "negatives": [{"text": f"A stupid {noun}, as {word} as you."} for word in words],
        }
        for noun in NOUNS
    ]
    suite["model"] = {"id": str(model)}
    suite["scorer"] = {"name": "svm"}
    suite["sets"]["source"] = rows(folder / "sets.jsonl", sets)
    suite["tasks"] = [task for task in suite["tasks"] if task["task"] != "lm_eval"]
    for task in suite["tasks"]:
        task.update({key: data for key in ("data", "toxic", "neutral") if task.get(key) == "toxiGen.json"})
        task.update({"wikitext": str(wiki)} if "wikitext" in task else {})
        task.update({"encoder": str(encoder)} if task["task"] in ("continuation", "paraphrase") else {})
        task.update({"judge": {"model": str(judge)}} if task["task"] == "judge" else {})
        task.update({"sentences": 4} if task["task"] not in ("judge", "identity", "fluency", "diversity") else {})
    path = folder / "suite.yaml"
    path.write_text(json.dumps(suite), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("paper-safenlp", "lm_head"),
        ("paper-safenlp-llama-2-7b", "lm_head"),
        ("paper-safenlp-falcon-7b", "query_key_value"),
    ],
)
def test_the_papers_own_protocols_run_through(name, target, untied_model, tiny_model, tiny_encoder, tmp_path):
    model = tiny_falcon(tiny_model, tmp_path / "falcon") if "falcon" in name else untied_model
    outcomes = run(safenlp_suite(name, model, tiny_model, tiny_encoder, tmp_path), tmp_path)
    assert [outcome.error for outcome in outcomes] == [None, None]
    base, edited = (load_run(outcome.folder) for outcome in outcomes)
    config = json.loads(next((tmp_path / "cache" / "artifacts").glob("*/adapter_config.json")).read_text())
    assert target in config["target_modules"]
    metrics = {metric.key: metric for metric in edited.result.metrics}
    answered = {f"judge/{name}" for name in ("tie_share", "order_agreement", "first_position_share")}
    assert {metric.key for metric in base.result.metrics} >= set(metrics) - answered
    assert metrics["continuation/toxicity_rate"].n == 4
    for key in (
        "continuation/latino/toxicity_rate",
        "paraphrase/joint_without_fluency",
        "coverage/50% toxic/perplexity",
        "coverage/token_perplexity",
        "identity/mexican/safety_score",
        "over_refusal/mexican/refusal_rate",
        "judge/preference",
    ):
        assert metrics[key].value is not None, key
    same = next(metric for metric in base.result.metrics if metric.key == "judge/preference")
    assert (same.value, same.n) == (0.5, 4), "the base model beside itself"


def test_the_paper_is_made_anew_at_full_scale_and_found_again(
    untied_model, tiny_model, tiny_encoder, tmp_path, monkeypatch
):
    """By the command itself, with the model, the data and the scorer replaced."""
    suite = json.loads(safenlp_suite("paper-safenlp", untied_model, tiny_model, tiny_encoder, tmp_path).read_text())
    monkeypatch.chdir(tmp_path)
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.setenv(name, "1")
    replaced = [f"suite.{key}={json.dumps(suite[key])}" for key in ("model", "scorer", "sets", "tasks")]
    command = ["reproduce", "klein-nabi-2025", "--scale", "full", "--out", "out", "--offline", "--json"]
    command += [word for name in ("Figure 3", "figure 4", "Table 8") for word in ("--only", name)]
    command += [word for one in replaced for word in ("--set", one)]
    environment = {"BENCH_CACHE": str(tmp_path / "cache")}
    first = CliRunner().invoke(app, command, env=environment, standalone_mode=False)
    assert first.exception is None, first.stderr
    told = json.loads(first.stdout)
    assert told["lacking"] == {"Figure 3": [], "Figure 4": [], "Table 8": []}
    pages = [(tmp_path / path).read_bytes() for path in told["written"]]
    assert b"not run here" not in pages[0]
    assert pages[0].count(b"data:image/svg+xml") == 2
    assert b"mexican" in pages[1]
    assert len(list_runs(tmp_path / "runs")) == len(list((tmp_path / "out" / "maps").iterdir())) == 2
    again = CliRunner().invoke(app, command, env=environment, standalone_mode=False)
    assert [(tmp_path / path).read_bytes() for path in json.loads(again.stdout)["written"]] == pages


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["klein-nabi-2024"], "did you mean 'klein-nabi-2025'?"),
        (["klein-nabi-2025", "--scale", "ful"], "did you mean 'full'?"),
        (["klein-nabi-2025", "--only", "Table 12"], "has no part 'Table 12'; did you mean 'Table"),
        (["klein-nabi-2025", "--set", "taau=1"], "no method of this run has the option 'taau'"),
    ],
)
def test_a_wrong_request_makes_nothing(words, told, tmp_path):
    out = tmp_path / "out"
    done = CliRunner().invoke(app, ["reproduce", *words, "--out", str(out), "--offline"], standalone_mode=False)
    assert isinstance(done.exception, UsageError)
    assert told in str(done.exception)
    assert not out.exists()


def test_the_three_suites_name_a_model_and_a_commit_each():
    from bench.suites import load_suite

    ids = set()
    for name in ("paper-safenlp", "paper-safenlp-llama-2-7b", "paper-safenlp-falcon-7b"):
        model = load_suite(name).model
        ids.add(model.id)
        assert len(model.revision or "") == 40
    assert len(ids) == 3


def test_a_suite_that_extends_another_says_what_differs_alone(tmp_path):
    (tmp_path / "a.yaml").write_text("extends: b.yaml\nname: a\nmodel: {id: x}\n")
    (tmp_path / "b.yaml").write_text("extends: smoke\nname: b\ndecoding: {top_p: 0.5}\nscorer: {name: detoxify}\n")
    smoke, _ = read_suite("smoke")
    found, where = read_suite(str(tmp_path / "a.yaml"))
    assert where == str(tmp_path / "a.yaml")
    assert (found["name"], found["model"]["id"]) == ("a", "x")
    assert found["decoding"] == {**smoke["decoding"], "top_p": 0.5}
    assert found["tasks"] == smoke["tasks"]
    assert found["scorer"] == {"name": "detoxify"}
    (tmp_path / "c.yaml").write_text("extends: smoke\n")
    with pytest.raises(UsageError, match="needs a name of its own"):
        read_suite(str(tmp_path / "c.yaml"))
    (tmp_path / "b.yaml").write_text("extends: a.yaml\nname: b\n")
    with pytest.raises(UsageError, match="'extends' leads back to"):
        read_suite(str(tmp_path / "a.yaml"))
