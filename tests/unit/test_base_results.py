"""What follows from the base model alone is computed once for a model, a question and the code that answers it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from told import Told

from bench.assets import base_results
from bench.assets.base_results import NOTHING_KEPT, BaseResults
from bench.method import Artifact, RunContext
from bench.run.artifact import load_artifact, make_artifact
from bench.store.files import read_json
from methods.dpo import DPO
from methods.editing import memory
from methods.editing.memory import kept_keys
from methods.editing.method import KeyOptions
from methods.kto import KTO
from methods.learning import reference
from methods.learning.method import TrainedMethod
from methods.memit import MEMIT, MEMITConfig
from methods.npo import NPO
from methods.sft import SFT

CODE = "methods.editing.memory"
MATRIX = "model.layers.{}.mlp.down_proj.weight"
OPTIONS = KeyOptions(texts=6, text_tokens=12, contexts=1)


class Counted:
    """Computes a result, and counts how often."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> list[int]:
        self.times += 1
        return [self.times]


def test_a_result_is_computed_once_and_kept(tmp_path):
    compute = Counted()
    assert BaseResults(tmp_path, "a model").values({"seed": 0}, CODE, compute) == [1]
    assert BaseResults(tmp_path, "a model").values({"seed": 0}, CODE, compute) == [1]
    assert compute.times == 1


@pytest.mark.parametrize(
    ("made_with", "asked", "code"),
    [
        ("another", {"seed": 0}, CODE),
        ("a model", {"seed": 1}, CODE),
        ("a model", {"seed": 0}, "methods.editing.values"),
    ],
)
def test_another_model_question_or_code_has_a_result_of_its_own(made_with, asked, code, tmp_path):
    compute = Counted()
    BaseResults(tmp_path, "a model").values({"seed": 0}, CODE, compute)
    assert BaseResults(tmp_path, made_with).values(asked, code, compute) == [2]


def test_nothing_is_kept_without_a_folder():
    compute = Counted()
    assert [NOTHING_KEPT.values({}, CODE, compute) for _ in range(2)] == [[1], [2]]


def test_a_damaged_result_is_set_aside_and_computed_again(tmp_path):
    told = Told()
    results, compute = BaseResults(tmp_path, "a model"), Counted()
    results.values({}, CODE, compute)
    (result,) = tmp_path.glob("*/result")
    result.write_text("[7]")
    assert replace(results, progress=told).values({}, CODE, compute) == [2]
    assert len(told.notes) == 1
    assert result.parent.name in told.notes[0]


def test_what_fails_leaves_nothing(tmp_path):
    def fails() -> None:
        raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        BaseResults(tmp_path).values({}, CODE, fails)
    assert not list(tmp_path.glob("*/result"))
    assert BaseResults(tmp_path).values({}, CODE, Counted()) == [1]


def test_tensors_are_kept_bit_for_bit(tmp_path):
    made = {"moment": torch.randn(5, 5, dtype=torch.float64), "tokens": torch.tensor(7)}
    results = BaseResults(tmp_path)
    assert results.tensors({}, CODE, lambda: made) is not made
    found = results.tensors({}, CODE, dict)
    assert all(torch.equal(found[name], value) and found[name].dtype == value.dtype for name, value in made.items())


# --- second moments of keys ---


def test_the_moments_are_computed_once_for_methods_that_edit_the_same_matrices(tiny_base, tmp_path, monkeypatch):
    names = [MATRIX.format(number) for number in range(2)]
    results = BaseResults(tmp_path / "kept")
    first = kept_keys(tiny_base, names, OPTIONS, RunContext(tmp_path, base_results=results))
    alone = kept_keys(tiny_base, names, OPTIONS, RunContext(tmp_path))
    monkeypatch.setattr(memory, "second_moments", None)
    second = kept_keys(tiny_base, names, OPTIONS, RunContext(tmp_path, base_results=results))
    for found in (first, second):
        assert all(torch.equal(a, b) for a, b in zip(found.moments, alone.moments, strict=True))
        assert (found.tokens, found.contexts) == (alone.tokens, alone.contexts)


