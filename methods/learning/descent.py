"""Plain descent on a few tensors, for methods that learn something else than an adapter."""

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from bench.errors import MissingError
from bench.progress import Progress

T = TypeVar("T")


def descend(
    parameters: Sequence[torch.Tensor],
    lr: float,
    items: Sequence[T],
    share: int,
    loss: Callable[[Sequence[T]], tuple[torch.Tensor, int]],
    *,
    after_step: Callable[[], None] | None = None,
    progress: Progress,
    name: str,
) -> int:
    """Adam over the items, in order, so many a step.

    Args:
        parameters: What is learned; changed in place.
        lr: Learning rate.
        items: What is learned from.
        share: Items of one step.
        loss: From a step's items to the loss, 0-d, and the number of tokens learned from.
        after_step: Called without gradients after each step, to keep the parameters within bounds.
        progress: Where to report.
        name: What the bar says.

    Returns:
        The number of tokens learned from.

    Raises:
        MissingError: the loss is not a number.
    """
    optimizer = torch.optim.Adam(parameters, lr=lr)
    tokens = 0
    with progress.bar(name, len(items) // share, "steps") as bar:
        for start in range(0, len(items), share):
            value, seen = loss(items[start : start + share])
            if not math.isfinite(float(value.detach())):
                step = start // share + 1
                raise MissingError(f"the loss is not a number at step {step}", mend="lower the learning rate (lr)")
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            if after_step:
                with torch.no_grad():
                    after_step()
            tokens += seen
            bar.advance()
    return tokens
