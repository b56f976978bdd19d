"""What each attention head puts out at the sets' texts, and linear probes that tell good texts from bad by it."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial

import torch

from bench.policy import LoadedModel
from bench.progress import Progress
from methods.anatomy.attention import attention_outputs, heads_of
from methods.anatomy.layers import before_each
from methods.representation.states import Note, Position, PromptAndText, TextStates, text_states

_HALVINGS = 12  # of a step that makes the loss larger
_ENOUGH = 1e-8  # slope of the loss, over the number of texts, at which a probe is found


def head_outputs(
    base: LoadedModel, pairs: Sequence[PromptAndText], position: Position, progress: Progress, method: str
) -> TextStates:
    """What the output projection of each layer's attention reads: [texts, layers, heads * size], head after head."""
    name = f"'{base.id}'"
    outputs = attention_outputs(base.model, name, method)
    heads_of(base.model, outputs, name)

    def watch(note: Note) -> AbstractContextManager[None]:
        return before_each((module, partial(note, number)) for number, module in enumerate(outputs))

    return text_states(base, pairs, position, progress, len(outputs), watch)


def logistic(features: torch.Tensor, good: torch.Tensor, ridge: float = 1.0, steps: int = 100) -> torch.Tensor:
    """Logistic regression, many at once, by Newton's method: the log loss summed over texts plus ridge / 2 |w|^2.

    Args:
        features: Float64 [probes, texts, size].
        good: 1 for good texts, 0 for bad ones, float64 [texts].
        ridge: Weight of the squared weights, the constant left out; 1 is scikit-learn's C = 1.
        steps: At most so many.

    Returns:
        Weights and, last, the constant, float64 [probes, size + 1].
    """
    inputs = with_constant(features)
    penalty = ridge * torch.ones(inputs.shape[-1], dtype=inputs.dtype)
    penalty[-1] = 0.0
    found = inputs.new_zeros(len(inputs), inputs.shape[-1])

    def loss(weights: torch.Tensor) -> torch.Tensor:
        score = (inputs @ weights[..., None])[..., 0]
        fit = (torch.nn.functional.softplus(score) - good * score).sum(-1)
        return fit + (penalty * weights * weights).sum(-1) / 2

    for _ in range(steps):
        probability = (inputs @ found[..., None])[..., 0].sigmoid()
        slope = ((probability - good)[..., None] * inputs).sum(1) + penalty * found
        if float(slope.abs().max()) < _ENOUGH * len(good):
            break
        weighed = (probability * (1 - probability)).clamp(min=1e-12)[..., None] * inputs
        step = torch.linalg.solve(inputs.mT @ weighed + penalty.diag(), slope)
        now, share = loss(found), inputs.new_ones(len(inputs), 1)
        for _ in range(_HALVINGS):
            share = torch.where((loss(found - share * step) > now)[:, None], share / 2, share)
        found = found - share * step
    return found


def with_constant(features: torch.Tensor) -> torch.Tensor:
    """Features with a 1 after the last."""
    return torch.cat([features, torch.ones_like(features[..., :1])], -1)


def balanced_accuracy(told: torch.Tensor, good: torch.Tensor) -> torch.Tensor:
    """The mean of the shares of good and of bad texts that are told right.

    Args:
        told: Whether each text is called good, bool [..., texts].
        good: Whether it is, bool [texts]; both kinds are there.

    Returns:
        Float64 [...].
    """
    right = (told == good).double()
    return (right[..., good].mean(-1) + right[..., ~good].mean(-1)) / 2
