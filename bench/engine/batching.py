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
class BatchBudget:
    """How large batches may be in this process.

    Attributes:
        tokens: Tokens, padding included, that one batch holds.
        rule: Where that comes from: `constant`, `memory` (of the device, see `bench.engine.memory`), or `asked`.
    """

    tokens: int = BATCH_TOKENS
    rule: str = "constant"

    def room(self, readings: int) -> int:
        """Tokens of a batch that so many models read, each with keys and values of its own.

        Where memory is what it follows from, they share it.
        """
        return max(1, self.tokens // readings) if self.rule == "memory" else self.tokens


BATCH_BUDGET = BatchBudget()


def in_batches(
    items: Sequence[T],
    work: Callable[[list[T]], R],
    length: Callable[[T], int],
    rows: Callable[[T], int],
    *,
    most: int | None = None,
    order: Callable[[T], int] | None = None,
    fixed: int | None = None,
    halve: Callable[[T], list[T]] | None = None,
) -> Iterator[tuple[list[T], R]]:
    """Do some work batch by batch; where memory gives out, batches are half as large from there on, and for good.

    Args:
        items: What to work on; see `batches`.
        work: Does a batch.
        length: Tokens of an item's longest row.
        rows: Rows that an item takes.
        most: Tokens of a batch; None for `BATCH_BUDGET`.
        order: See `batches`.
        fixed: See `batches`.
        halve: Parts of an item that is too large by itself, where it can be parted.

    Yields:
        Each batch and what came of it.

    Raises:
        MissingError: memory does not suffice for a single item.
    """
    most = most or BATCH_BUDGET.tokens
    queue = deque(batches(items, length, rows, most, order, fixed))
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
        most = max(1, sum(map(rows, batch)) * max(map(length, batch)) // 2)
        BATCH_BUDGET.tokens = min(BATCH_BUDGET.tokens, most)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        left = [item for one in (batch, *queue) for item in one]
        queue = deque(batches(left, length, rows, most, order, fixed))


def _out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def batches(
    items: Sequence[T],
    length: Callable[[T], int],
    rows: Callable[[T], int],
    most: int = BATCH_TOKENS,
    order: Callable[[T], int] | None = None,
    fixed: int | None = None,
) -> Iterator[list[T]]:
    """Cut items into batches of similar length that hold at most `most` tokens (or a single item).

    Args:
        items: The work, in any order; it comes back longest first, so that a lack of memory shows at once.
        length: Tokens of an item's longest row.
        rows: Rows that an item takes.
        most: BatchBudget of tokens in a batch, counted as its rows times its longest row.
        order: What is to be alike in a batch, where it is not the length itself; the largest comes first.
        fixed: What a batch costs whatever it holds, in tokens: batches are cut where that costs less than the padding
            that it saves. None fills one batch after the other.
    """
    alike = order or length
    left = sorted(items, key=alike, reverse=True)
    ends = _full(left, length, rows, most) if fixed is None else _cheapest(left, length, rows, most, alike, fixed)
    start = 0
    for end in ends:
        yield left[start:end]
        start = end


def _full(items: Sequence[T], length: Callable[[T], int], rows: Callable[[T], int], most: int) -> Iterator[int]:
    """Ends of batches that are filled one after the other."""
    start = 0
    while start < len(items):
        start = max(_fitting(items, start, length, rows, most))
        yield start


def _cheapest(
    items: Sequence[T],
    length: Callable[[T], int],
    rows: Callable[[T], int],
    most: int,
    alike: Callable[[T], int],
    fixed: int,
) -> Iterator[int]:
    """Ends of the batches whose padded tokens and fixed costs are least together, found from the last item back."""
    cost, end = [0] * (len(items) + 1), [0] * len(items)
    for start in reversed(range(len(items))):
        size = alike(items[start])
        cost[start], end[start] = min(
            ((stop - start) * size + fixed + cost[stop], stop) for stop in _fitting(items, start, length, rows, most)
        )
    start = 0
    while start < len(items):
        start = end[start]
        yield start


def _fitting(
    items: Sequence[T], start: int, length: Callable[[T], int], rows: Callable[[T], int], most: int
) -> Iterator[int]:
    """Where a batch that begins at `start` may end."""
    taken = longest = 0
    for place in range(start, len(items)):
        taken += rows(items[place])
        longest = max(longest, length(items[place]))
        if place > start and taken * longest > most:
            return
        yield place + 1


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
