"""Hidden states and single weights of several architectures, and what is refused in one clear line."""

from typing import Any

import pytest
import torch
from families import Family
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
)

from bench.assets.catalogue import AssetCatalogue
from bench.engine.architecture import refuse_quantised
from bench.errors import MissingError, UsageError
from bench.method import Method, RunContext
from bench.policy import LoadedModel
from bench.run.artifact import load_artifact, make_artifact
from bench.run.environment import Environment
from bench.run.launch.local import run_experiments
from bench.run.plan import Request, make_experiments
from bench.sets import ContrastiveSet, ContrastiveSets, Text
from bench.spec import ModelSpec, validate
from methods.anatomy.feed_forward import output_matrix
from methods.anatomy.layers import after, before, decoder_layers, layer_number
from methods.anatomy.output import check_logits, final_logits
from methods.cast import CAST, CASTConfig
from methods.dinm import DINM, DINMConfig
from methods.lm_steer import LMSteer, LMSteerConfig
from methods.memit import MEMIT, MEMITConfig
from methods.rad import RAD
from methods.steering import Steering, SteeringConfig
from methods.task_arithmetic import TaskArithmetic, TaskArithmeticConfig

SHORT: list[Method[Any]] = [
    Steering(SteeringConfig(anchors=2)),
    LMSteer(LMSteerConfig(steps=1)),
    DINM(DINMConfig(steps=1)),
    TaskArithmetic(TaskArithmeticConfig(steps=1)),
]
SMALL = {"vocab_size": 400, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
LLAMA_LIKE = {**SMALL, "intermediate_size": 48, "num_key_value_heads": 2, "head_dim": 8, "initializer_range": 0.3}


def architecture(name: str) -> torch.nn.Module:
    """A tiny random model of another family."""
    torch.manual_seed(0)
    if name == "gpt2":
        return GPT2LMHeadModel(GPT2Config(vocab_size=400, n_embd=32, n_layer=3, n_head=4, initializer_range=0.3))
    if name == "neox":
        return GPTNeoXForCausalLM(GPTNeoXConfig(**SMALL, intermediate_size=48))
    if name == "granite":
        return GraniteForCausalLM(GraniteConfig(**LLAMA_LIKE, logits_scaling=4.0))
    return Gemma2ForCausalLM(Gemma2Config(**LLAMA_LIKE, final_logit_softcapping=3.0))


@pytest.fixture(params=["gpt2", "neox", "granite", "gemma2"])
def other(request: pytest.FixtureRequest, tiny_base: LoadedModel) -> LoadedModel:
    """A model of another family with the tiny model's tokenizer."""
    model: Any = architecture(request.param).eval().requires_grad_(False)
    return LoadedModel(model, tiny_base.tokenizer, request.param, "0")


def logits_of(base: LoadedModel) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = base.model(torch.tensor([[5, 6, 7, 8]])).logits[0]
    return logits


# --- other architectures ---


def test_layers_and_matrices_are_found(other):
    layers = decoder_layers(other)
    assert len(layers) == 3
    name = output_matrix(other, 2, "dinm")
    assert any(parameter is other.model.get_parameter(name) for parameter in layers[2].parameters())
    assert sorted(other.model.get_parameter(name).shape) in ([32, 48], [32, 128])


@pytest.mark.parametrize("kind", [Steering, LMSteer, DINM])
def test_methods_edit_other_architectures(other, tiny_sets, tmp_path, kind):
    small = {name: value for name, value in {"steps": 2, "lr": 5e-3}.items() if name in kind.Config.model_fields}
    method = kind(kind.Config(**small))
    make_artifact(method, other, tiny_sets, RunContext(tmp_path))
    plain = logits_of(other)
    with method.applied(other, load_artifact(tmp_path)):
        assert (logits_of(other) - plain).abs().max() > 1e-4
    assert torch.equal(logits_of(other), plain)


def test_final_logits_are_the_models(other):
    check_logits(other)
    given: list[torch.Tensor] = []
    with before(other.model.get_output_embeddings(), given.append):
        expected = logits_of(other)
    assert torch.allclose(final_logits(other, given[0])[0], expected, atol=1e-5)


# --- layers and hooks ---


def test_the_middle_layer_is_the_default(other):
    assert layer_number(other, None) == 1
    assert layer_number(other, 0) == 0
    assert layer_number(other, 2) == 2


def test_an_unknown_layer_is_refused(tiny_base):
    with pytest.raises(UsageError, match="has 2 layers and no layer 2; layer = 0 to 1"):
        layer_number(tiny_base, 2)


def test_a_model_whose_layers_cannot_be_told_is_refused(tiny_base, monkeypatch):
    monkeypatch.setattr(tiny_base.model.config, "num_hidden_layers", 7)
    with pytest.raises(UsageError, match="cannot be told"):
        decoder_layers(tiny_base)


@pytest.mark.parametrize(
    "method",
    [SHORT[0], CAST(CASTConfig()), SHORT[2], MEMIT(MEMITConfig(texts=2, text_tokens=4, contexts=0, steps=1))],
    ids=lambda one: one.info.name,
)
def test_several_hidden_states_a_token_are_refused(tiny_base, tiny_sets, tmp_path, method):
    options = {"vocab_size_per_layer_input": 400, "hidden_size_per_layer_input": 8, "laurel_rank": 4}
    lists = {"activation_sparsity_pattern": [0.0] * 2, "layer_types": ["full_attention"] * 2, "num_kv_shared_layers": 0}
    more = {**options, **lists, "head_dim": 8, "altup_num_inputs": 2}
    base = LoadedModel(Family("Gemma 3n", "gemma3n_text", more).make(), tiny_base.tokenizer, "gemma3n", "0")
    with pytest.raises(UsageError, match=r"more than one hidden state a token .*; use another model"):
        make_artifact(method, base, tiny_sets, RunContext(tmp_path))


def test_hooks_are_removed_after_an_error_on_the_way_in(tiny_base):
    layers = decoder_layers(tiny_base)

    def changes():
        yield layers[0], lambda state: state
        raise KeyError("no second layer")

    with pytest.raises(KeyError), after(changes()):
        pytest.fail("it was entered")
    assert not any(module._forward_hooks for module in tiny_base.model.modules())


def test_what_is_none_is_left(tiny_base):
    plain = logits_of(tiny_base)
    with after([(decoder_layers(tiny_base)[0], lambda _: None)]), before(tiny_base.model.lm_head, lambda _: None):
        assert torch.equal(logits_of(tiny_base), plain)


# --- options ---


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (Steering, {"layer": -1}),
        (Steering, {"anchors": 0}),
        (Steering, {"positives": 0}),
        (Steering, {"position": "first"}),
        (LMSteer, {"steps": -1}),
        (LMSteer, {"rank": 0}),
        (LMSteer, {"epsilon": 0}),
        (LMSteer, {"positives": 0, "negatives": 0}),
        (RAD, {"positives": 0}),
        (RAD, {"negatives": 0}),
        (DINM, {"steps": 0}),
        (DINM, {"locality": -1}),
        (DINM, {"positives": 0}),
        (DINM, {"negatives": 0}),
        (DINM, {"negatives": 0, "layer": 1, "contrast": 1}),
        (DINM, {"negatives": 0, "contrast": 0}),
        (TaskArithmetic, {"positives": 1}),
        (TaskArithmetic, {"negatives": 0}),
    ],
)
def test_bad_values_are_refused(kind, options):
    with pytest.raises(UsageError, match="|".join(options)):
        validate(kind.Config, options, "method")


