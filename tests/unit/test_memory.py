"""What edits of a model keep of it where memory is what lacks, and that the base is the base again."""

from typing import Any

import pytest
import torch
from peft import IA3Config, LoraConfig
from torch.multiprocessing.reductions import StorageWeakRef

from bench.engine.profile import CPU, CUDA, PROFILES
from bench.errors import MissingError
from bench.policy import LoadedModel
from methods.decoding.experts import expert
from methods.learning.adapter import adapted

KINDS = {
    "lora": LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"),
    "some": LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM"),
    "dora": LoraConfig(r=4, target_modules=["q_proj", "v_proj"], use_dora=True),
    "ia3": IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"]),
}


@pytest.fixture
def on_a_gpu(monkeypatch):
    """The processor, treated as a GPU."""
    monkeypatch.setitem(PROFILES, "cpu", CUDA)


def storages(model: torch.nn.Module) -> dict[str, StorageWeakRef]:
    return {name: StorageWeakRef(part.untyped_storage()) for name, part in model.named_parameters()}


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(torch.arange(10, 30)[None]).logits[0]
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", [(torch.float32, 1.0), (torch.float32, -0.5), (torch.bfloat16, 1.0)], ids=str)
def test_weights_put_aside_make_the_same_model_and_come_back(
    tiny_base, tiny_model, make_adapter, monkeypatch, case, kind
):
    dtype, scale = case
    adapter, model = make_adapter(tiny_model, KINDS[kind]), tiny_base.model.to(dtype)
    before = {name: part.clone() for name, part in model.named_parameters()}
    plain = logits(model)
    with adapted(model, adapter, scale):
        kept = logits(model)
    monkeypatch.setitem(PROFILES, "cpu", CUDA)
    with adapted(model, adapter, scale):
        aside = logits(model)
    assert torch.equal(aside, kept)
    assert not torch.equal(aside, plain)
    assert torch.equal(logits(model), plain)
    assert all(torch.equal(part, before[name]) for name, part in model.named_parameters())


def test_the_device_holds_one_copy_of_the_weights(tiny_base, tiny_adapter, on_a_gpu):
    """What the adapter replaces is freed, and what it leaves is not copied."""
    linear = {f"{name}.weight" for name, one in tiny_base.model.named_modules() if isinstance(one, torch.nn.Linear)}
    before = storages(tiny_base.model)
    replaced = linear & before.keys() - {"lm_head.weight"}
    assert replaced
    with adapted(tiny_base.model, tiny_adapter, 1.0):
        assert {name for name, one in before.items() if one.expired()} == replaced
    assert not {name for name, one in storages(tiny_base.model).items() if one.expired()}


def test_on_a_processor_weights_are_kept_as_they_are(tiny_base, tiny_adapter):
    before = storages(tiny_base.model)
    with adapted(tiny_base.model, tiny_adapter, 1.0):
        assert not any(one.expired() for one in before.values())
    assert {name: one.cdata for name, one in storages(tiny_base.model).items()} == {
        name: one.cdata for name, one in before.items()
    }


def test_what_fails_gives_weights_back_too(tiny_base, tiny_adapter, on_a_gpu):
    before = {name: part.clone() for name, part in tiny_base.model.named_parameters()}
    with pytest.raises(MissingError, match="not finite"), adapted(tiny_base.model, tiny_adapter, 1e39):
        pytest.fail("it was applied")
    assert all(torch.equal(part, before[name]) for name, part in tiny_base.model.named_parameters())


def test_experts_share_all_of_the_weights(tiny_base, tiny_adapter, monkeypatch):
    """They wear their adapters, both at once, and say what they say when these are merged."""

    def both(base: LoadedModel) -> tuple[torch.Tensor, int]:
        with expert(base, tiny_adapter) as one, expert(base, tiny_adapter) as other:
            found = logits(one.model)
            assert torch.equal(logits(other.model), found)
            assert torch.equal(logits(base.model), plain)
            own = {part.data_ptr() for part in base.model.parameters()}
            theirs = {part.data_ptr(): part.numel() for part in (*one.model.parameters(), *other.model.parameters())}
            return found, sum(count for place, count in theirs.items() if place not in own)

    plain = logits(tiny_base.model)
    merged, in_weights = both(tiny_base)
    monkeypatch.setitem(PROFILES, "cpu", CUDA)
    worn, in_adapters = both(tiny_base)
    assert torch.allclose(worn, merged, atol=1e-4)  # the order of sums is the processor's
    assert float((worn - plain).abs().max()) > 1e-2
    assert in_adapters < in_weights / 4
    assert PROFILES["cpu"] is not CPU
    assert torch.equal(logits(tiny_base.model), plain)
