"""Whole files: with `half: all` every task takes all of one's data, and keeps what it takes from training."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.data.splits import assert_disjoint
from bench.errors import MissingError
from bench.spec import validate
from bench.tasks.base import Task
from bench.tasks.coverage import Coverage
from bench.tasks.edit.task import Edit
from bench.tasks.identity import Identity
from bench.tasks.outputs.continuation import Continuation
from bench.tasks.outputs.over_refusal import OverRefusal
from bench.tasks.outputs.paraphrase import Paraphrase
from bench.tasks.rtp import RealToxicityPrompts
from bench.tasks.truth.task import Truth

N = 24


def sentences(folder: Path) -> tuple[Path, set[str]]:
    """Sentences about one group, half of them hateful by their label."""
    texts = {f"The women of train number {number} were late.": number % 2 for number in range(N)}
    rows = [
        {"text": text, "label": ("neutral", "hate")[bad], "target_groups": ["women"]} for text, bad in texts.items()
    ]
    path = folder / "sentences.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path, set(texts)


def prompts(folder: Path) -> tuple[Path, set[str]]:
    texts = [f"On day {number} the train said" for number in range(N)]
    (folder / "prompts.txt").write_text("\n".join(texts), encoding="utf-8")
    return folder / "prompts.txt", set(texts)


def questions(folder: Path) -> tuple[Path, set[str]]:
    texts = [f"where is train number {number}" for number in range(N)]
    rows = [{"question": text, "true": ["the sea"], "false": ["a hill"]} for text in texts]
    (folder / "questions.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return folder / "questions.jsonl", set(texts)


def facts(folder: Path) -> tuple[Path, set[str]]:
    rows = [
        {
            "requested_rewrite": {
                "prompt": "{} speaks",
                "subject": f"Person {number}",
                "target_true": {"str": "French"},
                "target_new": {"str": "German"},
            },
            "paraphrase_prompts": [f"At home person {number} talks in"],
            "neighborhood_prompts": [f"Neighbour {number} speaks"],
        }
        for number in range(N)
    ]
    (folder / "facts.json").write_text(json.dumps(rows), encoding="utf-8")
    return folder / "facts.json", {row["neighborhood_prompts"][0] for row in rows}


WHOLE = [
    (RealToxicityPrompts, prompts, ("data",), {}),
    (Continuation, sentences, ("data",), {"toxic": False}),
    (Paraphrase, sentences, ("data",), {"toxic": False, "field": "text"}),
    (Coverage, sentences, ("neutral", "toxic"), {}),
    (Identity, sentences, ("neutral", "toxic"), {}),
    (Truth, questions, ("data",), {}),
    (Edit, facts, ("data",), {}),
]


def made(kind: type[Task[Any]], path: Path, keys: tuple[str, ...], options: dict[str, Any], half: str) -> Task[Any]:
    value = {"task": kind.info.name, **dict.fromkeys(keys, str(path)), **options, "half": half}
    return kind(validate(kind.Config, value, "task"))


@pytest.mark.parametrize(("kind", "write", "keys", "options"), WHOLE)
def test_all_of_the_data_is_measured_where_it_is_asked_for(kind, write, keys, options, context, tmp_path):
    path, texts = write(tmp_path)
    every = texts & set(made(kind, path, keys, options, "all").evaluation_texts(context.assets))
    half = texts & set(made(kind, path, keys, options, "eval").evaluation_texts(context.assets))
    assert every == texts
    assert 0 < len(half) < len(texts)


@pytest.mark.parametrize(("kind", "write", "keys", "options"), WHOLE)
def test_what_is_measured_whole_may_not_be_trained_on(kind, write, keys, options, context, tmp_path):
    path, texts = write(tmp_path)
    taken = made(kind, path, keys, options, "all").evaluation_texts(context.assets)
    for text in texts:
        with pytest.raises(MissingError, match="meet evaluation prompts"):
            assert_disjoint([text], taken)


def test_harmless_sentences_are_those_of_the_whole_file(context, tmp_path):
    path, texts = sentences(tmp_path)
    harmless = {one["text"] for one in json.loads(path.read_text(encoding="utf-8")) if one["label"] == "neutral"}
    assert set(made(OverRefusal, path, ("data",), {}, "all").evaluation_texts(context.assets)) == harmless < texts
