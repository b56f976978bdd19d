"""How far one policy's next-token distributions are from another's, when the two cannot be in memory together.

An edited model is often the base model with its weights changed in place. So the base's distributions are written to a
file before the edit, and read back row by row under the edited model.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby
from typing import BinaryIO, NamedTuple

import numpy as np
import torch

from bench.engine.batching import BATCH_BUDGET, in_batches, pad
from bench.engine.tokens import refuse_beyond
from bench.errors import MissingError
from bench.policy import Policy

_TOKENS = 512
"""Tokens whose distributions are in memory at a time: 100 MB of single precision for 50,000 tokens of vocabulary."""


class Row(NamedTuple):
    """Tokens to read.

    Attributes:
        tokens: They, at least one.
        begins: Whether the first is the token that begins a text. It is read by itself, as before every likelihood of
            a text: a policy that puts a prefix in its place does not know it elsewhere, since the first token of a
            chat template may be the same.
    """

    tokens: Sequence[int]
    begins: bool = False


_Numbered = tuple[int, Row]


class KeptDistributions:
    """The distributions of a policy after every token of some rows, in a file.

    It has 4 bytes for each token of the vocabulary after each token that is read.
    """

    def __init__(self, policy: Policy, rows: Sequence[Row], file: BinaryIO, done: Callable[[int], object]) -> None:
        """Write them.

        Args:
            policy: The policy.
            rows: What to read.
            file: An empty file to write to and read from.
            done: Called with the number of rows finished since the last call.
        """
        self._rows, self._file = rows, file
        self._vocabulary = len(policy.tokenizer)
        self._starts = np.concatenate([[0], np.cumsum([len(row.tokens) for row in rows])])
        for number, found in _distributions(policy, rows, done):
            file.seek(self._place(number))
            file.write(found.numpy().tobytes())

    def divergence(self, policy: Policy, done: Callable[[int], object]) -> list[list[float]]:
        """KL(kept || policy) in nats after every token of each row.

        Raises:
            MissingError: it is no finite number: the policy gives a token no probability at all that the kept one has.
        """
        found: dict[int, list[float]] = {}
        for number, theirs in _distributions(policy, self._rows, done):
            kept = self._kept(number)
            found[number] = (kept.exp() * (kept - theirs)).sum(-1).clamp(min=0).tolist()
            if not np.isfinite(found[number]).all():
                raise MissingError(
                    "KL(base || edited) is not finite: the edited model gives some token no probability",
                    mend="lower the strength, or leave the task 'divergence' out",
                )
        return [found[number] for number in range(len(self._rows))]

    def _place(self, number: int) -> int:
        return int(self._starts[number]) * self._vocabulary * 4

    def _kept(self, number: int) -> torch.Tensor:
        size = len(self._rows[number].tokens) * self._vocabulary
        self._file.seek(self._place(number))
        content = bytearray(self._file.read(4 * size))
        return torch.frombuffer(content, dtype=torch.float32).view(-1, self._vocabulary)


def _distributions(
    policy: Policy, rows: Sequence[Row], done: Callable[[int], object]
) -> Iterator[tuple[int, torch.Tensor]]:
    """A row's number, and log-probabilities float32 [tokens, vocabulary] of what follows each of its tokens.

    They are over the tokens that the tokenizer has: a model may have room for more, which no text has.

    Raises:
        UsageError: a row is longer than what the policy reads.
    """
    longest = max((len(row.tokens) for row in rows), default=0)
    refuse_beyond(policy.max_length, longest, "a text of 'divergence'", "lower the task's max_tokens")
    read = partial(_read, policy, len(policy.tokenizer))
    most = min(_TOKENS, BATCH_BUDGET.tokens)
    for _, alike in groupby(sorted(enumerate(rows), key=_begins), key=_begins):
        for batch, found in in_batches(list(alike), read, _length, lambda _: 1, most=most):
            for (number, _), own in zip(batch, found, strict=True):
                yield number, own
            done(len(batch))


def _begins(numbered: _Numbered) -> bool:
    return numbered[1].begins


def _length(numbered: _Numbered) -> int:
    return len(numbered[1].tokens)


def _read(policy: Policy, vocabulary: int, batch: Sequence[_Numbered]) -> list[torch.Tensor]:
    """What follows each token of rows that all begin a text, or of which none does."""
    rows = [list(row.tokens) for _, row in batch]
    parts = [[row[:1] for row in rows], [row[1:] for row in rows]] if _begins(batch[0]) else [rows]
    mask, cache, logits = torch.empty(len(rows), 0, dtype=torch.int64, device=policy.device), None, []
    for part in filter(any, parts):
        tokens, present = pad(part, 0, "right", policy.device)
        mask = torch.cat([mask, present], -1)
        read, cache = policy.forward(tokens, mask, cache)
        logits.append(read[..., :vocabulary].float().log_softmax(-1).cpu())
    found = torch.cat(logits, 1)
    return [found[place, : len(row)] for place, row in enumerate(rows)]
