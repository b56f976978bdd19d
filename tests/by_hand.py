"""What a tiny Llama computes, block by block, and methods on it: what tests of methods compare with."""

from pathlib import Path
from typing import Any

import torch

from bench.engine.tokens import encode_after
from bench.method import Artifact, Method, RunContext
from bench.policy import LoadedModel, Policy
from bench.run.artifact import load_artifact, make_artifact
from bench.sets import ContrastiveSets


def made(method: Method[Any], base: LoadedModel, sets: ContrastiveSets | None, folder: Path) -> Artifact:
    make_artifact(method, base, sets, RunContext(folder))
    return load_artifact(folder)


def logits_of(policy: Policy, text: str) -> torch.Tensor:
    ids = torch.tensor([policy.tokenizer(text)["input_ids"]])
    return policy.forward(ids, torch.ones_like(ids))[0][0]


def state_after(base: LoadedModel, anchor: str, text: str, layer: int) -> torch.Tensor:
    """States of a text's own tokens after a layer of the Llama, read alone, block by block: [tokens, hidden]."""
    before, after = encode_after(base.tokenizer, anchor, text)
    llama = base.model.model
    ids = torch.tensor([before + after])
    with torch.no_grad():
        state = llama.embed_tokens(ids)
        rotary = llama.rotary_emb(state, torch.arange(ids.shape[1])[None])
        causal = torch.full((ids.shape[1], ids.shape[1]), torch.finfo(torch.float32).min).triu(1)[None, None]
        for block in llama.layers[: layer + 1]:
            state = block(state, attention_mask=causal, position_embeddings=rotary)
    return state[0, len(before) :]


def rest_of_llama(base: LoadedModel, state: torch.Tensor, layer: int) -> torch.Tensor:
    """Logits from the states after a layer: the blocks above it, the norm and the output layer."""
    llama = base.model.model
    rotary = llama.rotary_emb(state, torch.arange(state.shape[1])[None])
    causal = torch.full((state.shape[1], state.shape[1]), torch.finfo(torch.float32).min).triu(1)[None, None]
    with torch.no_grad():
        for block in llama.layers[layer + 1 :]:
            state = block(state, attention_mask=causal, position_embeddings=rotary)
        return base.model.lm_head(llama.norm(state))


def whole_state(base: LoadedModel, text: str, layer: int) -> torch.Tensor:
    """States of all tokens of a text after a layer, [1, tokens, hidden]."""
    ids = base.tokenizer(text)["input_ids"]
    llama = base.model.model
    with torch.no_grad():
        return llama(torch.tensor([ids]), output_hidden_states=True).hidden_states[layer + 1]


def encoded(base: LoadedModel, pairs: list[tuple[str, str]]) -> list[tuple[list[int], list[int]]]:
    return [encode_after(base.tokenizer, *pair) for pair in pairs]