def test_dinm_needs_no_negatives_for_a_layer_that_is_named(tiny_base, tiny_sets, tmp_path):
    method = DINM(DINMConfig(steps=1, negatives=0, layer=0, contrast=0))
    facts = make_artifact(method, tiny_base, tiny_sets, RunContext(tmp_path))
    assert facts["layer"] == 0
    assert facts["distances"] == []


@pytest.mark.parametrize("kind", [Steering, DINM])
def test_a_layer_that_the_model_lacks_is_refused_before_any_work(tiny_base, tiny_sets, tmp_path, kind):
    with pytest.raises(UsageError, match="has 2 layers and no layer 999; layer = 0 to 1"):
        make_artifact(kind(kind.Config(layer=999)), tiny_base, tiny_sets, RunContext(tmp_path / "made"))
    assert not (tmp_path / "made").exists()


def test_a_layer_may_be_chosen_after_preparing(tiny_base, tiny_sets, tmp_path):
    make_artifact(Steering(SteeringConfig(anchors=4)), tiny_base, tiny_sets, RunContext(tmp_path))
    artifact, found = load_artifact(tmp_path), []
    for layer in (0, 1):
        with Steering(SteeringConfig(layer=layer)).applied(tiny_base, artifact):
            found.append(logits_of(tiny_base))
    assert not torch.allclose(*found, atol=1e-3)
    with pytest.raises(UsageError, match="no layer 2"), Steering(SteeringConfig(layer=2)).applied(tiny_base, artifact):
        pytest.fail("it was applied")


