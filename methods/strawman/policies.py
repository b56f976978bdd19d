"""Policies that read as the base model does and sample something else: what is sampled has nothing to do with it."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import cast

import torch

from bench.engine.batching import pad
from bench.hashing import hash_json
from bench.policy import Cache, HFPolicy, Policy
from methods.decoding.cache import JointCache, Rows, parts_of

_NOTHING = -1  # no token: what stands in the place of padding
_WHY = "it samples what the model's weights do not say"

Texts = Callable[[Sequence[int]], Sequence[Sequence[int]]]
"""From a prompt's tokens to the texts (tokens) of which one is said after it, each as likely as any other."""


class StrawPolicy(Policy):
    """Likelihoods are the base model's; what is sampled is a subclass's own."""

    def __init__(self, inner: HFPolicy) -> None:
        """Take the base model."""
        self.inner, self.tokenizer, self.device = inner, inner.tokenizer, inner.device
        self.max_length, self.window = inner.max_length, inner.window

    @property
    def end_tokens(self) -> frozenset[int]:  # noqa: D102
        return self.inner.end_tokens

    def forward(  # noqa: D102
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        cache: Cache | None = None,
        logits_to_keep: int = 0,
        *,
        sampling: bool = False,
    ) -> tuple[torch.Tensor, Cache]:
        if not sampling:
            return self.inner.forward(input_ids, attention_mask, cache, logits_to_keep)
        if logits_to_keep != 1:
            raise ValueError("a straw man samples from the last position alone")
        return self._say(input_ids, attention_mask, cache)

    @abstractmethod
    def _say(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, cache: Cache | None
    ) -> tuple[torch.Tensor, Cache]:
        """`forward` where tokens are sampled: logits of the last position, [rows, 1, vocabulary], and the cache."""

    def not_exportable(self) -> str | None:  # noqa: D102
        return _WHY


class _Heard(Rows):
    """What each row has read, [rows, columns], and in how many of the columns its prompt stands."""

    def __init__(self, values: torch.Tensor, prompt: int) -> None:
        super().__init__(values)
        self.prompt = prompt


class SayingPolicy(StrawPolicy):
    """Says one of some texts after a prompt, and ends; the model is not read."""

    def __init__(self, inner: HFPolicy, texts: Texts) -> None:
        """Take the base model and what is said."""
        super().__init__(inner)
        self._texts = texts
        self._vocabulary = int(inner.model.config.get_text_config().vocab_size)
        self._end = min(inner.end_tokens)

    def _say(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, cache: Cache | None
    ) -> tuple[torch.Tensor, Cache]:
        heard = input_ids.masked_fill(attention_mask[:, -input_ids.shape[1] :] == 0, _NOTHING)
        before = cast("_Heard | None", cache)
        prompt = before.prompt if before else heard.shape[1]
        heard = torch.cat([before.values, heard], -1) if before else heard
        counts = torch.zeros((len(heard), 1, self._vocabulary), device=self.device)
        for row, line in zip(counts, heard.tolist(), strict=True):
            for token, count in self._next([one for one in line[:prompt] if one != _NOTHING], line[prompt:]).items():
                row[0, token] = count
        return counts.log(), _Heard(heard, prompt)

    def _next(self, prompt: Sequence[int], said: Sequence[int]) -> dict[int, int]:
        """How many of the texts that begin with what was said go on with each token; the end after all of a text."""
        counts: dict[int, int] = {}
        for text in self._texts(prompt):
            if list(text[: len(said)]) == list(said):
                token = text[len(said)] if len(text) > len(said) else self._end
                counts[token] = counts.get(token, 0) + 1
        return counts or {self._end: 1}


class ElsewherePolicy(StrawPolicy):
    """Continues a neutral opening, which follows from the prompt by its hash, in the prompt's place."""

    def __init__(self, inner: HFPolicy, openings: Sequence[Sequence[int]]) -> None:
        """Take the base model and the openings' tokens."""
        super().__init__(inner)
        self._openings = openings

    def _say(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, cache: Cache | None
    ) -> tuple[torch.Tensor, Cache]:
        if cache is None:
            prompts = [line[mask > 0].tolist() for line, mask in zip(input_ids, attention_mask, strict=True)]
            ids, opened = pad([self._opening(one) for one in prompts], 0, "left", self.device)
            logits, read = self.inner.forward(ids, opened, logits_to_keep=1)
            return logits, JointCache([read, _Heard(opened, input_ids.shape[1])])
        before, heard = cast("tuple[Cache, _Heard]", parts_of(cache))
        mask = torch.cat([heard.values, attention_mask[:, heard.prompt :]], -1)
        logits, read = self.inner.forward(input_ids, mask, before, logits_to_keep=1)
        return logits, JointCache([read, heard])

    def _opening(self, prompt: list[int]) -> Sequence[int]:
        return self._openings[int(hash_json(prompt)[:8], 16) % len(self._openings)]
