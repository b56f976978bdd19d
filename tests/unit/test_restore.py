"""Whatever goes wrong while a model is edited, the base is the base again; what is no number passes for nothing."""

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from bench.engine.generation import Prompt, answer
from bench.engine.likelihood import loglikelihood
from bench.engine.sampling import sample
from bench.errors import MissingError, UsageError
from bench.method import RunContext
from bench.policy import HFPolicy
from bench.progress import SILENT
from bench.run.artifact import load_artifact, make_artifact
from bench.spec import Decoding
from bench.store.appended import AppendedFile
from bench.tasks.lm_eval.model import PolicyLM
from methods.contrastive import ContrastiveConfig, ContrastivePerplexity


def state(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return copy.deepcopy(dict(model.named_parameters()))


def assert_restored(model: Any, before: dict[str, torch.Tensor]) -> None:
    after = dict(model.named_parameters())
    assert list(after) == list(before)  # the names too: no wrapper is left
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert not any(parameter.requires_grad for parameter in after.values())
    assert not model.training
    assert not hasattr(model, "peft_config")


@pytest.fixture
def method() -> ContrastivePerplexity:
    return ContrastivePerplexity(ContrastiveConfig(steps=1))


def test_an_adapter_that_cannot_be_merged(tiny_base, tiny_sets, tmp_path, method):
    make_artifact(method, tiny_base, tiny_sets, RunContext(tmp_path))
    path = tmp_path / "adapter_model.safetensors"
    save_file({name: torch.full_like(value, torch.nan) for name, value in load_file(path).items()}, path)
    before = state(tiny_base.model)
    with (
        pytest.raises(MissingError, match="not finite; lower the learning rate"),
        method.applied(tiny_base, load_artifact(tmp_path)),
    ):
        pytest.fail("it was applied")
    assert_restored(tiny_base.model, before)


def test_an_adapter_of_another_shape(tiny_base, tiny_sets, tmp_path, method):
    make_artifact(method, tiny_base, tiny_sets, RunContext(tmp_path))
    path = tmp_path / "adapter_model.safetensors"
    save_file({name: torch.zeros(3, 3) for name in load_file(path)}, path)
    before = state(tiny_base.model)
    with pytest.raises(RuntimeError), method.applied(tiny_base, load_artifact(tmp_path)):
        pytest.fail("it was applied")
    assert_restored(tiny_base.model, before)


@pytest.mark.parametrize(
    "targets", [("q_proj", "input_layernorm"), ("q_proj", "v_prj"), ("nowhere",), ("model.embed_tokens",)]
)
def test_targets_that_do_not_fit(tiny_base, tiny_sets, tmp_path, targets):
    before = state(tiny_base.model)
    method = ContrastivePerplexity(ContrastiveConfig(steps=1, lora_targets=targets))
    with pytest.raises(UsageError, match="lora_targets"):
        make_artifact(method, tiny_base, tiny_sets, RunContext(tmp_path))
    assert_restored(tiny_base.model, before)


class Broken(HFPolicy):
    """A model whose logits are no numbers."""

    def forward(self, *arguments: Any, **options: Any) -> Any:
        logits, cache = super().forward(*arguments, **options)
        return logits * torch.nan, cache


@pytest.mark.parametrize("top_p", [0.9, 1.0])
def test_logits_that_are_no_numbers_are_not_sampled(top_p):
    with pytest.raises(MissingError, match="not numbers"):
        sample(torch.full((2, 50), torch.nan), torch.zeros(2), Decoding(top_p=top_p))


def test_logits_that_are_no_numbers_have_no_greedy_answer(tiny_base):
    policy = Broken(tiny_base.model, tiny_base.tokenizer)
    with pytest.raises(MissingError, match="not numbers"):
        list(answer(policy, [Prompt("p", "She asked")], 4, until="\n"))
    asked: Any = SimpleNamespace(args=("She asked", {"until": ["\n"], "max_gen_toks": 4, "do_sample": False}))
    context: Any = SimpleNamespace(progress=SILENT, seed=0, tokens=0)
    with pytest.raises(MissingError, match="not numbers"):
        PolicyLM(policy, context, "test").generate_until([asked])


def test_logits_that_are_no_numbers_have_no_likelihood(tiny_base):
    with pytest.raises(MissingError, match="not numbers"):
        loglikelihood(Broken(tiny_base.model, tiny_base.tokenizer), [([5, 6], [7])])


def test_samples_are_kept_or_dropped_in_the_file_too(tmp_path: Path):
    path = tmp_path / "rtp.jsonl"
    with AppendedFile(path) as samples:
        for number in range(2):
            samples.append({"prompt_id": key, "sample": number} for key in "ab")
        samples.append([{"prompt_id": "c", "sample": 0}])
    path.write_bytes(path.read_bytes()[:-20])  # the last batch is cut off
    with AppendedFile(path) as samples:
        assert len(samples.rows) == 4
        samples.keep(lambda row: row["prompt_id"] == "a")
        samples.append([{"prompt_id": "b", "sample": 0}])
    with AppendedFile(path) as samples:
        assert [(row["prompt_id"], row["sample"]) for row in samples.rows] == [("a", 0), ("a", 1), ("b", 0)]
