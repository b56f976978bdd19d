"""An edit that is written as plain weights says what the policy says, to whoever loads it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from families import FAMILIES, Family
from transformers import AutoModelForCausalLM, AutoTokenizer, OPTConfig, Starcoder2Config

from bench.engine.export import export, not_writable
from bench.errors import UsageError
from bench.method import Method, RunContext
from bench.policy import HFPolicy, LoadedModel
from bench.run.artifact import load_artifact, make_artifact
from methods.ablation import Ablation, AblationConfig
from methods.anatomy.plain import no_bias, with_vector
from methods.iti import ITI, ITIConfig
from methods.lm_steer import LMSteer, LMSteerConfig
from methods.steering import Steering, SteeringConfig
from methods.task_arithmetic import TaskArithmetic, TaskArithmeticConfig

READ = [one for one in FAMILIES if not one.keeps_state]
WITH_BIAS = {"bloom", "gpt2", "gpt_neo", "gpt_neox", "gptj", "llama", "opt", "phi", "starcoder2"}
ATTENTION_BIAS = {"bloom", "gpt2", "gpt_neo", "gpt_neox", "gpt_oss", "llama", "opt", "phi", "starcoder2"}
IDS = torch.arange(5, 25)[None]


def logits(policy: HFPolicy) -> torch.Tensor:
    return policy.forward(IDS, torch.ones_like(IDS))[0][0]


def check(base: LoadedModel, method: Method[Any], artifact: Path, folder: Path) -> None:
    """The export loads without a word, says the same, is another model than the base, and left the base alone."""
    before = {name: part.clone() for name, part in base.model.state_dict().items()}
    settings = base.model.config.to_dict()
    plain = logits(HFPolicy(base.model, base.tokenizer))
    with method.applied(base, load_artifact(artifact)) as policy:
        assert isinstance(policy, HFPolicy)
        assert policy.not_exportable() is None
        found = logits(policy)
        export(policy, folder)
        assert torch.equal(logits(policy), found)  # it is worn as before
    loaded, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    with torch.no_grad():
        theirs = loaded(IDS).logits[0]
    assert float((theirs - found).abs().max()) < 1e-5 * max(1.0, float(found.abs().max()))
    assert float((found - plain).abs().max()) > 1e-2
    assert torch.equal(logits(HFPolicy(base.model, base.tokenizer)), plain)
    assert base.model.config.to_dict() == settings
    assert all(torch.equal(part, before[name]) for name, part in base.model.state_dict().items())


@pytest.fixture(params=READ, ids=lambda family: family.title)
def family(request) -> Family:
    return request.param


@pytest.fixture
def base(family, tiny_model) -> LoadedModel:
    return LoadedModel(family.make(), AutoTokenizer.from_pretrained(tiny_model), family.title, "hash")


def test_a_vector_after_a_layer_is_its_bias(base, tiny_sets, tmp_path):
    """Where the family has one; elsewhere it is said before any work, of the folder and of the policy."""
    base.model.config.save_pretrained(tmp_path / "config")
    method, kind = Steering(SteeringConfig(anchors=2, layer=0)), base.model.config.model_type
    made = tmp_path / "made"
    made.mkdir()
    make_artifact(method, base, tiny_sets, RunContext(made))
    if kind in WITH_BIAS:
        assert method.not_exportable(tmp_path / "config") is None
        check(base, method, made, tmp_path / "out")
        return
    reason = f"what it adds after a layer is no bias that a model of the type {kind} has"
    assert method.not_exportable(tmp_path / "config") == no_bias(base.model.config) == reason
    with method.applied(base, load_artifact(made)) as policy:
        assert policy.not_exportable() == reason
        with pytest.raises(UsageError, match=reason):
            policy.plain()


@pytest.mark.parametrize("config", [OPTConfig(enable_bias=False), Starcoder2Config(use_bias=False)])
def test_a_model_of_a_family_with_biases_may_have_none(config):
    assert no_bias(type(config)()) is None
    assert "is no bias" in str(no_bias(config))


def test_shifted_heads_are_biases(base, tiny_sets, tmp_path):
    """Where the family has them, as above."""
    base.model.config.save_pretrained(tmp_path / "config")
    method, kind = ITI(ITIConfig(heads=3, alpha=15.0)), base.model.config.model_type
    made = tmp_path / "made"
    made.mkdir()
    make_artifact(method, base, tiny_sets, RunContext(made))
    if kind in ATTENTION_BIAS:
        assert method.not_exportable(tmp_path / "config") is None
        check(base, method, made, tmp_path / "out")
        return
    reason = f"what it adds in attention is no bias that this model of the type {kind} has"
    assert method.not_exportable(tmp_path / "config") == reason
    with method.applied(base, load_artifact(made)) as policy:
        assert policy.not_exportable() == reason
        with pytest.raises(UsageError, match=reason):
            policy.plain()


def test_a_direction_taken_out_of_tied_embeddings_unties_them(base, family, tiny_sets, tmp_path):
    base.model.config.save_pretrained(tmp_path / "config")
    method = Ablation(AblationConfig(layer=0))
    if not family.tells_writers:
        with pytest.raises(UsageError):
            method.check(tmp_path / "config", {})
        return
    method.check(tmp_path / "config", {})
    made = tmp_path / "made"
    made.mkdir()
    make_artifact(method, base, tiny_sets, RunContext(made))
    check(base, method, made, tmp_path / "out")


def test_a_change_before_the_output_layer_is_in_its_weight(base, tiny_sets, tmp_path):
    """Tied to the input embeddings or not, and whatever the model does to its logits afterwards."""
    method = LMSteer(LMSteerConfig(steps=3, rank=4, steer=30.0, lr=0.1))
    made = tmp_path / "made"
    made.mkdir()
    make_artifact(method, base, tiny_sets, RunContext(made))
    assert method.not_exportable(tmp_path) is None
    check(base, method, made, tmp_path / "out")


@pytest.mark.parametrize("changes", [{}, {"mlp_bias": True}, {"tie_word_embeddings": True}])
@pytest.mark.parametrize("layer", [0, 1])
def test_vectors_add_up_with_biases_that_are_there(make_model, changes, layer):
    model = AutoModelForCausalLM.from_pretrained(make_model("m", **changes)).requires_grad_(requires_grad=False).eval()
    vector = torch.linspace(-1, 1, model.config.hidden_size)
    module = model.model.layers[layer]
    found = with_vector(model, module, vector)
    hook = module.register_forward_hook(lambda _, __, output: output + vector)
    with torch.no_grad():
        right = model(IDS).logits
        hook.remove()
        assert torch.allclose(found(IDS).logits, right, atol=1e-5)
        assert not torch.allclose(model(IDS).logits, right, atol=1e-2)


def test_quantised_weights_are_not_written(tiny_policy, monkeypatch):
    """A bias of whole numbers is all that what an edit adds to them would become."""
    assert not_writable(tiny_policy) is None
    monkeypatch.setattr(tiny_policy.model, "is_quantized", True, raising=False)
    assert not_writable(tiny_policy) == "its weights are quantised"


def test_a_task_vector_is_weights_already(tiny_base, tiny_sets, tmp_path):
    method = TaskArithmetic(TaskArithmeticConfig(steps=2, lr=0.05, warmup=0.0))
    made = tmp_path / "made"
    made.mkdir()
    make_artifact(method, tiny_base, tiny_sets, RunContext(made))
    assert method.not_exportable(tmp_path) is None
    check(tiny_base, method, made, tmp_path / "out")
