"""How far one policy's next-token distributions are from another's, when the two cannot be in memory together.

An edited model is often the base model with its weights changed in place. So the base's distributions are written to a
file before the edit, and read back row by row under the edited model.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import BinaryIO

import numpy as np
import torch

from bench.engine.batching import BATCH_BUDGET, in_batches, pad
from bench.errors import MissingError
from bench.policy import Policy

_TOKENS = 512
"""Tokens whose distributions are in memory at a time: 100 MB of single precision for 50,000 tokens of vocabulary."""
_Row = tuple[int, Sequence[int]]


class KeptDistributions:
    """The distributions of a policy after every token of some rows, in a file.

    It has 4 bytes for each token of the vocabulary after each token that is read.
    """

    def __init__(
        self, policy: Policy, rows: Sequence[Sequence[int]], file: BinaryIO, done: Callable[[int], object]
    ) -> None:
        """Write them.

        Args:
            policy: The policy.
            rows: Tokens to read, none of the rows empty.
            file: An empty file to write to and read from.
            done: Called with the number of rows finished since the last call.
        """
        self._rows, self._file = rows, file
        self._vocabulary = len(policy.tokenizer)
        self._starts = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
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
        size = len(self._rows[number]) * self._vocabulary
        self._file.seek(self._place(number))
        content = bytearray(self._file.read(4 * size))
        return torch.frombuffer(content, dtype=torch.float32).view(-1, self._vocabulary)


def _distributions(
    policy: Policy, rows: Sequence[Sequence[int]], done: Callable[[int], object]
) -> Iterator[tuple[int, torch.Tensor]]:
    """A row's number, and log-probabilities float32 [tokens, vocabulary] of what follows each of its tokens.

    They are over the tokens that the tokenizer has: a model may have room for more, which no text has.
    """
    vocabulary = len(policy.tokenizer)
    read = partial(_read, policy, vocabulary)
    most = min(_TOKENS, BATCH_BUDGET.tokens)
    for batch, found in in_batches(list(enumerate(rows)), read, _length, lambda _: 1, most=most):
        for (number, _), own in zip(batch, found, strict=True):
            yield number, own
        done(len(batch))


def _length(row: _Row) -> int:
    return len(row[1])


def _read(policy: Policy, vocabulary: int, batch: Sequence[_Row]) -> list[torch.Tensor]:
    tokens, mask = pad([row for _, row in batch], 0, "left", policy.device)
    logits, _ = policy.forward(tokens, mask)
    return [
        logits[place, -len(row) :, :vocabulary].float().log_softmax(-1).cpu() for place, (_, row) in enumerate(batch)
    ]
