"""A model of a published shape with random weights, made on the device: speed and memory do not look at the weights."""

from contextlib import ExitStack

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import MistralConfig, MistralForCausalLM, PreTrainedTokenizerFast

from bench.policy import LoadedModel

FULL = {
    "vocab_size": 32_000,
    "hidden_size": 4096,
    "intermediate_size": 14_336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
}
"""Mistral-7B's shape."""
TOY = {
    "vocab_size": 512,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
"""One that a processor does in no time."""
_SPECIAL = ("<unk>", "<s>", "</s>")


def made(shape: dict[str, int], device: str, dtype: torch.dtype, seed: int = 0) -> LoadedModel:
    """The model, frozen, with a tokenizer of which every word is a token."""
    config = MistralConfig(**shape, sliding_window=None, max_position_embeddings=4096, tie_word_embeddings=False)
    before = torch.get_default_dtype()
    with ExitStack() as stack:
        stack.callback(torch.set_default_dtype, before)
        torch.set_default_dtype(dtype)
        torch.manual_seed(seed)
        stack.enter_context(torch.device(device))
        model = MistralForCausalLM(config)
    model.requires_grad_(False)
    model.eval()
    model.generation_config.eos_token_id = None  # every row is of full length, ours and the peer's
    return LoadedModel(model, _words(shape["vocab_size"]), "a random model of Mistral's shape", "")


def _words(count: int) -> PreTrainedTokenizerFast:
    known = {word: number for number, word in enumerate([*_SPECIAL, *(f"w{n}" for n in range(count - len(_SPECIAL)))])}
    tokenizer = Tokenizer(models.WordLevel(known, unk_token=_SPECIAL[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token=_SPECIAL[0], bos_token=_SPECIAL[1], eos_token=_SPECIAL[2],
        pad_token=_SPECIAL[2],
    )  # fmt: skip
