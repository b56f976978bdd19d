"""What is loaded fits its files: weights, configuration, tokenizer and length, of models, encoders and classifiers."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import tiny_classifier
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, RobertaConfig, RobertaModel

from bench.assets.resolved import Resolved
from bench.engine.encoder import SentenceEncoder
from bench.engine.loading import length_limit, refuse_unfit
from bench.engine.model import load_model
from bench.errors import MissingError
from bench.method import RunContext
from bench.run.artifact import load_artifact, make_artifact
from bench.scorers import load_scorer
from bench.spec import ModelSpec, ScorerSpec
from methods.checkpoint import Checkpoint, CheckpointConfig
from methods.learning.adapter import adapted
from methods.steering import VECTORS

UP = "model.layers.1.mlp.up_proj.weight"


def resolved(folder: Path) -> Resolved:
    return Resolved("m", folder, "0", None, None, "local")


def load_base(folder: Path) -> Any:
    return load_model(ModelSpec(id="m"), resolved(folder))


def load_encoder(folder: Path) -> Any:
    return SentenceEncoder(resolved(folder), "cpu")


def load_classifier(folder: Path) -> Any:
    return load_scorer(ScorerSpec(name="classifier", options={"model": str(folder), "device": "cpu"}), None)


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model that a test may damage."""
    return shutil.copytree(tiny_model, tmp_path / "model")


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    tiny_classifier(tmp_path / "classifier", id2label={0: "neutral", 1: "toxic"})
    return tmp_path / "classifier"


def rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    """Save a folder's weights again, changed."""
    path = folder / "model.safetensors"
    save_file({key: part.clone() for key, part in change(load_file(path)).items()}, path, {"format": "pt"})


def configure(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def without(key: str) -> Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]:
    return lambda weights: {name: part for name, part in weights.items() if name != key}


def broken(key: str) -> Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]:
    return lambda weights: weights | {key: weights[key] * torch.nan}


