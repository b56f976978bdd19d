"""Exact top-k, nucleus and temperature sampling from given random numbers."""

import hashlib
import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from bench.engine.logits import not_numbers
from bench.engine.profile import profile_of
from bench.spec import Decoding

_WIDTHS = (64, 512, 4096)  # how many of the most likely tokens are looked at, one after the other, before all are
_SMALLEST_GROUP = 8  # neighbours whose maximum stands for them in the search for the most likely: fewer save nothing
_NEARLY_ALL = 0.9999  # probabilities in float32 add up to more than this
UNDRAWN = -1
"""Stands for a token where a row's logits are not numbers. Devices that work in one pass return it."""


def stream(seed: int, prompt_id: str, sample: int) -> int:
    """The number of the random stream of one (prompt, sample), below 2^128; it depends on nothing else."""
    digest = hashlib.sha256(f"{seed}\n{prompt_id}\n{sample}".encode()).digest()
    return int.from_bytes(digest[:16], "little")


def uniforms(seed: int, prompt_id: str, sample: int, length: int) -> NDArray[np.float64]:
    """The random stream of one (prompt, sample): numbers in [0, 1), shape [length].

    As it depends on nothing else, a continuation is the same whatever it is batched with.
    """
    return np.random.Generator(np.random.Philox(key=stream(seed, prompt_id, sample))).random(length)


def sample(logits: torch.Tensor, uniform: torch.Tensor, decoding: Decoding) -> torch.Tensor:
    """Draw one token a row by inverting the distribution function at `uniform`.

    As in `transformers`, temperature comes first, then `top_k`, then the nucleus: the smallest set of most likely
    tokens whose mass reaches `top_p` (Holtzman et al., 2020, arXiv 1904.09751).

    Args:
        logits: [rows, vocabulary].
        uniform: Numbers in [0, 1), [rows].
        decoding: `temperature`, `top_k` and `top_p` are used.

    Returns:
        Tokens, int64 [rows]. A device that works in one pass (see `bench.engine.profile`) returns `UNDRAWN` for a row
        whose logits are not numbers; `refuse_undrawn` then raises the error.

    Raises:
        MissingError: the logits are not numbers, and the device does not work in one pass.
    """
    profile = profile_of(logits.device)
    draw = _sample_at_once if profile.one_pass else _sample_block
    blocks = zip(logits.split(profile.sample_rows), uniform.split(profile.sample_rows), strict=True)
    return torch.cat([draw(block.float(), numbers, decoding) for block, numbers in blocks])


def likeliest(logits: torch.Tensor) -> torch.Tensor:
    """The likeliest token of each row [rows, vocabulary]; `UNDRAWN` where the logits are not numbers.

    A NaN counts as the largest of all there, and its index would pass for a token.
    """
    tokens = logits.argmax(-1)
    return tokens.where(logits.gather(-1, tokens[:, None])[:, 0].isfinite(), UNDRAWN)


def refuse_undrawn(tokens: Sequence[int]) -> None:
    """Refuse to go on where a row has drawn none.

    Raises:
        MissingError: a row's logits are not numbers.
    """
    if min(tokens, default=0) == UNDRAWN:
        raise not_numbers()


def _sample_block(logits: torch.Tensor, uniform: torch.Tensor, decoding: Decoding) -> torch.Tensor:
    """What `sample` does, for a few rows."""
    scaled = logits / decoding.temperature if decoding.temperature != 1 else logits
    if decoding.top_k:
        scaled, tokens = scaled.topk(min(decoding.top_k, scaled.shape[-1]), dim=-1)
        return tokens.gather(-1, _nucleus(scaled, uniform, decoding.top_p)[:, None])[:, 0]
    return _nucleus(scaled, uniform, decoding.top_p)


