"""The token that begins a text, and a row of tokens after a prefix."""

from collections.abc import Sequence

import torch
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


def begin_column(
    tokenizer: PreTrainedTokenizerBase, ids: torch.Tensor, mask: torch.Tensor, *, by_itself: bool
) -> torch.Tensor:
    """The column of each row's begin token that a prefix takes the place of, or -1, int64 [rows].

    Args:
        tokenizer: The base model's.
        ids: Tokens of rows of which nothing is read yet, int64 [rows, columns].
        mask: 1 for tokens, 0 for padding, [rows, columns].
        by_itself: Whether the tokenizer puts a begin token before every text; else one that stands alone is meant.
    """
    first = mask.argmax(-1)
    begins = ids.gather(1, first[:, None])[:, 0] == first_token(tokenizer)
    if not by_itself:
        begins &= mask.sum(-1) == 1
    return torch.where(begins, first, -1)
