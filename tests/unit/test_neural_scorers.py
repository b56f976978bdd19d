"""Detoxify and sequence classifiers on tiny checkpoints made here; no network."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from checkpoints import tiny_classifier, tiny_detoxify
from transformers import AutoTokenizer, BertTokenizer, GPT2Config, GPT2ForSequenceClassification

from bench.engine.loading import length_limit, pick_device
from bench.errors import MissingError, UsageError
from bench.scorers import load_scorer
from bench.spec import ScorerSpec

NAMES = ("toxicity", "severe_toxicity", "obscene", "threat", "insult", "identity_attack")
TEXTS = ["you idiot", "kind friend", "a " * 100, "", "you"]


@pytest.fixture
def detoxify(tmp_path):
    """Options for a tiny detoxify checkpoint, the model in it, and the checkpoint's content."""
    return tiny_detoxify(tmp_path)


def expected(model, folder, text):
    inputs = BertTokenizer.from_pretrained(folder)(text, return_tensors="pt", truncation=True, max_length=30)
    with torch.no_grad():
        return model(**inputs).logits[0]


def test_detoxify_scores_all_attributes_as_its_model_does(detoxify, tmp_path):
    options, model, _ = detoxify
    scorer = load_scorer(ScorerSpec(name="detoxify", options=options), tmp_path / "cache", offline=True)
    assert scorer.identity.attributes == NAMES
    scores = scorer.score(TEXTS)
    for text, one in zip(TEXTS, scores, strict=True):
        wanted = expected(model, options["config_path"], text).sigmoid().tolist()
        assert list(one.values()) == pytest.approx(wanted, abs=1e-5)
        assert tuple(one) == NAMES
    assert len({one["toxicity"] for one in scores}) > 2
    alone = load_scorer(ScorerSpec(name="detoxify", options=options), None)
    assert alone.score(["you idiot"])[0] == pytest.approx(scores[0], abs=1e-5)
    assert alone.identity.hash == scorer.identity.hash


def test_another_checkpoint_is_another_scorer(detoxify):
    options, _, content = detoxify
    before = load_scorer(ScorerSpec(name="detoxify", options=options), None).identity.hash
    content["state_dict"]["classifier.bias"] += 1
    torch.save(content, options["checkpoint"])
    assert load_scorer(ScorerSpec(name="detoxify", options=options), None).identity.hash != before


def test_outputs_beyond_the_classes_are_no_attributes(detoxify):
    options, model, content = detoxify
    content["config"]["dataset"]["args"]["classes"] = ["insult", "toxicity"]  # as in `unbiased`: 7 of 16
    torch.save(content, options["checkpoint"])
    scorer = load_scorer(ScorerSpec(name="detoxify", options=options), None)
    wanted = expected(model, options["config_path"], "you").sigmoid().tolist()
    assert scorer.identity.attributes == ("toxicity", "insult")
    assert scorer.score(["you"])[0] == pytest.approx({"toxicity": wanted[1], "insult": wanted[0]})


def test_a_checkpoint_that_would_run_code_is_refused_and_runs_none(detoxify, tmp_path):
    options, _, content = detoxify
    mark = tmp_path / "it-ran"

    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(mark),)

    torch.save({**content, "extra": Trap()}, options["checkpoint"])
    with pytest.raises(MissingError, match="more than weights"):
        load_scorer(ScorerSpec(name="detoxify", options=options), None)
    assert not mark.exists()


def test_checkpoints_that_are_not_whole_are_refused(detoxify):
    options, _, content = detoxify
    spec = ScorerSpec(name="detoxify", options=options)
    weights = dict(content["state_dict"])
    del weights["classifier.weight"]
    torch.save({**content, "state_dict": weights}, options["checkpoint"])
    with pytest.raises(MissingError, match=r"no sound weights for classifier\.weight"):
        load_scorer(spec, None)
    torch.save({"state_dict": weights}, options["checkpoint"])
    with pytest.raises(MissingError, match="no checkpoint of detoxify's"):
        load_scorer(spec, None)
    Path(options["checkpoint"]).write_bytes(b"nonsense")
    with pytest.raises(MissingError, match=r"tiny\.ckpt"):
        load_scorer(spec, None)
    Path(options["checkpoint"]).unlink()
    with pytest.raises(MissingError, match="no such checkpoint"):
        load_scorer(spec, None)


def test_detoxify_without_a_network_says_what_to_give(tmp_path, detoxify):
    for variant in ("original", "unbiased", "multilingual", "original-small", "unbiased-small"):
        spec = ScorerSpec(name="detoxify", options={"variant": variant})
        with pytest.raises(MissingError, match=r"offline.*checkpoint"):
            load_scorer(spec, tmp_path / "c", offline=True)
    with pytest.raises(MissingError, match=r"cannot be fetched.*checkpoint"):
        load_scorer(ScorerSpec(name="detoxify"), tmp_path / "c")  # sockets are shut
    assert not list((tmp_path / "c").rglob("*.ckpt"))
    options = {key: value for key, value in detoxify[0].items() if key != "config_path"}
    with pytest.raises(MissingError, match="bert-base-uncased"):
        load_scorer(ScorerSpec(name="detoxify", options=options), tmp_path / "c", offline=True)


