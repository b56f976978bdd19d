"""The difference between good and bad texts after each layer, and what is added of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from bench.policy import LoadedModel
from bench.progress import Progress
from bench.sets import ContrastiveSets
from methods.learning.batches import Item, draw_items
from methods.learning.options import Budget
from methods.representation.options import TextsConfig, VectorConfig
from methods.representation.states import differences, layer_states, pairs_of

Vectors = Mapping[str, torch.Tensor]
"""`vectors` [layers, hidden] and `lengths` [layers], the mean length of a token's state after each layer, float32."""


def draw(sets: ContrastiveSets, config: TextsConfig, seed: int) -> list[Item]:
    """The anchors and texts that are read.

    Raises:
        MissingError: no set has both positives and negatives.
    """
    budget = Budget(positives=config.positives, negatives=config.negatives, steps=config.anchors, anchors_per_step=1)
    return draw_items(sets, budget, seed)


def layer_vectors(
    base: LoadedModel, items: Sequence[Item], config: TextsConfig, progress: Progress
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Mean over anchors of (mean state of positives - mean state of negatives), and figures about the making."""
    pairs = pairs_of(items)
    found = layer_states(base, pairs, config.position, progress)
    vectors, lengths = differences(items, found.state).mean(0), found.length.mean(0)
    figures = {
        "texts": len(pairs),
        "trained_tokens": found.tokens,
        "trainable_parameters": 0,
        "relative_lengths": [round(value, 4) for value in (vectors.norm(dim=-1) / lengths).tolist()],
    }
    return {"vectors": vectors.float(), "lengths": lengths.float()}, figures


def added(kept: Vectors, layer: int, config: VectorConfig) -> torch.Tensor:
    """What is added after a layer, float32 [hidden]."""
    vector, length = kept["vectors"][layer], kept["lengths"][layer]
    if config.normalise:
        vector = vector * (length / vector.norm().clamp(min=1e-12))
    return config.multiplier * vector
