"""How work is cut into batches."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

BATCH_TOKENS = 4096
"""Tokens, padding included, that one batch holds."""

T = TypeVar("T")


def batches(
    items: Sequence[T],
    length: Callable[[T], int],
    rows: Callable[[T], int],
    most: int = BATCH_TOKENS,
    order: Callable[[T], int] | None = None,
) -> Iterator[list[T]]:
    """Cut items into batches of similar length that hold at most `most` tokens (or a single item).

    Args:
        items: The work, in any order; it comes back longest first, so that a lack of memory shows at once.
        length: Tokens of an item's longest row.
        rows: Rows that an item takes.
        most: Limit of tokens in a batch, counted as its rows times its longest row.
        order: What is to be alike in a batch, where it is not the length itself; the largest comes first.
    """
    batch: list[T] = []
    taken = longest = 0
    for item in sorted(items, key=order or length, reverse=True):
        if batch and (taken + rows(item)) * max(longest, length(item)) > most:
            yield batch
            batch, taken, longest = [], 0, 0
        batch.append(item)
        taken += rows(item)
        longest = max(longest, length(item))
    if batch:
        yield batch


def pad(rows: Sequence[Sequence[int]], filler: int, side: str, device: torch.device) -> tuple[torch.Tensor, ...]:
    """Stack rows of tokens: (tokens, mask), both int64 [rows, longest], padded with `filler` on one side."""
    longest = max(map(len, rows))
    tokens, mask = [], []
    for row in rows:
        gap = longest - len(row)
        blank, text = [filler] * gap, list(row)
        tokens.append(blank + text if side == "left" else text + blank)
        mask.append([0] * gap + [1] * len(row) if side == "left" else [1] * len(row) + [0] * gap)
    return torch.tensor(tokens, device=device), torch.tensor(mask, device=device)