@pytest.mark.parametrize("change", [{"seed": 1}, {"texts": 5}, {"text_tokens": 11}])
def test_other_texts_have_moments_of_their_own(change, tiny_base, tmp_path):
    seed = {key: value for key, value in change.items() if key == "seed"}
    options = OPTIONS.model_copy(update={key: value for key, value in change.items() if key != "seed"})
    results, names = BaseResults(tmp_path / "kept"), [MATRIX.format(0)]
    first = kept_keys(tiny_base, names, OPTIONS, RunContext(tmp_path, base_results=results))
    other = kept_keys(tiny_base, names, options, RunContext(tmp_path, **seed, base_results=results))
    assert not torch.equal(first.moments[0], other.moments[0])


def test_what_is_read_counts_in_an_artifacts_seconds(tiny_base, tiny_sets, tmp_path, monkeypatch):
    """Whichever method comes first, the cost of each is what it takes alone."""
    method = MEMIT(MEMITConfig(texts=6, text_tokens=12, contexts=1, steps=1))
    results = BaseResults(tmp_path / "kept")
    seconds = []
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        facts = make_artifact(method, tiny_base, tiny_sets, RunContext(folder, base_results=results))
        seconds.append(facts["seconds"])
        (result,) = (tmp_path / "kept").glob("*/seconds.json")
        monkeypatch.setattr(base_results, "read_json", lambda path, real=read_json: 100 + real(path))
    assert seconds[0] < 100 < seconds[1]
    assert result.is_file()


# --- likelihoods that a loss compares with ---


@pytest.mark.parametrize(
    ("kind", "of_the_loss"),
    [(DPO, {"beta": 0.5}), (KTO, {"beta": 0.5, "undesirable_weight": 2}), (NPO, {"beta": 0.5, "retain": 2})],
)
def test_trainings_that_differ_in_rate_and_loss_read_the_base_once(
    kind, of_the_loss, tiny_base, tiny_sets, tmp_path, monkeypatch
):
    """What is trained is bit for bit what it is alone."""
    results, other = BaseResults(tmp_path / "kept"), kind(kind.Config(steps=3, lr=5e-3, **of_the_loss))
    alone = artifact_of(other, tiny_base, tiny_sets, tmp_path / "alone", NOTHING_KEPT)
    first = artifact_of(kind(kind.Config(steps=3)), tiny_base, tiny_sets, tmp_path / "first", results)
    monkeypatch.setattr(reference, "loglikelihood", None)
    monkeypatch.setattr(base_results, "read_json", lambda path: 100 + read_json(path))
    second = artifact_of(other, tiny_base, tiny_sets, tmp_path / "second", results)
    assert second.hash == alone.hash != first.hash
    assert {**second.facts, "seconds": 0} == {**alone.facts, "seconds": 0}
    assert first.facts["seconds"] < 100 < second.facts["seconds"]  # what is read counts as if it were computed


@pytest.mark.parametrize(("options", "seed"), [({}, 1), ({"positives": 1}, 0), ({"steps": 2}, 0)])
def test_other_texts_have_a_reference_of_their_own(options, seed, tiny_base, tiny_sets, tmp_path):
    results = BaseResults(tmp_path / "kept")
    for number, (some, drawn) in enumerate([({}, 0), (options, seed)]):
        method = DPO(DPO.Config(**{"steps": 1, **some}))
        artifact_of(method, tiny_base, tiny_sets, tmp_path / str(number), results, drawn)
    assert not results.read_seconds


def test_a_method_without_a_reference_asks_the_base_for_none(tiny_base, tiny_sets, tmp_path, monkeypatch):
    monkeypatch.setattr(reference, "loglikelihood", None)
    artifact_of(SFT(SFT.Config(steps=1)), tiny_base, tiny_sets, tmp_path / "made", BaseResults(tmp_path / "kept"))
    assert not (tmp_path / "kept").exists()


def artifact_of(
    method: TrainedMethod[Any], base: Any, sets: Any, folder: Path, results: BaseResults, seed: int = 0
) -> Artifact:
    folder.mkdir()
    make_artifact(method, base, sets, RunContext(folder, seed, base_results=results))
    return load_artifact(folder)