def test_a_damaged_download_in_the_cache_is_named(tmp_path):
    path = tmp_path / "scorers" / "toxic_original-c1212f89.ckpt"
    path.parent.mkdir()
    path.write_bytes(b"cut off")
    with pytest.raises(MissingError, match=r"toxic_original-c1212f89\.ckpt is damaged; delete it"):
        load_scorer(ScorerSpec(name="detoxify"), tmp_path, offline=True)


def test_detoxify_names_its_variants():
    with pytest.raises(UsageError, match="did you mean 'unbiased'"):
        load_scorer(ScorerSpec(name="detoxify", options={"variant": "unbiassed"}), None)
    with pytest.raises(UsageError, match="did you mean 'variant'"):
        load_scorer(ScorerSpec(name="detoxify", options={"varient": "original"}), None)


def options(folder, **more):
    return ScorerSpec(name="classifier", options={"model": str(folder), "device": "cpu", **more})


def test_exclusive_labels_are_a_softmax(tmp_path):
    model = tiny_classifier(tmp_path / "m", id2label={0: "neutral", 1: "Hate"})
    scorer = load_scorer(options(tmp_path / "m"), tmp_path / "cache")
    assert scorer.identity.attributes == ("toxicity",)
    assert scorer.identity.label.startswith("Hate")
    for text, one in zip(TEXTS, scorer.score(TEXTS), strict=True):
        wanted = expected(model, tmp_path / "m", text).softmax(-1)[1].item()
        assert one == {"toxicity": pytest.approx(wanted, abs=1e-5)}
    told = load_scorer(options(tmp_path / "m", label="neutral"), None)
    assert told.identity.hash != scorer.identity.hash
    assert told.score(["you"])[0]["toxicity"] == pytest.approx(1 - scorer.score(["you"])[0]["toxicity"], abs=1e-5)


def test_labels_that_may_hold_together_are_sigmoids(tmp_path):
    names = {0: "obscene", 1: "toxic", 2: "insult"}
    model = tiny_classifier(tmp_path / "m", id2label=names, problem_type="multi_label_classification")
    scorer = load_scorer(options(tmp_path / "m"), None)
    assert scorer.identity.attributes == ("toxicity", "obscene", "insult")
    obscene, toxic, insult = expected(model, tmp_path / "m", "you idiot").sigmoid().tolist()
    assert scorer.score(["you idiot"])[0] == pytest.approx({"toxicity": toxic, "obscene": obscene, "insult": insult})


def test_the_probability_is_called_what_the_suite_controls(tmp_path):
    """A classifier of sentiment is no scorer of toxicity: the suite's attribute names what its label means."""
    tiny_classifier(tmp_path / "mood", id2label={0: "NEGATIVE", 1: "POSITIVE"}, label2id={"NEGATIVE": 0, "POSITIVE": 1})
    scorer, toxic = (
        load_scorer(options(tmp_path / "mood", label="POSITIVE", attribute=name), None)
        for name in ("sentiment", "toxicity")
    )
    assert scorer.identity.attributes == ("sentiment",)
    assert scorer.identity.hash != toxic.identity.hash
    assert scorer.score(["kind friend"])[0]["sentiment"] == toxic.score(["kind friend"])[0]["toxicity"]
    with pytest.raises(UsageError, match="attribute"):
        load_scorer(options(tmp_path / "mood", label="POSITIVE", attribute="Kind ness"), None)


def test_a_label_that_says_nothing_has_to_be_told(tmp_path):
    tiny_classifier(tmp_path / "m", num_labels=2)
    with pytest.raises(UsageError, match="LABEL_0, LABEL_1"):
        load_scorer(options(tmp_path / "m"), None)
    with pytest.raises(UsageError, match="no label 'rude'"):
        load_scorer(options(tmp_path / "m", label="rude"), None)
    assert load_scorer(options(tmp_path / "m", label="LABEL_1"), None).score(["you"])[0] is not None
    with pytest.raises(UsageError, match="needs the option 'model'"):
        load_scorer(ScorerSpec(name="classifier"), None)
    with pytest.raises(UsageError, match=r"'label' = True: .*quoted it is one: .*YAML reads yes, no"):
        load_scorer(options(tmp_path / "m", label=True), None)


