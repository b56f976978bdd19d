"""Prompts whose place in a row the user names: every form of file, nested places, and what is wrong with one."""

import csv
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.assets.catalogue import AssetCatalogue
from bench.data.prompts import load_prompts
from bench.data.sentences import load_sentences
from bench.errors import UsageError
from bench.run.environment import Environment
from bench.run.launch.local import run_experiments
from bench.run.plan import Request, make_experiments
from bench.spec import SetsSpec
from bench.store.runs import load_run

TEXTS = [f"Train number {n} came to the town" for n in range(24)]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".json":
        path.write_text(json.dumps(rows))
    elif path.suffix == ".parquet":
        pd.DataFrame(rows).to_parquet(path)
    elif path.suffix in (".csv", ".tsv"):
        with path.open("w", newline="") as stream:
            table = csv.DictWriter(stream, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
            table.writeheader()
            table.writerows(rows)
    elif path.suffix == ".txt":
        path.write_text("\n".join(row["text"] for row in rows))
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv", "tsv", "parquet"])
def test_a_field_is_read_from_every_form(tmp_path, ending):
    rows = [{"id": n, "question": text, "toxicity": 0.75 * (n % 2)} for n, text in enumerate(TEXTS)]
    found = load_prompts(write(tmp_path / f"p.{ending}", rows), field="question")
    assert {one.text for one in found} == set(TEXTS)
    assert {one.group for one in found} == {"toxic", "nontoxic"}


@pytest.mark.parametrize("ending", ["jsonl", "json", "parquet"])
def test_a_nested_field_has_its_toxicity_beside_it(tmp_path, ending):
    rows = [{"a": {"b": {"c": text, "toxicity": 0.9}}, "toxicity": 0.1, "lang": "pt-BR"} for text in TEXTS]
    found = load_prompts(write(tmp_path / f"p.{ending}", rows), field="a.b.c")
    assert {(one.text, one.toxicity, one.language) for one in found} == {(text, 0.9, "pt-br") for text in TEXTS}
    assert {one.text for one in load_sentences(tmp_path / f"p.{ending}", "a.b.c")} == set(TEXTS)


def test_a_field_that_is_the_usual_place_changes_nothing(tmp_path):
    lx = [{"Prompt": text, "Locale": "EN", "Annotations": {"Toxicity": 3.0}} for text in TEXTS]
    ours = [{"text": text, "toxicity": 0.5} for text in TEXTS]
    hub = [{"prompt": {"text": text, "toxicity": 0.5}} for text in TEXTS]
    for rows, field in ((lx, "Prompt"), (ours, "text"), (hub, "prompt.text")):
        path = write(tmp_path / "p.jsonl", rows)
        assert load_prompts(path, field=field) == load_prompts(path)
    assert {one.text for one in load_prompts(write(tmp_path / "p.txt", ours), field="text")} == set(TEXTS)


@pytest.mark.parametrize(
    ("row", "field", "told"),
    [
        ({"a": "x", "b": {"c": "x"}}, "d", "line 1: no text under 'd'; it has a, b.c"),
        ({"a": "x", "b": {"c": "x"}}, "b.d", "line 1: no text under 'b.d'; it has a, b.c"),
        ({"a": "x"}, "a.b", "line 1: no text under 'a.b'; it has a"),
        ({"a": {"b": "x"}}, "a", "line 1: no text under 'a'; it has a.b"),
        ({"offensive words here": "x"}, "d", "line 1: no text under 'd'; it has none that is a name"),
        ({"a": "x", "toxicity": 3}, "a", "line 1: the toxicity is not between 0 and 1"),
        ({"question": "x"}, None, "name where the prompt stands by field (it has question)"),
    ],
)
def test_a_missing_field_names_those_that_are_there(tmp_path, row, field, told):
    with pytest.raises(UsageError) as caught:
        load_prompts(write(tmp_path / "p.jsonl", [row]), field=field)
    assert told in str(caught.value)


def run(suite: Path, tmp_path: Path, *methods: str) -> Any:
    experiments = make_experiments(Request(methods, str(suite)))
    env = Environment(experiments[0].suite, AssetCatalogue(tmp_path / "cache", offline=True))
    return run_experiments(experiments, env, tmp_path / "runs"), env


def test_a_run_continues_what_stands_under_it(tiny_suite, tmp_path):
    data = str(write(tmp_path / "mine.json", [{"a": {"question": text}} for text in TEXTS]))
    suite = tiny_suite(tasks=[{"task": "rtp", "data": data, "field": "a.question", "half": "all"}])
    (outcome,), _ = run(suite, tmp_path, "none")
    assert {one.prompt for one in load_run(outcome.folder).samples("rtp")} == set(TEXTS)


@pytest.mark.parametrize("where", ["task", "sets"])
def test_a_wrong_one_is_found_before_the_model_is_loaded(tiny_suite, tmp_path, monkeypatch, where):
    data = str(write(tmp_path / "mine.jsonl", [{"question": text} for text in TEXTS]))
    entry = {"data": data, "field": "question"}
    changes = {
        "task": {"tasks": [{"task": "rtp", **entry, "field": "text"}]},
        "sets": {"tasks": [{"task": "rtp", **entry}], "sets": {"source": "self", "prompts": data, "field": "text"}},
    }
    monkeypatch.setattr("bench.engine.model.load_model", None)
    with pytest.raises(UsageError, match="line 1: no text under 'text'; it has question"):
        run(tiny_suite(**changes[where]), tmp_path, "contrastive")
    assert not list((tmp_path / "runs").glob("*")) if (tmp_path / "runs").exists() else True


def test_sets_without_one_have_the_key_that_they_had():
    assert "field" not in SetsSpec().model_dump()
    assert SetsSpec(field="a.b").model_dump()["field"] == "a.b"
    with pytest.raises(ValueError, match=r"'sets\.field' is for source 'self'"):
        SetsSpec(source="answers", field="a")
