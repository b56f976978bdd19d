"""Packed texts: the same likelihoods and gradients as one row a text, whatever shares a row."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import (
    FalconConfig,
    FalconForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

from bench.engine.profile import CPU, PROFILES
from bench.policy import LoadedModel
from methods.learning import packing
from methods.learning.batches import Collator, Item, Likelihoods, match, refuse_long, score_batch
from methods.learning.packing import pack, packable

ITEMS = [
    Item("She asked", (" whether the train was late.", " him."), (" what is it", " him.")),
    Item("The river rises in the hills and", (" joins the sea.",), (" x", " 0, 1, 2, 3")),
    Item("", ("He did not like the weather",), ("; nobody did.",)),
    Item("She asked", (" a second time, and then a third.",), (" x",)),
]
LONGEST = 30  # tokens: more than any of these with its anchor has
SMALL: dict[str, Any] = {"vocab_size": 400, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}


def scored(base: LoadedModel, *, packed: bool, prompts: bool = True, **options: Any) -> Likelihoods:
    batch = Collator(base.tokenizer, packed=packed, **options)(ITEMS)
    assert ("packed_ids" in batch) == packed
    return score_batch(base.model, batch, prompts=prompts, base=base)


def gradients(base: LoadedModel, *, packed: bool, prompts: bool, **options: Any) -> list[torch.Tensor]:
    """Of a loss that weighs every token of every text differently, with respect to weights all over the model."""
    layer = base.model.model.layers[0]
    weights = [layer.mlp.up_proj.weight, layer.self_attn.k_proj.weight, layer.self_attn.v_proj.weight]
    for weight in weights:
        weight.requires_grad_()
    found = scored(base, packed=packed, prompts=prompts, **options)
    factors = torch.linspace(0.1, 2, found.token_logprob.numel()).view_as(found.token_logprob)
    loss = (factors * found.token_logprob).sum() + (found.phi**2).sum()
    if prompts:
        loss = loss + (torch.arange(len(found.logprob)) * found.prompt_logprob).sum()
    return list(torch.autograd.grad(loss, weights))


@pytest.mark.parametrize("row", [1, 40, 512])
def test_likelihoods_are_those_of_one_row_a_text(tiny_base, monkeypatch, row):
    """Whether a pack has a row of its own or shares it."""
    monkeypatch.setattr(packing, "_ROW", row)
    with torch.no_grad():
        ours, plain = scored(tiny_base, packed=True), scored(tiny_base, packed=False)
    for name in ("logprob", "tokens", "group", "positive", "token_logprob", "present", "prompt_logprob"):
        assert torch.allclose(getattr(ours, name).float(), getattr(plain, name).float(), atol=1e-4), name
    assert ours.prompt_tokens.tolist() == plain.prompt_tokens.tolist()


@pytest.mark.parametrize("prompts", [False, True])
@pytest.mark.parametrize("logit_rows", [1, 7, 128])
def test_gradients_are_those_of_one_row_a_text(tiny_base, monkeypatch, prompts, logit_rows):
    """To 1e-5 of the largest: logits are dropped, shared prompts are read once, nothing is approximated."""
    monkeypatch.setitem(PROFILES, "cpu", replace(CPU, training_rows=logit_rows))
    ours = gradients(tiny_base, packed=True, prompts=prompts)
    plain = gradients(tiny_base, packed=False, prompts=prompts)
    for one, other in zip(ours, plain, strict=True):
        assert float(other.abs().max()) > 1e-2
        assert float((one - other).abs().max()) < 1e-5 * max(1.0, float(other.abs().max()))


@pytest.mark.parametrize("window", [1 << 20, 64, 30])
def test_within_a_window_gradients_are_those_of_one_row_a_text(tiny_base, window):
    """Rows are no longer than the window of attention, to the token."""
    torch.manual_seed(0)
    base = LoadedModel(mistral(window).eval().requires_grad_(requires_grad=False), tiny_base.tokenizer, "x", "hash")
    longest = refuse_long(base, [row[:2] for row in match(ITEMS)])
    assert longest <= 30
    assert packable(base, *tokens(base), longest)
    batch = Collator(base.tokenizer, packed=True, window=window)(ITEMS)
    assert batch["packed_ids"].shape[1] <= window
    ours = gradients(base, packed=True, prompts=True, window=window)
    plain = gradients(base, packed=False, prompts=True)
    for one, other in zip(ours, plain, strict=True):
        assert float(other.abs().max()) > 1e-2
        assert float((one - other).abs().max()) < 1e-5 * max(1.0, float(other.abs().max()))


def test_a_text_that_outgrows_the_window_is_not_packed(tiny_base):
    """Its row alone would not be the one that it has among others."""
    torch.manual_seed(0)
    base = LoadedModel(mistral(29).eval(), tiny_base.tokenizer, "x", "hash")
    assert packable(base, *tokens(base), 29)
    assert not packable(base, *tokens(base), 30)


def test_an_output_layer_that_learns_gets_its_gradient(tiny_base):
    """An adapter there is reached through the logits, which are then kept."""
    weight = tiny_base.model.get_output_embeddings().weight.requires_grad_()
    ours, plain = (
        torch.autograd.grad(scored(tiny_base, packed=packed).phi.sum(), weight)[0] for packed in (True, False)
    )
    assert float((ours - plain).abs().max()) < 1e-4
    assert float(ours.abs().max()) > 1e-3


def test_prefixes_and_mismatched_texts_are_packed_too(tiny_base):
    options: dict[str, Any] = {"prefixes": ((5, 6, 7), (8, 9)), "prompts": False}
    with torch.no_grad():
        ours, plain = (scored(tiny_base, packed=packed, **options) for packed in (True, False))
    assert len(ours.logprob) == 2 * 11
    assert torch.allclose(ours.logprob, plain.logprob, atol=1e-4)
    names = {(anchor.anchor, text) for item in ITEMS for anchor in ITEMS for text in (*item.positives, *item.negatives)}
    options = {"reference": dict.fromkeys(names, 0.5), "mismatched": True, "prompts": False}
    with torch.no_grad():
        ours, plain = (scored(tiny_base, packed=packed, **options) for packed in (True, False))
    assert ours.mismatched is not None
    assert torch.allclose(ours.mismatched, plain.mismatched, atol=1e-4)


@pytest.mark.parametrize("row", [12, 512])
def test_whole_texts_stand_after_the_prefixes(tiny_base, monkeypatch, row):
    """The anchor is then part of the text, and of its likelihood; a long pack is parted."""
    monkeypatch.setattr(packing, "_ROW", row)
    prefixes = ((5, 6, 7), (8, 9))
    with torch.no_grad():
        ours, plain = (
            scored(tiny_base, packed=packed, prefixes=prefixes, whole=True, prompts=False) for packed in (True, False)
        )
        apart = scored(tiny_base, packed=False, prefixes=prefixes, prompts=True)
    assert torch.allclose(ours.logprob, plain.logprob, atol=1e-4)
    assert ours.tokens.tolist() == plain.tokens.tolist()
    assert apart.prompt_logprob is not None and apart.prompt_tokens is not None
    inside = torch.tensor([len(prefixes[n // 11]) - 1 for n in range(22)])  # of the prefix, which is no text
    assert (plain.tokens - apart.tokens == apart.prompt_tokens - inside).all()
    anchored = apart.prompt_tokens > inside
    assert (plain.logprob < apart.logprob)[anchored].all()
    assert torch.allclose(plain.logprob[~anchored], apart.logprob[~anchored], atol=1e-4)


def test_a_prompt_is_read_once():
    """And a text's last token is not read at all, as it predicts nothing."""
    rows = [([1, 2, 3], [4, 5]), ([1, 2, 3], [6, 7, 8]), ([1, 2], [9]), ([1, 2, 3], [4])]
    made = pack(rows)
    assert made["packed_ids"].tolist() == [[1, 2, 3, 4, 6, 7, 1, 2]]
    assert made["packed_positions"].tolist() == [[0, 1, 2, 3, 3, 4, 0, 1]]
    assert made["sources"].tolist() == [[2, 3, 0], [2, 4, 5], [7, 0, 0], [2, 0, 0]]
    assert made["present"].tolist() == [[1, 1, 0], [1, 1, 1], [1, 0, 0], [1, 0, 0]]
    assert made["prompt_targets"].tolist() == [[2, 3], [2, 3], [2, 0], [2, 3]]
    seen = {(i, j) for i, j in made["packed_mask"][0].nonzero().tolist() if i != j}
    assert seen == {(1, 0), (2, 0), (2, 1), *((3, j) for j in range(3)), *((4, j) for j in range(3))} | {
        *((5, j) for j in (0, 1, 2, 4)),
        (7, 6),
    }


