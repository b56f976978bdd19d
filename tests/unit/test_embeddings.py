"""Sentence embeddings: the mean of the last states, whatever shares the batch, and what is no encoder."""

import contextlib
import json

import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from bench.assets.catalogue import AssetCatalogue
from bench.engine.encoder import SentenceEncoder
from bench.errors import MissingError, UsageError

TEXTS = ["the train was late", "a river", "", "the friend was late a train the river", "a river"]


@pytest.fixture
def folder(tiny_encoder):
    return tiny_encoder


@pytest.fixture
def encoder(folder, tmp_path):
    return SentenceEncoder(AssetCatalogue(tmp_path / "cache", offline=True).encoder(str(folder)))


def test_a_vector_is_the_mean_of_its_own_tokens_states(encoder, folder):
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    found = encoder.encode(TEXTS)
    for text, vector in zip(TEXTS, found, strict=True):
        inputs = tokenizer(text, return_tensors="pt", truncation=True, max_length=6)
        with torch.no_grad():
            mean = model(**inputs).last_hidden_state[0].mean(0)
        assert torch.allclose(vector, mean / mean.norm(), atol=1e-5)
    assert encoder.encode([]).shape == (0, 16)


def test_similarity_is_the_cosine_of_partners(encoder):
    ones, others = TEXTS[:4], [TEXTS[0], TEXTS[0], TEXTS[1], TEXTS[3]]
    vectors = encoder.encode(ones), encoder.encode(others)
    assert encoder.similarity(ones, others) == pytest.approx((vectors[0] * vectors[1]).sum(-1).tolist(), abs=1e-5)
    assert encoder.similarity(["a river"], ["a river"]) == pytest.approx([1.0], abs=1e-5)


def test_another_pooling_is_refused(folder, tmp_path):
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    with pytest.raises(UsageError, match="does not pool its tokens by their mean"):
        SentenceEncoder(AssetCatalogue(tmp_path / "cache", offline=True).encoder(str(folder)))


@pytest.mark.parametrize(
    ("last", "refused"),
    [("Dense", "has a module 'Dense', and read are Normalize, Pooling, Transformer"), ("Normalize", "")],
)
def test_a_layer_after_the_mean_is_refused(folder, tmp_path, last, refused):
    kinds = ["Transformer", "Pooling", last]
    rows = [{"idx": n, "type": f"sentence_transformers.models.{kind}"} for n, kind in enumerate(kinds)]
    (folder / "modules.json").write_text(json.dumps(rows))
    with pytest.raises(UsageError, match=refused) if refused else contextlib.nullcontext():
        SentenceEncoder(AssetCatalogue(tmp_path / "cache", offline=True).encoder(str(folder)))


def test_what_is_no_encoder_is_one_clear_line(folder, tmp_path):
    store = AssetCatalogue(tmp_path / "cache", offline=True)
    with pytest.raises(MissingError, match="does not exist"):
        store.encoder("./nowhere")
    with pytest.raises(UsageError, match="unknown encoder 'all-minilm'; did you mean 'all-minilm-l6-v2'"):
        store.encoder("all-minilm")
    with pytest.raises(UsageError, match="of the kind 'model', not 'encoder'"):
        store.encoder("smollm2-135m-instruct")
    with pytest.raises(MissingError, match="forbids the download"):
        store.encoder("all-minilm-l6-v2")
    (folder / "config.json").write_text(json.dumps({"model_type": "nothing-known"}))
    with pytest.raises(MissingError, match="cannot be loaded as an encoder"):
        SentenceEncoder(store.encoder(str(folder)))


@pytest.mark.network
def test_the_embedded_encoder_knows_a_paraphrase():
    encoder = SentenceEncoder(AssetCatalogue().encoder("all-minilm-l6-v2"))
    sentence = "The train was late because of the snow."
    others = ["Snow delayed the train.", "He likes to cook fish on Sundays.", sentence]
    paraphrase, other, same = encoder.similarity([sentence] * 3, others)
    assert same == pytest.approx(1, abs=1e-5)
    assert paraphrase > 0.7
    assert other < 0.3
