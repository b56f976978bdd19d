"""Someone else's adapter: what is taken, scaled and refused; and that the base is as it was."""

import json
import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import IA3Config, LoHaConfig, LoKrConfig, LoraConfig, PeftModel, PrefixTuningConfig, VeraConfig
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from bench.assets.resolved import Resolved
from bench.engine.model import load_model
from bench.errors import BenchError, MissingError, UsageError
from bench.method import Artifact, RunContext
from bench.policy import HFPolicy, LoadedModel
from bench.run.artifact import load_artifact, make_artifact
from bench.spec import ModelSpec
from methods.adapter import AdapterMethod, AdapterMethodConfig
from methods.learning.adapter import adapted

QV = ["q_proj", "v_proj"]
KINDS = {
    "lora": LoraConfig(r=4, target_modules=QV, task_type="CAUSAL_LM"),
    "patterns": LoraConfig(r=4, target_modules=QV, rank_pattern={"v_proj": 2}, alpha_pattern={"v_proj": 3}),
    "rslora": LoraConfig(r=4, target_modules="all-linear", use_rslora=True, lora_alpha=6),
    "dora": LoraConfig(r=4, target_modules=QV, use_dora=True),
    "some layers": LoraConfig(r=4, target_modules=QV, layers_to_transform=[1]),
    "loha": LoHaConfig(r=4, target_modules=QV),
    "lokr": LoKrConfig(r=4, target_modules=QV),
    "ia3": IA3Config(target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"]),
}


@pytest.fixture
def biased(make_model: Callable[..., Path]) -> Path:
    """A tiny model whose attention has biases."""
    return make_model("biased", attention_bias=True)


def load(folder: Path) -> LoadedModel:
    return load_model(ModelSpec(id=folder.name), Resolved(folder.name, folder, "0", None, None, "local"))


def made(base: LoadedModel, adapter: Path, folder: Path, scale: float = 1.0) -> tuple[AdapterMethod, Artifact]:
    method = AdapterMethod(AdapterMethodConfig(path=str(adapter), scale=scale))
    folder.mkdir()
    make_artifact(method, base, None, RunContext(folder, inputs={"path": adapter}))
    return method, load_artifact(folder, {"path": adapter})


def logits(model: Any) -> torch.Tensor:
    ids = torch.arange(10, 30)[None]
    with torch.no_grad():
        found: torch.Tensor = model(ids).logits[0]
    return found


def edited(base: LoadedModel, adapter: Path, folder: Path, scale: float = 1.0) -> torch.Tensor:
    method, artifact = made(base, adapter, folder, scale)
    ids = torch.arange(10, 30)[None]
    with method.applied(base, artifact) as policy:
        return policy.forward(ids, torch.ones_like(ids))[0][0]


@pytest.mark.parametrize("name", KINDS)
def test_it_is_what_peft_makes_of_it_and_the_base_at_0(name, biased, tmp_path, make_adapter):
    adapter = make_adapter(biased, KINDS[name])
    base = load(biased)
    before = {key: value.clone() for key, value in base.model.state_dict().items()}
    own = logits(base.model)
    theirs = logits(PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(biased), adapter))
    found = edited(base, adapter, tmp_path / "one")
    assert torch.allclose(found, theirs, atol=1e-4)
    assert float((found - own).abs().max()) > 1e-2
    assert torch.equal(edited(base, adapter, tmp_path / "zero", 0.0), own)
    half = edited(base, adapter, tmp_path / "half", 0.5)
    assert 0 < float((half - own).norm()) < float((found - own).norm())
    assert {key: torch.equal(value, before[key]) for key, value in base.model.state_dict().items()} == dict.fromkeys(
        before, True
    )


def test_half_of_it_is_half_the_way_in_the_weights(tmp_path, tiny_model, make_adapter):
    """For DoRA, whose magnitudes have no factor of their own, as for LoRA."""
    adapter = make_adapter(tiny_model, KINDS["dora"])
    whole = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_model), adapter)
    target = whole.merge_and_unload().state_dict()
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    model.load_state_dict({key: (value + target[key]) / 2 for key, value in model.state_dict().items()})
    assert torch.allclose(edited(load(tiny_model), adapter, tmp_path / "a", 0.5), logits(model), atol=1e-5)


