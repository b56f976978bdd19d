"""Someone else's model: the two ends, what lies between, and what is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from bench.assets.resolved import Resolved
from bench.engine.model import load_model
from bench.errors import MissingError, UsageError
from bench.method import RunContext
from bench.policy import LoadedModel
from bench.run.artifact import load_artifact, make_artifact
from bench.spec import ModelSpec
from methods.checkpoint import Checkpoint, CheckpointConfig

IDS = torch.arange(10, 30)[None]


def method_of(folder: Path, scale: float = 1.0) -> Checkpoint:
    return Checkpoint(CheckpointConfig(path=folder.name, scale=scale))


@pytest.fixture
def logits(tiny_base: LoadedModel, tmp_path: Path) -> Callable[..., torch.Tensor]:
    """Logits of the tiny model with a checkpoint applied to it."""
    base = tiny_base

    def find(folder: Path, scale: float = 1.0, base: LoadedModel = base) -> torch.Tensor:
        method, target = method_of(folder, scale), tmp_path / f"made-{scale}"
        target.mkdir()
        make_artifact(method, base, None, RunContext(target, inputs={"path": folder}))
        with method.applied(base, load_artifact(target, {"path": folder})) as policy:
            return policy.forward(IDS, torch.ones_like(IDS))[0]

    return find


def plain(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(IDS).logits
    return found


@pytest.fixture
def gpt2(tiny_model: Path, tmp_path: Path) -> Path:
    """A model of another architecture with the tiny model's tokenizer."""
    folder = tmp_path / "gpt2"
    shutil.copytree(tiny_model, folder, ignore=shutil.ignore_patterns("config.json", "*.safetensors"))
    torch.manual_seed(0)
    GPT2LMHeadModel(GPT2Config(vocab_size=400, n_embd=32, n_layer=1, n_head=2)).save_pretrained(folder)
    return folder


def test_the_two_ends_are_the_two_models(tiny_base, other_model, logits):
    own, theirs = plain(tiny_base.model), plain(AutoModelForCausalLM.from_pretrained(other_model))
    assert torch.equal(logits(other_model, 0.0), own)
    assert torch.equal(logits(other_model, 1.0), theirs)
    assert torch.equal(plain(tiny_base.model), own)


@pytest.mark.parametrize("scale", [0.25, 1.5, -0.5])
def test_between_and_beyond_lies_the_line_of_the_weights(scale, tiny_base, tiny_model, other_model, logits):
    theirs = AutoModelForCausalLM.from_pretrained(other_model).state_dict()
    expected = AutoModelForCausalLM.from_pretrained(tiny_model)
    expected.load_state_dict(
        {key: value + scale * (theirs[key] - value) for key, value in expected.state_dict().items()}
    )
    own = plain(tiny_base.model)
    assert torch.allclose(logits(other_model, scale), plain(expected), atol=1e-5)
    assert torch.equal(plain(tiny_base.model), own)


def test_it_is_loaded_in_the_bases_dtype(tiny_model, other_model, logits):
    base = load_model(ModelSpec(id="tiny", dtype="bfloat16"), Resolved("tiny", tiny_model, "0", None, None, "local"))
    for scale in (0.5, 1.0):
        assert logits(other_model, scale, base).dtype == torch.bfloat16


def test_another_architecture_has_its_two_ends_alone(gpt2, tiny_base, tiny_model, logits):
    assert torch.equal(logits(gpt2, 1.0), plain(GPT2LMHeadModel.from_pretrained(gpt2)))
    assert torch.equal(logits(gpt2, 0.0), plain(tiny_base.model))
    said = "'gpt2' is of another architecture .its model_type is 'gpt2' and the base model's 'llama'.: nothing lies"
    with pytest.raises(UsageError, match=said):
        method_of(gpt2, 0.5).check(tiny_model, {"path": gpt2})
    with pytest.raises(UsageError, match="set scale to 0 or 1"):
        logits(gpt2, 0.5)


