"""An edit of hidden states that is made only where what was read so far is alike to something."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from bench.policy import Cache, HFPolicy
from methods.anatomy.layers import after
from methods.decoding.cache import JointCache, Rows, parts_of
from methods.representation.states import unit


class GatedPolicy(HFPolicy):
    """A model in which a vector is added after a layer, at positions whose text so far meets a condition.

    The condition is met at a position where the tokens of the row up to it have a mean cosine with a vector, in their
    states after a layer, that is above a threshold. So it depends on what was read before, however it was batched.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, condition: torch.Tensor, threshold: float
    ) -> None:
        """Wrap a model.

        Args:
            model: The model.
            tokenizer: Its tokenizer.
            condition: The vector that states are compared with, of length 1, float32 [hidden].
            threshold: The mean cosine above which the condition is met.
        """
        super().__init__(model, tokenizer)
        self._condition, self._threshold = condition, threshold
        self._mask = self._before = self._sums = torch.zeros(0)

    @contextmanager
    def gated(self, asked: nn.Module, changed: nn.Module, vector: torch.Tensor) -> Iterator[None]:
        """Add a vector after one layer where the condition is met after another, which comes no later."""

        def steer(state: torch.Tensor) -> torch.Tensor:
            met = self._sums[..., 0] > self._threshold * self._sums[..., 1]
            return state + (met[..., None] * vector).to(state.dtype)

        with after([(asked, self._look), (changed, steer)]):
            yield

    def _look(self, state: torch.Tensor) -> None:
        """Sum of the cosines up to each position, and the number of tokens, float32 [rows, new, 2]."""
        counted = torch.stack([unit(state) @ self._condition, torch.ones_like(self._mask)], -1) * self._mask[..., None]
        self._sums = self._before[:, None] + counted.cumsum(1)

    @torch.inference_mode()
    def forward(  # noqa: D102
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        cache: Cache | None = None,
        logits_to_keep: int = 0,
        *,
        sampling: bool = False,
    ) -> tuple[torch.Tensor, Cache]:
        parts = parts_of(cache)
        self._mask = attention_mask[:, -input_ids.shape[1] :].float()
        self._before = cast("Rows", parts[1]).values if parts else self._mask.new_zeros(len(input_ids), 2)
        inner = parts[0] if parts else None
        logits, inner = super().forward(input_ids, attention_mask, inner, logits_to_keep, sampling=sampling)
        return logits, JointCache([inner, Rows(self._sums[:, -1])])

    def not_exportable(self) -> str | None:
        """It is decided while reading."""
        return "what it adds depends on what was read"