def test_the_artifact_is_the_adapter_and_nothing_of_where_it_was(tiny_base, tiny_adapter, tmp_path):
    elsewhere = shutil.copytree(tiny_adapter, tmp_path / "elsewhere")
    config = json.loads((elsewhere / "adapter_config.json").read_text())
    config |= {"base_model_name_or_path": "someone/model", "lora_dropout": 0.1, "peft_version": "9"}
    (elsewhere / "adapter_config.json").write_text(json.dumps(config))
    save_file(load_file(elsewhere / "adapter_model.safetensors"), elsewhere / "adapter_model.safetensors", {"a": "b"})
    _, one = made(tiny_base, tiny_adapter, tmp_path / "one")
    _, two = made(tiny_base, elsewhere, tmp_path / "two")
    assert one.hash == two.hash
    assert sorted(path.name for path in one.path.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "facts.json",
    ]
    assert str(tmp_path) not in (one.path / "adapter_config.json").read_text()
    assert "base_model_name_or_path" not in json.loads((one.path / "adapter_config.json").read_text())
    assert one.facts["peft_type"] == "LORA"
    assert one.facts["rank"] == 4
    assert one.facts["adapter_parameters"] == sum(
        value.numel() for value in load_file(tiny_adapter / "adapter_model.safetensors").values()
    )


def test_an_adapter_of_a_model_by_its_name_asks_no_hub(tiny_base, tiny_adapter, tmp_path):
    """As a trained one names its base: PEFT would look for that model's configuration."""
    folder = shutil.copytree(tiny_adapter, tmp_path / "trained")
    config = json.loads((folder / "adapter_config.json").read_text()) | {"base_model_name_or_path": "no-such-model"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    with warnings.catch_warnings(action="error", category=UserWarning), adapted(tiny_base.model, folder, 1.0):
        assert torch.isfinite(logits(tiny_base.model)).all()


# --- what is refused ---


Refused = Callable[..., BenchError]


@pytest.fixture
def refused(tiny_model: Path, tmp_path: Path) -> Refused:
    """The one line that both the check before any work and the making give; the base is as it was."""

    def find(adapter: Path, model: Path = tiny_model) -> BenchError:
        base = load(model)
        own, places = logits(base.model), {key: one.data_ptr() for key, one in base.model.named_parameters()}
        method = AdapterMethod(AdapterMethodConfig(path="theirs"))
        with pytest.raises(BenchError) as early:
            method.check(model, {"path": adapter})
        folder = tmp_path / "made"
        folder.mkdir()
        with pytest.raises(BenchError) as late:
            method.prepare(base, None, RunContext(folder, inputs={"path": adapter}))
        assert str(early.value) == str(late.value)
        assert "\n" not in str(early.value)
        assert early.value.mend
        assert list(folder.iterdir()) == []
        assert torch.equal(logits(base.model), own)
        assert {key: one.data_ptr() for key, one in base.model.named_parameters()} == places
        return early.value

    return find


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hidden_size": 64}, r"of another size: model\.layers\.0\.self_attn\.q_proj\.lora_A is 4 x 64 and not 4 x 32"),
        ({"num_hidden_layers": 3}, r"the model has no model\.layers\.2\.self_attn\.q_proj\.lora_A"),
        ({"num_hidden_layers": 1}, r"it has nothing for model\.layers\.1\.self_attn\.q_proj\.lora_A \(4 of 8 tensors"),
    ],
)
def test_an_adapter_of_another_size_is_refused(changes, said, refused, make_model, make_adapter):
    other = make_model("other", **changes)
    adapter = make_adapter(other, KINDS["lora"])
    error = refused(adapter)
    assert isinstance(error, UsageError)
    assert re.search(rf"^adapter 'theirs' does not fit the base model: .*{said}", error.what)


def test_an_adapter_of_another_vocabulary_is_refused(refused, make_model, make_adapter):
    other = make_model("other", vocab_size=500, tie_word_embeddings=False)
    adapter = make_adapter(other, LoraConfig(r=4, target_modules=["lm_head"]))
    weights = load_file(adapter / "adapter_model.safetensors")
    kept = {key: value.contiguous() for key, value in weights.items() if "lora" in key}
    save_file(kept, adapter / "adapter_model.safetensors")
    error = refused(adapter)
    assert error.what.endswith("of another size: lm_head.lora_B is 500 x 4 and not 400 x 4")


