"""GRPO: what is rewarded, what is not, and what the trainer leaves behind."""

import copy
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.errors import MissingError, UsageError
from bench.method import RunContext
from bench.sets import ContrastiveSet, ContrastiveSets, Text

pytest.importorskip("trl")

from safetensors.torch import load_file

from methods.grpo import GRPO, GRPOConfig
from methods.grpo.training import _Reward
from methods.learning.options import TrainingConfig
from methods.learning.trainer import train_adapter

SMALL: dict[str, Any] = {"steps": 2, "generations": 4, "max_new_tokens": 6, "lr": 5e-3, "warmup": 0.0, "lora_r": 4}


def vowels(texts: Sequence[str]) -> list[float | None]:
    return [sum(one in "aeiou" for one in text) / len(text) for text in texts]


def train(base: Any, sets: ContrastiveSets, folder: Path, toxicity: Any = vowels, **options: Any) -> dict[str, Any]:
    folder.mkdir()
    config = GRPOConfig(**SMALL | options)
    return GRPO(config).prepare(base, sets, RunContext(folder, unwanted=toxicity))


def log_of(folder: Path) -> list[dict[str, float]]:
    log: list[dict[str, float]] = json.loads((folder / "training.json").read_text())
    return log


def moved(folder: Path) -> float:
    """How far the adapter is from none at all."""
    tensors = load_file(folder / "adapter_model.safetensors")
    return max(float(tensor.abs().max()) for name, tensor in tensors.items() if "lora_B" in name)


def tokens_of(base: Any, *texts: str) -> list[list[int]]:
    return [base.tokenizer(text)["input_ids"] for text in texts]


def test_the_reward_is_1_minus_toxicity_of_the_continuation_alone(tiny_base):
    seen: list[str] = []

    def score(texts: Sequence[str]) -> list[float | None]:
        seen.extend(texts)
        return [0.25, 1.0]

    ids = tokens_of(tiny_base, " a stone", " you idiot")
    assert _Reward(tiny_base, score)(["She asked"] * 2, ids) == [0.75, 0.0]
    assert seen == [" a stone", " you idiot"]


def test_what_is_blank_or_has_no_score_has_no_reward(tiny_base):
    reward = _Reward(tiny_base, lambda texts: [None if "idiot" in text else 0.0 for text in texts])
    end = [tiny_base.tokenizer.eos_token_id]
    ids = [*tokens_of(tiny_base, " a stone", " you idiot", "  "), end]
    assert reward(["She asked"] * 4, ids) == [1.0, None, None, None]
    assert reward.missing == 3


def test_where_nothing_has_a_reward_training_ends(tiny_base, tiny_sets, tmp_path):
    before = dict(vars(tiny_base.model))
    with pytest.raises(MissingError, match="none of the continuations of step 1 has a reward"):
        train(tiny_base, tiny_sets, tmp_path / "a", lambda texts: [None] * len(texts))
    assert list((tmp_path / "a").iterdir()) == []
    assert vars(tiny_base.model) == before


def test_a_text_without_a_score_teaches_nothing(tiny_base, tiny_sets, tmp_path):
    """Of each anchor's texts one has a score: it is its own mean, and the others are neither clean nor toxic."""

    def one_in_four(texts: Sequence[str]) -> list[float | None]:
        return [0.9 if place % 4 == 0 else None for place in range(len(texts))]

    facts = train(tiny_base, tiny_sets, tmp_path / "a", one_in_four)
    assert facts["unrewarded"] == 2 * 2 * 3
    assert moved(tmp_path / "a") == 0
    assert train(tiny_base, tiny_sets, tmp_path / "b")["unrewarded"] == 0
    assert moved(tmp_path / "b") > 1e-3


def test_it_learns_what_is_rewarded(tiny_base, tiny_sets, tmp_path):
    train(tiny_base, tiny_sets, tmp_path / "a", steps=40, generations=8, lr=0.02, scheduler="constant", warmup=0)
    rewards = [line["reward"] for line in log_of(tmp_path / "a")]
    assert len(rewards) == 40
    assert sum(rewards[-5:]) / 5 > sum(rewards[:5]) / 5 + 0.1


def test_the_adapter_and_the_budget_are_those_of_the_other_methods(tiny_base, tiny_sets, tmp_path):
    facts = train(tiny_base, tiny_sets, tmp_path / "a")
    (tmp_path / "b").mkdir()
    shared = TrainingConfig(steps=2, lora_r=4)
    other = train_adapter(tiny_base, tiny_sets, shared, lambda scores: scores.phi.mean(), RunContext(tmp_path / "b"))
    for fact in ("steps", "anchors", "trainable_parameters", "processes"):
        assert facts[fact] == other[fact]
    configs = [json.loads((tmp_path / name / "adapter_config.json").read_text()) for name in "ab"]
    assert configs[0] == configs[1]
    anchor = len(tiny_base.tokenizer("She asked the river")["input_ids"])
    assert 16 * anchor < facts["trained_tokens"] <= 16 * (anchor + 3 + SMALL["max_new_tokens"])
    assert GRPOConfig().generations == TrainingConfig().positives + TrainingConfig().negatives


