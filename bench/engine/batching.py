"""How work is cut into batches."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from bench.errors import MissingError

BATCH_TOKENS = 8192
"""Tokens, padding included, that one batch holds, unless it is told otherwise or memory gives out."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass
class Limit:
    """How large batches may be in this process.

    Attributes:
        tokens: Tokens, padding included, that one batch holds.
    """

    tokens: int = BATCH_TOKENS


LIMIT = Limit()


def in_batches(
    items: Sequence[T],
    work: Callable[[list[T]], R],
    length: Callable[[T], int],
    rows: Callable[[T], int],
    *,
    most: int | None = None,
    order: Callable[[T], int] | None = None,
    halve: Callable[[T], list[T]] | None = None,
) -> Iterator[tuple[list[T], R]]:
    """Do some work batch by batch; where memory gives out, batches are half as large from there on, and for good.

    Args:
        items: What to work on; see `batches`.
        work: Does a batch.
        length: Tokens of an item's longest row.
        rows: Rows that an item takes.
        most: Tokens of a batch; None for `LIMIT`.
        order: See `batches`.
        halve: Parts of an item that is too large by itself, where it can be parted.

    Yields:
        Each batch and what came of it.

    Raises:
        MissingError: memory does not suffice for a single item.
    """
    most = most or LIMIT.tokens
    queue = deque(batches(items, length, rows, most, order))
    while queue:
        batch = queue.popleft()
        try:
            done = work(batch)
        except RuntimeError as error:
            if not _out_of_memory(error):
                raise
            if len(batch) == 1 and halve:
                batch = halve(batch[0])
            if len(batch) == 1:
                raise MissingError(
                    f"memory gives out at a single item of {rows(batch[0])} rows x {length(batch[0])} tokens",
                    mend="take fewer samples or shorter texts, or a smaller model",
                ) from error
        else:
            yield batch, done
            continue
        most = LIMIT.tokens = max(1, sum(map(rows, batch)) * max(map(length, batch)) // 2)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        left = [item for one in (batch, *queue) for item in one]
        queue = deque(batches(left, length, rows, most, order))


def _out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


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
