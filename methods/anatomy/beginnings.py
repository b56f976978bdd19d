"""The token that begins a text, and a row of tokens after a prefix."""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from bench.engine.tokens import first_token


def after_prefix(tokenizer: PreTrainedTokenizerBase, prefix: Sequence[int], row: Sequence[int]) -> list[int]:
    """Tokens of a row after a prefix, as a policy after a prefix reads them."""
    begins = row[0] == first_token(tokenizer) and (begins_by_itself(tokenizer) or len(row) == 1)
    return [*prefix, *row[1 if begins else 0 :]]


def begins_by_itself(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the tokenizer puts the begin token before every text."""
    ids = tokenizer("a")["input_ids"]
    return bool(ids) and ids[0] == first_token(tokenizer)