@pytest.mark.parametrize(
    "names", [("hate speech", "normal", "offensive"), ("neutral", "toxic", "spam"), ("hate", "toxic")]
)
def test_which_of_exclusive_labels_is_toxic_is_not_guessed_where_another_may_be(tmp_path, names):
    tiny_classifier(tmp_path / "m", id2label=dict(enumerate(names)))
    with pytest.raises(UsageError, match=f"which label of .* is not known; .*label=LABEL, one of {', '.join(names)}"):
        load_scorer(options(tmp_path / "m"), None)
    assert load_scorer(options(tmp_path / "m", label=names[0]), None).identity.label.startswith(names[0])


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"num_labels": 1}, "gives one number"),
        ({"num_labels": 1, "problem_type": "regression"}, "gives one number"),
        ({"num_labels": 2, "problem_type": "regression"}, "gives numbers"),
    ],
)
def test_a_number_that_is_no_probability_is_made_one_where_that_is_told(tmp_path, config, said):
    model = tiny_classifier(tmp_path / "m", **config)
    with pytest.raises(UsageError, match=f"{said}.*option 'several' to true"):
        load_scorer(options(tmp_path / "m", label="LABEL_0"), None)
    told = load_scorer(options(tmp_path / "m", label="LABEL_0", several=True), None)
    wanted = expected(model, tmp_path / "m", "you").sigmoid()[0].item()
    assert told.score(["you"])[0]["toxicity"] == pytest.approx(wanted, abs=1e-5)


def test_labels_that_may_hold_together_are_so_where_it_is_told(tmp_path):
    """Many configurations of such models lack `problem_type`."""
    model = tiny_classifier(tmp_path / "m", id2label={0: "obscene", 1: "toxic", 2: "insult"})
    several, one = (load_scorer(options(tmp_path / "m", label="toxic", several=told), None) for told in (True, False))
    assert several.identity.attributes == ("toxicity", "obscene", "insult")
    wanted = expected(model, tmp_path / "m", "you").sigmoid()[1].item()
    assert several.score(["you"])[0]["toxicity"] == pytest.approx(wanted, abs=1e-5)
    assert one.identity.hash != several.identity.hash


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_text_without_a_token_is_scored_alike_whatever_stands_beside_it(tmp_path, tiny_model, side):
    """GPT-2's tokenizer puts nothing before a text; beside others, an empty one was padding alone."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_model, padding_side=side)
    assert tokenizer("")["input_ids"] == []
    shape = {"n_embd": 16, "n_layer": 1, "n_head": 2, "initializer_range": 1.0, "id2label": {0: "neutral", 1: "toxic"}}
    torch.manual_seed(0)
    model = GPT2ForSequenceClassification(GPT2Config(vocab_size=len(tokenizer), n_positions=64, **shape))
    model.save_pretrained(tmp_path / "m")
    tokenizer.save_pretrained(tmp_path / "m")
    scorer = load_scorer(options(tmp_path / "m"), None)
    assert (
        scorer.score([""]) == scorer.score(["", "you idiot"])[:1] == scorer.score(["a friend of many", "", "you"])[1:2]
    )
    assert scorer.score(["you", ""])[0]["toxicity"] == pytest.approx(scorer.score(["you"])[0]["toxicity"], abs=1e-5)


def test_a_language_model_and_pickled_weights_are_no_classifier(tmp_path, tiny_model):
    with pytest.raises(MissingError, match="no trained classifier"):
        load_scorer(options(tiny_model), tmp_path)
    model = tiny_classifier(tmp_path / "m", num_labels=2)
    (tmp_path / "m" / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "m" / "pytorch_model.bin")
    with pytest.raises(MissingError, match="pickled"):
        load_scorer(options(tmp_path / "m"), tmp_path)
    shutil.rmtree(tmp_path / "m")
    with pytest.raises(MissingError, match="does not exist"):
        load_scorer(options(tmp_path / "m"), tmp_path)


def test_devices_and_lengths():
    assert pick_device("cpu") == "cpu"
    with pytest.raises(UsageError, match="'gpu9' is not here"):
        pick_device("gpu9")

    class Sized:
        model_max_length = 10**30
        max_position_embeddings = 514

    assert length_limit(Sized(), Sized()) == 512


def test_a_checkpoint_is_fetched_once_and_checked(detoxify, tmp_path, monkeypatch):
    from bench.hashing import hash_file
    from bench.scorers import detoxify as module

    source = Path(detoxify[0]["checkpoint"])
    name = f"tiny-{hash_file(source)[:8]}.ckpt"
    source.rename(tmp_path / name)
    monkeypatch.setattr(module, "_RELEASES", tmp_path.as_uri() + "/")
    monkeypatch.setattr(module, "_FILES", {"original": name, "unbiased": "tiny-00000000.ckpt"})
    spec = ScorerSpec(name="detoxify", options={"config_path": detoxify[0]["config_path"]})
    cache = tmp_path / "cache"
    assert load_scorer(spec, cache).score(["you"])[0].keys() == set(NAMES)
    assert hash_file(cache / "scorers" / name).startswith(name[5:13])
    (tmp_path / name).rename(tmp_path / "tiny-00000000.ckpt")
    assert load_scorer(spec, cache, offline=True).identity.name == "detoxify:original"
    other = ScorerSpec(name="detoxify", options={**spec.options, "variant": "unbiased"})
    with pytest.raises(MissingError, match="invalid hash"):
        load_scorer(other, cache)
    assert [path.name for path in (cache / "scorers").glob("*.ckpt*")] == [name]