def tokens(base: LoadedModel) -> tuple[list[int], list[list[int]]]:
    prompt = base.tokenizer(ITEMS[0].anchor)["input_ids"]
    return prompt, [base.tokenizer(text)["input_ids"] for text in ITEMS[0].positives]


def mistral(window: int) -> MistralForCausalLM:
    config = MistralConfig(**SMALL, intermediate_size=48, num_key_value_heads=2, sliding_window=window)
    return MistralForCausalLM(config)


MODELS: dict[str, tuple[Any, bool]] = {
    "absolute positions": (lambda: GPT2LMHeadModel(GPT2Config(vocab_size=400, n_embd=32, n_layer=2, n_head=4)), True),
    "rotary": (lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**SMALL, intermediate_size=48)), True),
    "wide window": (lambda: mistral(64), True),
    "narrow window": (lambda: mistral(8), False),
    "bias by distance": (lambda: FalconForCausalLM(FalconConfig(**SMALL, alibi=True)), False),
}


@pytest.mark.parametrize("name", MODELS)
def test_models_that_a_mask_does_not_tell_everything_are_not_packed(tiny_base, name):
    make, expected = MODELS[name]
    torch.manual_seed(0)
    base = LoadedModel(make().eval(), tiny_base.tokenizer, name, "hash")
    assert packable(base, *tokens(tiny_base), LONGEST) == expected


def test_a_model_that_reads_packed_texts_differently_is_found_out(tiny_base, monkeypatch):
    """Whatever the reason: here a layer that adds up what stands before a token."""
    assert packable(tiny_base, *tokens(tiny_base), LONGEST)
    layer = tiny_base.model.model.layers[0]
    own = layer.forward
    monkeypatch.setattr(layer, "forward", lambda state, *args, **options: own(state.cumsum(1), *args, **options))
    assert not packable(tiny_base, *tokens(tiny_base), LONGEST)