def refused(load: Callable[[Path], Any], folder: Path, said: str) -> None:
    """The folder is refused in one line, with a remedy."""
    with pytest.raises(MissingError, match=said) as caught:
        load(folder)
    assert caught.value.mend
    assert "\n" not in str(caught.value)


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "prefix": (
        lambda folder: rewrite(folder, lambda weights: {f"_orig_mod.{key}": part for key, part in weights.items()}),
        r"no numbers for \d+ of its weights \(lm_head.weight; the files hold _orig_mod\..*save the whole model",
    ),
    "missing": (lambda folder: rewrite(folder, without(UP)), rf"no numbers for 1 of its weights \({UP}\); save"),
    "nan": (lambda folder: rewrite(folder, broken(UP)), rf"no numbers for 1 of its weights \({UP}\); save"),
    "fewer layers": (lambda folder: configure(folder, num_hidden_layers=1), r"9 weights that its config.json has no"),
    "more layers": (lambda folder: configure(folder, num_hidden_layers=3), r"no numbers for 9 of its weights"),
    "bias": (
        lambda folder: rewrite(folder, lambda weights: weights | {UP.replace("weight", "bias"): torch.ones(64)}),
        rf"1 weights that its config.json has no place for \({UP.replace('weight', 'bias')}\)",
    ),
    "shape": (
        lambda folder: rewrite(folder, lambda weights: weights | {UP: weights[UP][:, :-1]}),
        "its weights have other shapes than its config.json says",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_model_that_does_not_fit_its_files_is_refused(model: Path, damage: str) -> None:
    """Else random weights, or another network's, would be measured."""
    load_base(model)
    change, said = DAMAGE[damage]
    change(model)
    refused(load_base, model, f"model 'm' .*{said}")


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_checkpoint_that_does_not_fit_its_files_is_refused(tiny_base: Any, model: Path, damage: str) -> None:
    change, said = DAMAGE[damage]
    change(model)
    method = Checkpoint(CheckpointConfig(path="m"))
    refused(lambda folder: method._load(tiny_base, folder), model, f"checkpoint 'm' .*{said}")


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_weights_of_8_bits_are_looked_at(dtype: torch.dtype) -> None:
    network, info = torch.nn.Module(), {"missing_keys": [], "unexpected_keys": []}
    network.weight = torch.nn.Parameter(torch.ones(2, 2).to(dtype), requires_grad=False)
    refuse_unfit("model 'm'", network, info)
    network.weight.data = torch.full((2, 2), torch.nan).to(dtype)
    with pytest.raises(MissingError, match="no numbers for 1 of its weights"):
        refuse_unfit("model 'm'", network, info)


def test_weights_that_no_module_reads_do_no_harm(model: Path) -> None:
    """A value head of a trainer; the mask that older versions saved beside each layer."""
    expected = load_base(model).model.state_dict()
    extra = {"v_head.summary.weight": torch.ones(3), "model.layers.0.self_attn.bias": torch.ones(3)}
    rewrite(model, lambda weights: weights | extra)
    found = load_base(model).model.state_dict()
    assert all(torch.equal(expected[key], found[key]) for key in expected)


def test_an_encoder_that_does_not_fit_its_files_is_refused(tiny_encoder: Path, tmp_path: Path) -> None:
    load_encoder(tiny_encoder)
    key = "encoder.layer.1.output.dense.weight"
    for number, (change, said) in enumerate(
        (
            (lambda folder: rewrite(folder, without(key)), "has no numbers for 1 of its weights"),
            (lambda folder: rewrite(folder, broken(key)), "has no numbers for 1 of its weights"),
            (lambda folder: configure(folder, num_hidden_layers=1), "config.json has no place for"),
            (lambda folder: configure(folder, intermediate_size=8), "other shapes than its config.json says"),
        )
    ):
        folder = shutil.copytree(tiny_encoder, tmp_path / f"encoder-{number}")
        change(folder)
        refused(load_encoder, folder, said)
    rewrite(tiny_encoder, without("pooler.dense.weight"))
    load_encoder(tiny_encoder)  # the mean of the states needs no pooler


def test_a_classifier_that_does_not_fit_its_files_is_refused(classifier: Path, tmp_path: Path) -> None:
    load_classifier(classifier)
    key = "bert.encoder.layer.0.output.dense.weight"
    for number, (change, said) in enumerate(
        (
            (lambda folder: rewrite(folder, without(key)), "is no trained classifier"),
            (lambda folder: rewrite(folder, broken(key)), "has no numbers for 1 of its weights"),
            (lambda folder: configure(folder, num_hidden_layers=0), "config.json has no place for"),
        )
    ):
        folder = shutil.copytree(classifier, tmp_path / f"classifier-{number}")
        change(folder)
        refused(load_classifier, folder, said)


def larger(folder: Path) -> None:
    """Give a tokenizer tokens that the network has no embedding for."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<one>", "<two>"])
    tokenizer.save_pretrained(folder)


def test_a_tokenizer_that_is_larger_than_the_embedding_is_refused(model, tiny_encoder, classifier) -> None:
    for load, folder in ((load_base, model), (load_encoder, tiny_encoder), (load_classifier, classifier)):
        load(folder)
        larger(folder)
        refused(load, folder, r"has embeddings for \d+ tokens, and its tokenizer makes \d+; put the tokenizer")


def special(folder: Path, **more: str) -> None:
    """Give a tokenizer a special token that the network has no embedding for."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    for name, value in more.items():
        setattr(tokenizer, name, value)
    tokenizer.save_pretrained(folder)


def test_a_special_token_without_an_embedding_is_read_as_text(model: Path) -> None:
    special(model)
    assert 400 in AutoTokenizer.from_pretrained(model)("an <image>")["input_ids"]
    base = load_base(model)
    ids = base.tokenizer("an <image> ")["input_ids"]
    assert max(ids) < 400 == len(base.tokenizer)
    assert base.tokenizer.decode(ids, skip_special_tokens=True) == "an <image> "
    Checkpoint(CheckpointConfig(path="m"))._same_tokenizer(base.tokenizer, model)


@pytest.mark.parametrize("more", [{"pad_token": "<image>"}, {"chat_template": "{{ messages[0].content }}<image>"}])
def test_a_special_token_without_an_embedding_that_is_put_into_texts_is_refused(model: Path, more: Any) -> None:
    special(model, **more)
    refused(load_base, model, "has embeddings for 400 tokens, and its tokenizer makes 401; put the tokenizer")


def test_the_remedy_of_a_larger_tokenizer_works(model: Path) -> None:
    larger(model)
    tokenizer, network = AutoTokenizer.from_pretrained(model), AutoModelForCausalLM.from_pretrained(model)
    network.resize_token_embeddings(len(tokenizer))
    network.save_pretrained(model)
    assert load_base(model).model.get_input_embeddings().num_embeddings == 402


# --- cut files ---


@pytest.mark.parametrize("kept", [0, 5, 0.5, -1])
def test_cut_weights_are_one_line_with_the_remedy(kept, model, tiny_base, tiny_encoder, classifier) -> None:
    method = Checkpoint(CheckpointConfig(path="m"))
    loads: list[tuple[Callable[[Path], Any], Path]] = [
        (load_base, model),
        (lambda folder: method._load(tiny_base, folder), model),
        (load_encoder, tiny_encoder),
        (load_classifier, classifier),
    ]
    for folder in (model, tiny_encoder, classifier):
        cut(folder / "model.safetensors", kept)
    for load, folder in loads:
        refused(load, folder, r"cannot be loaded.*the file is cut or damaged: copy the model again")


def cut(path: Path, kept: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept) if isinstance(kept, float) else kept])


