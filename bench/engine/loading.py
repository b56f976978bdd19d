"""What the neural scorers share: devices, quiet loading, lengths."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench.errors import UsageError

_NO_LIMIT = 1_000_000
"""A tokenizer that was given no length says 1e30."""
_OFFSET = 2
"""Positions that some models keep to themselves (RoBERTa)."""


def pick_device(device: str | None) -> str:
    """The device asked for, else CUDA where there is one, else the CPU.

    Raises:
        UsageError: there is no such device here.
    """
    import torch

    if device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError):
        raise UsageError(f"device '{device}' is not here", mend="say cpu, or cuda where torch has it") from None
    return str(device)


def length_limit(tokenizer: Any, config: Any) -> int:
    """The most tokens that a text may have; what is beyond is cut off."""
    limit = int(tokenizer.model_max_length)
    positions = getattr(config, "max_position_embeddings", None)
    return limit if limit < _NO_LIMIT or not positions else int(positions) - _OFFSET


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' bars and reports off stderr; what matters of them is checked after loading."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