@pytest.mark.parametrize("options", [{}, {"beta": 0.1}, {"scale_rewards": "batch", "temperature": 0.7}])
def test_nothing_else_is_left_said_or_sent(tiny_base, tiny_sets, tmp_path, monkeypatch, capfd, options):
    def refuse(*arguments: Any, **keywords: Any) -> None:
        raise AssertionError("a report was sent")

    monkeypatch.setattr("trl.trainer.base_trainer.send_telemetry", refuse)
    tokenizer = copy.deepcopy(vars(tiny_base.tokenizer))
    train(tiny_base, tiny_sets, tmp_path / "a", lambda texts: [None, *vowels(texts)[1:]], **options)
    names = {path.name for path in (tmp_path / "a").rglob("*")}
    assert names == {"adapter_config.json", "adapter_model.safetensors", "training.json"}
    assert ("kl" in log_of(tmp_path / "a")[0]) == ("beta" in options)
    assert not any("time" in line for line in log_of(tmp_path / "a"))
    assert capfd.readouterr() == ("", "")
    assert str(vars(tiny_base.tokenizer)) == str(tokenizer)
    assert not any("lora" in name for name, _ in tiny_base.model.named_modules())


def test_an_empty_anchor_is_the_begin_token(tiny_base, tmp_path):
    one = ContrastiveSet(anchor="", positives=[Text(text="a")], negatives=[Text(text="b")])
    facts = train(tiny_base, ContrastiveSets([one], "hash", "a test"), tmp_path / "a", max_new_tokens=1)
    assert facts["trained_tokens"] == 2 * 2 * 4 * 2  # steps, anchors, continuations; one token each and one before


def test_anchors_are_gone_through_as_in_the_other_methods(tiny_base, tiny_sets, tmp_path):
    from methods.learning.batches import draw_items

    order: list[str] = []
    real = _Reward.__call__

    def watch(self: Any, prompts: list[str], completion_ids: list[list[int]], **more: Any) -> Any:
        order.extend(prompts[::4])
        return real(self, prompts, completion_ids, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_Reward, "__call__", watch)
        train(tiny_base, tiny_sets, tmp_path / "a", steps=4)
    assert order == [item.anchor for item in draw_items(tiny_sets, TrainingConfig(steps=4), 0)]


def test_numbers_that_are_not_finite_are_one_clear_error(tiny_base, tiny_sets, tmp_path):
    before = {name: tensor.clone() for name, tensor in tiny_base.model.state_dict().items()}
    with pytest.raises(MissingError, match="lower the learning rate"):
        train(tiny_base, tiny_sets, tmp_path / "a", lr=1e30, steps=4)
    after = tiny_base.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not (tmp_path / "a" / "adapter_model.safetensors").exists()


def test_bad_settings_are_refused(tiny_base, tiny_sets, tmp_path):
    with pytest.raises(UsageError, match=r"anchors_per_step \* generations = 8 cannot be shared .* accumulation = 3"):
        train(tiny_base, tiny_sets, tmp_path / "a", accumulation=3)
    with pytest.raises(UsageError, match="no module 'nowhere'"):
        train(tiny_base, tiny_sets, tmp_path / "b", lora_targets=["nowhere"])
    with pytest.raises(MissingError, match="lacks one of them"):
        train(tiny_base, tiny_sets, tmp_path / "c", None)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(UsageError, match="use one process"):
        patch.setenv("WORLD_SIZE", "2")
        train(tiny_base, tiny_sets, tmp_path / "d")


def test_accumulated_parts_are_one_batch(tiny_base, tiny_sets, tmp_path):
    """Floating point apart; the samples are the same, as they are drawn for the whole step."""
    logs = []
    for count in (1, 2):
        train(replace(tiny_base), tiny_sets, tmp_path / str(count), accumulation=count)
        logs.append(log_of(tmp_path / str(count)))
    assert [line["reward"] for line in logs[0]] == pytest.approx([line["reward"] for line in logs[1]], abs=1e-6)
    tensors = [load_file(tmp_path / str(count) / "adapter_model.safetensors") for count in (1, 2)]
    assert all(torch.allclose(one, tensors[1][name], atol=1e-4) for name, one in tensors[0].items())