@pytest.mark.parametrize("content", ["", "{", "{}", "[]", '{"model": {}}', "null", "\x00\x00"])
def test_a_cut_tokenizer_or_configuration_is_one_line(content, model, tiny_encoder, classifier) -> None:
    for load, folder in ((load_base, model), (load_encoder, tiny_encoder), (load_classifier, classifier)):
        for name in ("tokenizer.json", "config.json"):
            before = (folder / name).read_text(encoding="utf-8")
            (folder / name).write_text(content)
            with pytest.raises(MissingError, match="cannot be loaded") as caught:
                load(folder)
            assert "\n" not in str(caught.value)
            (folder / name).write_text(before, encoding="utf-8")
        load(folder)


def test_a_cut_artifact_says_what_to_delete(tiny_base, tiny_adapter, tiny_sets, tmp_path) -> None:
    from methods.steering import Steering, SteeringConfig

    folder = shutil.copytree(tiny_adapter, tmp_path / "adapter")
    cut(folder / "adapter_model.safetensors", 0.5)
    with pytest.raises(MissingError, match=r"is damaged .*delete the folder"), adapted(tiny_base.model, folder, 1.0):
        pytest.fail("it was applied")
    (tmp_path / "steering").mkdir()
    method = Steering(SteeringConfig(multiplier=1.0))
    make_artifact(method, tiny_base, tiny_sets, RunContext(tmp_path / "steering"))
    artifact = load_artifact(tmp_path / "steering")
    cut(tmp_path / "steering" / VECTORS, 0.5)
    with pytest.raises(MissingError, match=r"is damaged .*delete the folder"), method.applied(tiny_base, artifact):
        pytest.fail("it was applied")


# --- lengths ---


def test_the_smaller_number_of_tokens_counts(classifier: Path) -> None:
    """A tokenizer that says 512 beside a network of 32 positions: long texts are cut, none is missing."""
    tokenizer = AutoTokenizer.from_pretrained(classifier)
    tokenizer.model_max_length = 512
    tokenizer.save_pretrained(classifier)
    scorer = load_classifier(classifier)
    assert scorer.score(["a " * 100]) == scorer.score(["a " * 30]) != scorer.score(["a " * 29])
    assert None not in scorer.score(["you idiot", "a " * 100, "you " * 33])
    tokenizer.model_max_length = 20
    tokenizer.save_pretrained(classifier)
    scorer = load_classifier(classifier)
    assert scorer.score(["a " * 100]) == scorer.score(["a " * 18]) != scorer.score(["a " * 17])


def test_an_encoder_reads_no_more_than_its_positions(tiny_encoder: Path) -> None:
    (tiny_encoder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 400}))
    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder)
    tokenizer.model_max_length = 512
    tokenizer.save_pretrained(tiny_encoder)
    assert load_encoder(tiny_encoder).encode(["train " * 100]).isfinite().all()


@pytest.mark.parametrize(("told", "limit"), [(512, 32), (10**30, 32), (7, 7)])
def test_positions_that_are_counted_from_padding_are_not_all_for_text(told: int, limit: int) -> None:
    """RoBERTa's 34 positions have room for 32 tokens."""
    shape = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    network = RobertaModel(RobertaConfig(vocab_size=9, max_position_embeddings=34, **shape))

    class Sized:
        model_max_length = told

    found = length_limit(Sized(), network.config, network)
    assert found == limit
    network(torch.full((1, found), 5))
    with pytest.raises((IndexError, RuntimeError)):
        network(torch.full((1, 33), 5))


@pytest.mark.parametrize("kind", ["t5", "xlnet"])  # XLNet says -1
def test_a_length_that_nobody_knows_can_be_given_to_a_tokenizer(classifier: Path, kind: str) -> None:
    class Nothing:
        model_max_length = 10**30

    tokenizer = AutoTokenizer.from_pretrained(classifier)
    assert tokenizer("you " * 50, truncation=True, max_length=length_limit(Nothing(), AutoConfig.for_model(kind)))
