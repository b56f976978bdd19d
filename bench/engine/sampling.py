"""Exact top-k, nucleus and temperature sampling from given random numbers."""

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray

from bench.errors import MissingError
from bench.spec import Decoding

_FIRST_WIDTH = 256


def uniforms(seed: int, prompt_id: str, sample: int, length: int) -> NDArray[np.float64]:
    """The random stream of one (prompt, sample): numbers in [0, 1), shape [length].

    It depends on nothing else, so that a continuation is the same whatever it is batched with.
    """
    digest = hashlib.sha256(f"{seed}\n{prompt_id}\n{sample}".encode()).digest()
    generator = np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))
    return generator.random(length)


def sample(logits: torch.Tensor, uniform: torch.Tensor, decoding: Decoding) -> torch.Tensor:
    """Draw one token a row by inverting the distribution function at `uniform`.

    As in `transformers`, temperature comes first, then `top_k`, then the nucleus: the smallest set of most likely
    tokens whose mass reaches `top_p` (Holtzman et al., 2020, arXiv 1904.09751).

    Args:
        logits: [rows, vocabulary].
        uniform: Numbers in [0, 1), [rows].
        decoding: `temperature`, `top_k` and `top_p` are used.

    Returns:
        Tokens, int64 [rows].
    """
    scaled = logits.float() / decoding.temperature
    if decoding.top_k:
        scaled, tokens = scaled.topk(min(decoding.top_k, scaled.shape[-1]), dim=-1)
        return tokens.gather(-1, _nucleus(scaled, uniform, decoding.top_p)[:, None])[:, 0]
    return _nucleus(scaled, uniform, decoding.top_p)


def _nucleus(scaled: torch.Tensor, uniform: torch.Tensor, top_p: float) -> torch.Tensor:
    """Positions drawn from each row's nucleus, [rows].

    Only the most likely tokens are sorted out, ever more of them for the rows where they do not hold `top_p` yet: the
    result is exact without sorting the vocabulary.
    """
    vocabulary = scaled.shape[-1]
    if top_p >= 1:
        mass = torch.softmax(scaled.double(), -1).cumsum(-1)
        _refuse_nan(mass[:, -1])
        return _invert(mass, uniform * mass[:, -1])
    normaliser = scaled.logsumexp(-1, keepdim=True)
    _refuse_nan(normaliser)
    drawn = torch.empty(len(scaled), dtype=torch.int64, device=scaled.device)
    open_rows = torch.arange(len(scaled), device=scaled.device)
    width = min(_FIRST_WIDTH, vocabulary)
    while len(open_rows):
        top, tokens = scaled[open_rows].topk(width, dim=-1)
        probability = (top - normaliser[open_rows]).double().exp()
        mass = probability.cumsum(-1)
        full = mass[:, -1] >= top_p if width < vocabulary else torch.ones(len(mass), dtype=torch.bool)
        kept = (mass - probability < top_p)[full]
        held = torch.where(kept, probability[full], 0.0).cumsum(-1)
        position = _invert(held, uniform[open_rows][full] * held[:, -1])
        drawn[open_rows[full]] = tokens[full].gather(-1, position[:, None])[:, 0]
        open_rows = open_rows[~full]
        width = min(width * 8, vocabulary)
    return drawn


def _refuse_nan(values: torch.Tensor) -> None:
    """A model whose logits are no numbers has no next token: it must not pass for a clean one."""
    if not values.isfinite().all():
        raise MissingError("the model's logits are not numbers", mend="lower the strength, or use dtype=float32")


def _invert(mass: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """First position of each row whose cumulative mass exceeds `target` (rounding never leaves the support)."""
    position = torch.searchsorted(mass, target[:, None].to(mass.dtype), right=True)[:, 0]
    last = torch.searchsorted(mass, mass[:, -1:].contiguous())[:, 0]
    return torch.minimum(position, last)
