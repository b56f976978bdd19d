"""What a policy is: the edited model as a function from tokens and cache to next-token logits and cache.

Everything is measured through this function, and through the choice of a policy that draws several continuations for
one, so that a fine-tuned model, a decoding-time ensemble, a steered model and an edited weight stand in one table.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from bench.engine.architecture import attention_window
from bench.engine.cache import buffered
from bench.engine.tokens import context_length, end_tokens


class Cache(Protocol):
    """Keys and values of what a policy has read, one row a sequence; an ensemble's holds one for each of its models."""

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat every row `repeats` times, in place: row i becomes rows i * repeats to (i + 1) * repeats - 1."""

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep the rows `indices` (int64, shape [rows]), in that order, in place; a row may be named repeatedly."""


@dataclass
class LoadedModel:
    """The base model in memory.

    Attributes:
        model: The model, in evaluation mode, all parameters frozen.
        tokenizer: Its tokenizer, with a pad token.
        id: As asked for: an asset's name, a hub id, a path.
        sha256: Hash of its content.
        unedited: The model without the edits of other methods, where `model` has some (see `bench.run.stack`): what was
            trained to be a model of its own is read on this one. None where `model` has none.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    id: str
    sha256: str
    unedited: PreTrainedModel | None = None


class Policy(ABC):
    """An edited language model.

    Attributes:
        tokenizer: Text to tokens and back; the base model's.
        device: Where `forward` takes its tensors.
        max_length: Longest sequence in tokens that the model was made for.
        window: Columns up to which a row may have padding between its tokens. In a wider row padding may stand before
            and after them alone: a window of attention counts columns, whatever stands in them. 0, which is right for
            any model: never between them.
        readings: Models that read each token, every one with keys and values of its own.
        truncates: Whether it chooses itself which tokens may be sampled (DExperts: the base model's nucleus); then the
            decoding's `top_k` and `top_p` are not applied on top, but for a `top_k` of 1.
        draws: Continuations that are drawn for each that is asked for; of more than one, `choose` says which stays.
    """

    tokenizer: PreTrainedTokenizerBase
    device: torch.device
    max_length: int
    window: int = 0
    readings: int = 1
    truncates: bool = False
    draws: int = 1

    @abstractmethod
    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        cache: Cache | None = None,
        logits_to_keep: int = 0,
        *,
        sampling: bool = False,
    ) -> tuple[torch.Tensor, Cache]:
        """Read tokens, return logits and the cache that now holds these tokens as well.

        Args:
            input_ids: New tokens, int64 [rows, new].
            attention_mask: 1 for tokens, 0 for padding, int64 [rows, read before + new]; a row's tokens are those
                under a 1, in order: padding does not move them. It may stand before a row's first new token too, in
                rows of at most `window` columns.
            cache: What was read before, or None; it may be changed in place.
            logits_to_keep: How many last positions to return logits for; 0 for all.
            sampling: Whether tokens will be sampled from these logits: a policy that `truncates` then gives -inf to
                those that may not be. A likelihood is the untruncated distribution's, as the base model's own is.

        Returns:
            Unnormalised log-probabilities of the next token, [rows, kept, vocabulary], and the cache.
        """

    def choose(self, groups: Sequence[Sequence[str]]) -> list[int]:
        """Which of `draws` continuations of a prompt stays, from 0, in each of some groups of them."""
        return [0 for _ in groups]

    @property
    def end_tokens(self) -> frozenset[int]:
        """The tokens that end a text; a policy around another one has that one's."""
        return end_tokens(self.tokenizer)

    def not_exportable(self) -> str | None:
        """Why this policy cannot be written as plain weights, or None where it can."""
        return "its logits are not those of one set of weights"


class HFPolicy(Policy):
    """A policy that is one causal language model of `transformers`, with whatever adapter it carries."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        """Wrap a model.

        Args:
            model: A causal language model (or a PEFT model around one).
            tokenizer: Its tokenizer.
        """
        self.model = model
        self.tokenizer = tokenizer
        self.device = model.device
        self.max_length = context_length(model)
        self.window = attention_window(model.config)

    @property
    def end_tokens(self) -> frozenset[int]:
        """The tokens that end a text: the tokenizer's and those that the model's configurations name."""
        return end_tokens(self.tokenizer, self.model)

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
        del sampling  # every token may be
        positions = (attention_mask.cumsum(-1) - 1).clamp(min=0)[:, -input_ids.shape[1] :]
        output: Any = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=logits_to_keep,
        )
        read = output.past_key_values
        return output.logits[:, -logits_to_keep:], buffered(read) if cache is None else read

    def not_exportable(self) -> str | None:  # noqa: D102
        return None

    def plain(self) -> PreTrainedModel:
        """The policy as one set of weights: its own model, or another that says the same."""
        return self.model


def one_model(policy: Policy) -> PreTrainedModel | None:
    """The model that a policy is, with whatever it wears; None where its logits are more than that model's own."""
    if isinstance(policy, HFPolicy) and type(policy).forward is HFPolicy.forward:
        return policy.model
    return None