def test_an_adapter_of_another_architecture_is_refused(refused, tmp_path, make_adapter):
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(vocab_size=400, n_embd=32, n_layer=2, n_head=2))
    model.save_pretrained(tmp_path / "gpt2")
    adapter = make_adapter(tmp_path / "gpt2", LoraConfig(target_modules=["c_attn"], fan_in_fan_out=True))
    error = refused(adapter)
    assert error.what == "adapter 'theirs' does not fit the base model: it has no module c_attn"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (
            PrefixTuningConfig(num_virtual_tokens=2, task_type="CAUSAL_LM"),
            "kind PREFIX_TUNING: it is no change of weigh",
        ),
        (VeraConfig(r=4, target_modules=QV), "of the kind VERA: it cannot be scaled here"),
        (LoraConfig(target_modules=QV, bias="all"), "brings whole parts of the model (bias)"),
        (
            LoraConfig(target_modules=QV, modules_to_save=["norm"]),
            "brings whole parts of the model (modules_to_save norm",
        ),
        (LoraConfig(target_modules=QV, init_lora_weights="olora"), "was started by 'olora', which changes the base"),
        (LoraConfig(target_modules=QV, trainable_token_indices=[3]), "has the setting 'trainable_token_indices'"),
        (LoraConfig(target_modules=QV, lora_bias=True), "has the setting 'lora_bias', which is not supported"),
        (LoraConfig(target_modules=["embed_tokens"]), "brings whole layers of its own (model.embed_tokens.base_layer"),
    ],
)
def test_what_cannot_be_scaled_is_refused_with_the_reason(config, said, refused, biased, make_adapter):
    adapter = make_adapter(biased, config)
    error = refused(adapter, biased)
    assert isinstance(error, UsageError)
    assert said in error.what


def test_an_edit_of_tied_layers_is_refused(refused, tiny_model, make_adapter):
    adapter = make_adapter(tiny_model, LoraConfig(r=4, target_modules=["lm_head"]))
    weights = load_file(adapter / "adapter_model.safetensors")
    kept = {key: value for key, value in weights.items() if "lora" in key}
    save_file(kept, adapter / "adapter_model.safetensors")
    assert "ties one to the other" in refused(adapter).what


@pytest.mark.parametrize(
    ("damage", "kind", "said"),
    [
        (lambda folder: (folder / "adapter_config.json").write_text("{"), MissingError, "cannot be read"),
        (lambda folder: (folder / "adapter_config.json").write_text("[]"), UsageError, "names no peft_type"),
        (lambda folder: (folder / "adapter_model.safetensors").write_text("x"), MissingError, "weights of adapter"),
        (
            lambda folder: (folder / "adapter_config.json").write_text('{"peft_type": "LORA", "r": "x"}'),
            UsageError,
            "does not say which modules it edits",
        ),
        (
            lambda folder: (folder / "adapter_config.json").write_text(
                '{"peft_type": "LORA", "r": "x", "target_modules": ["q_proj"]}'
            ),
            UsageError,
            "does not fit the base model",
        ),
    ],
)
def test_a_damaged_adapter_is_one_line(damage, kind, said, refused, tiny_adapter, tmp_path):
    folder = shutil.copytree(tiny_adapter, tmp_path / "damaged")
    damage(folder)
    error = refused(folder)
    assert isinstance(error, kind)
    assert said in error.what


def test_weights_that_are_no_numbers_are_refused(tiny_base, tiny_adapter, tmp_path):
    folder = shutil.copytree(tiny_adapter, tmp_path / "nan")
    weights = load_file(folder / "adapter_model.safetensors")
    weights[sorted(weights)[-1]][0, 0] = float("nan")
    save_file(weights, folder / "adapter_model.safetensors")
    with pytest.raises(MissingError, match="has weights that are no numbers"):
        made(tiny_base, folder, tmp_path / "made")


def test_it_is_the_policy_of_one_model(tiny_base, tiny_adapter, tmp_path):
    method, artifact = made(tiny_base, tiny_adapter, tmp_path / "made")
    with method.applied(tiny_base, artifact) as policy:
        assert isinstance(policy, HFPolicy)
        assert policy.not_exportable() is None
