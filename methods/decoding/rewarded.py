"""A model to whose logits a reward of each next token is added."""

from collections.abc import Callable

import torch

from bench.engine.sampling import most_likely
from bench.policy import Cache, HFPolicy, LoadedModel
from methods.anatomy.layers import before
from methods.anatomy.output import output_layer

RewardOf = Callable[[torch.Tensor], torch.Tensor]
"""From what the output layer is given, [rows, kept, hidden], to rewards, float32 [rows, kept, vocabulary]."""


class RewardedPolicy(HFPolicy):
    """The base model, rewarded by what its own output layer is given."""

    def __init__(self, base: LoadedModel, reward: RewardOf, beta: float, top_k: int) -> None:
        """Take the model and the reward.

        Args:
            base: The model.
            reward: Rewards of all next tokens; new tensors, which may be changed.
            beta: Factor on them.
            top_k: When sampling, other than the so many most likely tokens of the base model get -inf; 0 for none.
        """
        super().__init__(base.model, base.tokenizer)
        self._layer, self._reward, self._beta, self._top_k = output_layer(base), reward, beta, top_k
        self.truncates = top_k > 0

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
        given: list[torch.Tensor] = []
        with before(self._layer, given.append):
            logits, read = super().forward(input_ids, attention_mask, cache, logits_to_keep)
        mixed = logits + self._reward(given[0][:, -logits_to_keep:]).mul_(self._beta)
        if sampling and self._top_k:
            kept = most_likely(logits.flatten(0, -2), min(self._top_k, logits.shape[-1]))[1]
            allowed = torch.zeros_like(logits, dtype=torch.bool).flatten(0, -2).scatter_(-1, kept, value=True)
            mixed = mixed.masked_fill_(~allowed.view(logits.shape), -torch.inf)
        return mixed, read

    def not_exportable(self) -> str | None:  # noqa: D102
        return "it adds a reward to the logits while decoding"