# --- what is missing or broken ---


@pytest.mark.parametrize("method", SHORT, ids=lambda one: one.info.name)
def test_sets_without_negatives_are_refused(tiny_base, tmp_path, method):
    sets = ContrastiveSets([ContrastiveSet(anchor="a", positives=[Text(text=" b")], negatives=[])], "0", "a test")
    with pytest.raises(MissingError, match=r"none of the 1 contrastive sets .* has .*negatives"):
        make_artifact(method, tiny_base, sets, RunContext(tmp_path))


@pytest.mark.parametrize("method", [LMSteer(LMSteerConfig(steps=5, lr=1e36)), DINM(DINMConfig(steps=1, layer=0))])
def test_a_loss_that_is_no_number_is_refused(tiny_base, tiny_sets, tmp_path, method):
    if method.info.name == "dinm":
        tiny_base.model.model.norm.weight.data.fill_(torch.nan)
    with pytest.raises(MissingError, match=r"the loss is not a number at step \d; lower the learning rate"):
        make_artifact(method, tiny_base, tiny_sets, RunContext(tmp_path))


@pytest.mark.parametrize("method", [SHORT[0], SHORT[2]], ids=lambda one: one.info.name)
def test_states_that_are_no_numbers_are_refused(tiny_base, tiny_sets, tmp_path, method):
    tiny_base.model.model.norm.weight.data.fill_(1.0)
    tiny_base.model.model.layers[0].mlp.down_proj.weight.data[0, 0] = torch.inf
    with pytest.raises(MissingError, match="hidden states are not numbers"):
        make_artifact(method, tiny_base, tiny_sets, RunContext(tmp_path))


def test_dinm_refuses_a_quantised_model(tiny_base, tiny_sets, tmp_path, monkeypatch):
    make_artifact(SHORT[2], tiny_base, tiny_sets, RunContext(tmp_path))
    monkeypatch.setattr(tiny_base.model, "is_quantized", True, raising=False)
    with pytest.raises(UsageError, match=r"are quantised; --set suite\.model\.quantization=none"):
        make_artifact(SHORT[2], tiny_base, tiny_sets, RunContext(tmp_path))
    with (
        pytest.raises(UsageError, match="are quantised"),
        SHORT[2].applied(tiny_base, load_artifact(tmp_path)),
    ):
        pytest.fail("it was applied")


def test_dinm_refuses_four_bits_before_any_work(tiny_suite, tmp_path):
    (experiment,) = make_experiments(
        Request(("dinm",), str(tiny_suite()), settings=("suite.model.quantization=4bit",), base=False)
    )
    env = Environment(experiment.suite, AssetCatalogue(tmp_path / "cache", offline=True))
    with pytest.raises(UsageError, match=r"'dinm' changes weights, and those of .* quantised; --set suite\.model\.q"):
        run_experiments([experiment], env, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_dinm_refuses_a_model_that_was_saved_quantised(tiny_base):
    tiny_base.model.config.quantization_config = {"quant_method": "gptq", "bits": 4}
    with pytest.raises(UsageError, match="name the model that was quantised, with its full weights"):
        refuse_quantised("model 'x'", tiny_base.model.config, ModelSpec(id="x"), "dinm")


def test_lm_steer_refuses_logits_that_it_does_not_know(tiny_base, tiny_sets, tmp_path, monkeypatch):
    monkeypatch.setattr(tiny_base.model.config, "final_logit_softcapping", 0.5, raising=False)
    with pytest.raises(UsageError, match="changes its logits after the output layer in an unknown way"):
        make_artifact(SHORT[1], tiny_base, tiny_sets, RunContext(tmp_path))


def test_a_layer_with_several_output_matrices_is_refused(tiny_base):
    block = decoder_layers(tiny_base)[0]
    block.add_module("expert", torch.nn.ModuleDict({"down_proj": torch.nn.Linear(2, 2)}))
    with pytest.raises(UsageError, match=r"layer 0 of .* has 2 output matrices"):
        output_matrix(tiny_base, 0, "dinm")


def test_artifacts_hold_tensors_and_json_alone(tiny_base, tiny_sets, tmp_path):
    found = set()
    for method in SHORT:
        folder = tmp_path / method.info.name
        folder.mkdir()
        make_artifact(method, tiny_base, tiny_sets, RunContext(folder))
        found |= {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert found == {".safetensors", ".json"}
