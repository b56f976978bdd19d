"""Caches of policies that read more than one sequence for each row."""

from collections.abc import Sequence

import torch

from bench.policy import Cache


class Rows:
    """A tensor with one entry a row that goes where the row's keys and values go."""

    def __init__(self, values: torch.Tensor) -> None:
        """Take the values, [rows, ...]."""
        self.values = values

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat every row, in place."""
        self.values = self.values.repeat_interleave(repeats, 0)

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep these rows, in this order, in place."""
        self.values = self.values[indices]


class JointCache:
    """The caches of several models that read the same rows."""

    def __init__(self, parts: Sequence[Cache]) -> None:
        """Take the caches, one for each model."""
        self.parts = list(parts)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat every row of every part, in place."""
        for part in self.parts:
            part.batch_repeat_interleave(repeats)

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep these rows of every part, in this order, in place."""
        for part in self.parts:
            part.batch_select_indices(indices)


def parts_of(cache: Cache | None) -> list[Cache] | None:
    """The parts of a joint cache that a policy gave out before, or None where nothing is read yet."""
    if cache is None:
        return None
    if not isinstance(cache, JointCache):
        raise TypeError(f"{type(cache).__name__} is no cache of this policy")
    return cache.parts