def _sample_at_once(logits: torch.Tensor, uniform: torch.Tensor, decoding: Decoding) -> torch.Tensor:
    """The same without asking the device for anything that it has found: what is not kept has probability 0."""
    scaled = logits / decoding.temperature if decoding.temperature != 1 else logits
    tokens = None
    if decoding.top_k:
        scaled, tokens = scaled.topk(min(decoding.top_k, scaled.shape[-1]), dim=-1)
    elif decoding.top_p < 1:
        scaled, tokens = scaled.sort(dim=-1, descending=True)
    normaliser = scaled.logsumexp(-1, keepdim=True)
    if decoding.top_p < 1:
        probability = (scaled - normaliser).double().exp()
        mass = torch.where(probability.cumsum(-1) - probability < decoding.top_p, probability, 0.0).cumsum(-1)
    else:
        mass = torch.softmax(scaled.double(), -1).cumsum(-1)
    position = _invert(mass, uniform * mass[:, -1]).clamp(max=scaled.shape[-1] - 1)  # NaN is beyond all
    drawn = position if tokens is None else tokens.gather(-1, position[:, None])[:, 0]
    return drawn.where(normaliser[:, 0].isfinite(), UNDRAWN)


def _nucleus(scaled: torch.Tensor, uniform: torch.Tensor, top_p: float) -> torch.Tensor:
    """Positions drawn from each row's nucleus, [rows].

    Only the most likely tokens are sorted out, ever more of them for the rows where they do not decide the draw yet:
    the result is exact without sorting the vocabulary, and mostly without seeing the whole nucleus. Its mass is at
    least `top_p`, and exceeds it by less than its least likely token's: where the draw is the same at both ends, it is
    the draw.
    """
    vocabulary = scaled.shape[-1]
    if top_p >= 1:
        mass = torch.softmax(scaled.double(), -1).cumsum(-1)
        _refuse_nan(mass[:, -1])
        return _invert(mass, uniform * mass[:, -1])
    normaliser = scaled.logsumexp(-1, keepdim=True)
    _refuse_nan(normaliser)
    drawn = torch.empty(len(scaled), dtype=torch.int64, device=scaled.device)
    rows = torch.arange(len(scaled), device=scaled.device)
    for width in widths(vocabulary):
        top, tokens = most_likely(scaled, width)
        probability = (top - normaliser).double().exp()
        mass = probability.cumsum(-1)
        kept = torch.where(mass - probability < top_p, probability, 0.0).cumsum(-1)
        held = kept[:, -1]
        whole = (mass[:, -1] >= top_p) | (width == vocabulary)
        least = torch.where(whole, held, min(top_p, _NEARLY_ALL))
        most = torch.where(whole, held, top_p + probability[:, -1])
        position = _invert(kept, uniform * least)
        known = whole | ((uniform * most < held) & (position == _invert(kept, uniform * most)))
        drawn[rows[known]] = tokens.gather(-1, position[:, None])[:, 0][known]
        if known.all():
            break
        rows, scaled, normaliser, uniform = (one[~known] for one in (rows, scaled, normaliser, uniform))
    return drawn


def widths(places: int) -> Iterator[int]:
    """How many of the most likely to look at, ever more of them, and at last all."""
    yield from (one for one in _WIDTHS if one < places)
    yield places


def most_likely(scores: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The `count` highest scores of each row in falling order, and their places: `topk`, sooner on long rows.

    The highest `count` lie in the `count` groups of neighbours whose maxima are the highest, so that few are sorted.

    Args:
        scores: [rows, places].
        count: At most the number of places.

    Returns:
        Scores and int64 places, both [rows, count].
    """
    rows, places = scores.shape
    size = 1 << round(math.log2(max(1, places / count)) / 2)  # as many groups to search as places in those chosen
    if size < _SMALLEST_GROUP:
        highest = scores.topk(count, dim=-1)
        return highest.values, highest.indices
    whole = torch.nn.functional.pad(scores, (0, -places % size), value=-torch.inf) if places % size else scores
    groups = whole.view(rows, -1, size)
    chosen = groups.amax(-1).topk(count, dim=-1).indices
    held = groups.gather(1, chosen[..., None].expand(-1, -1, size)).flatten(1)
    highest = held.topk(count, dim=-1)
    group = chosen.gather(-1, highest.indices // size)
    return highest.values, group * size + highest.indices % size


def _refuse_nan(values: torch.Tensor) -> None:
    """A model whose logits are no numbers has no next token: it must not pass for a clean one."""
    if not values.isfinite().all():
        raise not_numbers()


def _invert(mass: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """First position of each row whose cumulative mass exceeds `target` (rounding never leaves the support)."""
    position = torch.searchsorted(mass, target[:, None].to(mass.dtype), right=True)[:, 0]
    last = torch.searchsorted(mass, mass[:, -1:].contiguous())[:, 0]
    return torch.minimum(position, last)