def test_what_computes_something_else_with_the_same_weights_is_not_mixed(tiny_model, make_model):
    other = make_model("other", rope_parameters={"rope_theta": 5e5, "rope_type": "default"})
    method_of(other, 1.0).check(tiny_model, {"path": other})
    with pytest.raises(UsageError, match="its rope_parameters is"):
        method_of(other, 0.5).check(tiny_model, {"path": other})
    same = make_model("same", use_cache=False, attention_dropout=0.1)
    method_of(same, 0.5).check(tiny_model, {"path": same})


# --- the tokenizer ---


def changed(folder: Path, target: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of a model with another tokenizer."""
    shutil.copytree(folder, target)
    tokenizer = json.loads((target / "tokenizer.json").read_text())
    change(tokenizer)
    (target / "tokenizer.json").write_text(json.dumps(tokenizer))
    Tokenizer.from_file(str(target / "tokenizer.json"))
    return target


def rename(tokenizer: dict[str, Any]) -> None:
    """Two tokens change places."""
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]


def forget(tokenizer: dict[str, Any]) -> None:
    """The same tokens, of which the last merge is not used."""
    tokenizer["model"]["merges"] = tokenizer["model"]["merges"][:20]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (rename, "vocabularies of 400 and 400 tokens differ in 4 entries"),
        (forget, "they cut 'The river rises in the h"),
    ],
)
def test_another_tokenizer_is_refused(change, said, tiny_base, tiny_model, other_model, tmp_path):
    folder = changed(other_model, tmp_path / "changed", change)
    mend = r"measure it by itself \(--method none --model changed\), .*`bench table RUN RUN`\); or name a model"
    told = f"checkpoint 'changed' has another tokenizer than the base model: .*{said}.*{mend}"
    with pytest.raises(UsageError, match=told):
        method_of(folder).check(tiny_model, {"path": folder})
    with pytest.raises(UsageError, match="has another tokenizer"):
        method_of(folder).prepare(tiny_base, None, RunContext(tmp_path / "none", inputs={"path": folder}))
    assert not (tmp_path / "none").exists()


def test_no_tokenizer_is_one_line(tiny_model, other_model, tmp_path):
    folder = tmp_path / "bare"
    shutil.copytree(other_model, folder, ignore=shutil.ignore_patterns("tokenizer*"))
    with pytest.raises(MissingError, match=r"the tokenizer of .* cannot be read") as caught:
        method_of(folder).check(tiny_model, {"path": folder})
    assert "\n" not in str(caught.value)


# --- the weights ---


def test_the_artifact_says_which_model_it_is_and_holds_no_weights(tiny_base, other_model, tmp_path):
    hashes = []
    for name in ("one", "two"):
        folder = shutil.copytree(other_model, tmp_path / f"copy-{name}")
        (tmp_path / name).mkdir()
        make_artifact(method_of(folder), tiny_base, None, RunContext(tmp_path / name, inputs={"path": folder}))
        hashes.append(load_artifact(tmp_path / name).hash)
        assert sorted(path.name for path in (tmp_path / name).iterdir()) == ["facts.json", "model.json"]
    assert hashes[0] == hashes[1]
    assert str(tmp_path) not in (tmp_path / "one" / "model.json").read_text()


@pytest.mark.parametrize("damage", ["missing", "nan", "shape"])
def test_weights_that_are_not_whole_are_refused(damage, tiny_base, other_model, logits, tmp_path):
    folder = shutil.copytree(other_model, tmp_path / "damaged")
    weights = load_file(folder / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    if damage == "missing":
        del weights[name]
    elif damage == "nan":
        weights[name][0, 0] = float("nan")
    else:
        weights[name] = weights[name][:5].clone()
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    own = plain(tiny_base.model)
    with pytest.raises(MissingError, match=r"checkpoint 'damaged' (has no numbers for 1|cannot be loaded)") as caught:
        logits(folder)
    assert "\n" not in str(caught.value)
    assert torch.equal(plain(tiny_base.model), own)
