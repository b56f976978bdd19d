"""A policy that reads a text before every row."""

import copy
from collections.abc import Sequence
from typing import cast

import torch
from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from bench.engine.chat import conversation_text
from bench.engine.tokens import context_length, encode
from bench.errors import UsageError
from bench.policy import Cache, LoadedModel, Policy
from methods.anatomy.beginnings import begin_column, begins_by_itself
from methods.decoding.cache import JointCache, Rows, parts_of


def plain_prefix(base: LoadedModel, text: str) -> list[int]:
    """Tokens of a text that stands before the prompt, on a line of its own."""
    return fitting(base, encode(base.tokenizer, text if text.endswith("\n") else f"{text}\n"))


def chat_prefix(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Tokens of a conversation that the prompt goes on as the assistant's words; the text is the system's message.

    Raises:
        UsageError: the tokenizer has no chat template, or one that refuses a conversation of a system message, or
            leaves out what it says (Gemma 3 puts that into the user's turn, and there is none).
    """
    if not tokenizer.chat_template:
        raise UsageError("the base model's tokenizer has no chat template", mend="set template=plain")
    message = {"role": "system", "content": text}
    try:
        rendered = conversation_text(tokenizer, [message])
        if text.strip() not in rendered:
            raise TemplateError("it leaves the text out")
    except TemplateError as error:
        cause = " ".join(str(error).split())[:120]
        raise UsageError(
            f"the base model's chat template takes no system message alone ({cause})", mend="set template=plain"
        ) from error
    ids: list[int] = tokenizer(rendered, add_special_tokens=False)["input_ids"]
    return ids


def fitting(base: LoadedModel, ids: list[int]) -> list[int]:
    """The tokens of a prefix, if they leave room for a text.

    Raises:
        UsageError: they take more than half of what the model reads.
    """
    limit = context_length(base.model)
    if len(ids) > limit // 2:
        raise UsageError(
            f"the text before the prompt has {len(ids)} tokens and '{base.id}' reads {limit}", mend="shorten it"
        )
    return ids


class PrefixPolicy(Policy):
    """Another policy after a prefix, which is read once and its cache repeated for the rows.

    The padding of a row then stands between the prefix and its tokens. Where the inner policy has a window, in which
    that would take up places, the prefix is read anew with each row, right before its tokens.

    A begin token at the head of a row marks the start of a text, which the prefix now is: it is passed over, and the
    prefix predicts what comes next. Where the tokenizer puts none there itself, it is passed over only if the row holds
    nothing else yet (an empty prompt), as in a conversation it may be the opening of a turn.
    """

    def __init__(self, inner: Policy, prefix: Sequence[int]) -> None:
        """Take the policy and the tokens to read first (at least one)."""
        self.inner, self.prefix = inner, list(prefix)
        self.tokenizer, self.device, self.truncates = inner.tokenizer, inner.device, inner.truncates
        self.max_length = inner.max_length - len(self.prefix)
        self.window, self.readings = inner.window - len(self.prefix), inner.readings
        self._begins = begins_by_itself(self.tokenizer)
        self._read: tuple[torch.Tensor, Cache] | None = None

    @property
    def end_tokens(self) -> frozenset[int]:  # noqa: D102
        return self.inner.end_tokens

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
        if parts is None:
            first = self._beside if self.inner.window < self.inner.max_length else self._after_one_reading
            return first(input_ids, attention_mask, logits_to_keep, sampling=sampling)
        opened = cast("Rows", parts[1])
        mask = torch.cat([opened.values, attention_mask[:, opened.values.shape[1] - len(self.prefix) :]], -1)
        logits, inner = self.inner.forward(input_ids, mask, parts[0], logits_to_keep, sampling=sampling)
        return logits, JointCache([inner, opened])

    def _after_one_reading(
        self, ids: torch.Tensor, mask: torch.Tensor, logits_to_keep: int, *, sampling: bool
    ) -> tuple[torch.Tensor, Cache]:
        """Read rows on top of the prefix's cache."""
        passed, mask = self._opened(ids, mask)
        mask[:, : len(self.prefix)] = 1
        before = copy.deepcopy(self._prefix_read()[1])
        before.batch_repeat_interleave(len(ids))
        logits, inner = self.inner.forward(ids, mask, before, logits_to_keep, sampling=sampling)
        if (passed >= 0).any():
            place = passed - (ids.shape[1] - logits.shape[1])
            rows = ((passed >= 0) & (place >= 0)).nonzero()[:, 0]
            logits[rows, place[rows]] = self.start()
        return logits, JointCache([inner, Rows(mask)])

    def _beside(
        self, ids: torch.Tensor, mask: torch.Tensor, logits_to_keep: int, *, sampling: bool
    ) -> tuple[torch.Tensor, Cache]:
        """Read rows with the prefix right before their tokens; its last one takes the place of what is passed over."""
        new, prefix = ids.shape[1], torch.tensor(self.prefix, device=self.device)
        passed, mask = self._opened(ids, mask)
        own = torch.where(passed >= 0, passed + 1, mask.argmax(-1) - len(prefix))
        places = own[:, None] + torch.arange(len(prefix), device=self.device)
        ids = torch.cat([ids.new_zeros(len(ids), len(prefix)), ids], -1)
        ids = ids.scatter(1, places, prefix.expand(len(ids), -1))
        mask = mask.scatter(1, places, 1)
        logits, inner = self.inner.forward(ids, mask, None, logits_to_keep, sampling=sampling)
        return logits[:, -new:], JointCache([inner, Rows(mask)])

    def _opened(self, ids: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What is passed over, and the mask without it, as many columns wider as the prefix has tokens, 0 there."""
        passed = self.passed_over(ids, mask)
        kept = mask * (torch.arange(mask.shape[1], device=self.device) != passed[:, None])
        return passed, torch.cat([mask.new_zeros(len(mask), len(self.prefix)), kept], -1)

    def passed_over(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The column of each row's begin token that is passed over when the row is first read, or -1, int64 [rows]."""
        return begin_column(self.tokenizer, ids, mask, by_itself=self._begins)

    def start(self) -> torch.Tensor:
        """Logits of the first token after the prefix, [vocabulary]."""
        return self._prefix_read()[0][0, -1]

    def _prefix_read(self) -> tuple[torch.Tensor, Cache]:
        """The prefix's last logits [1, 1, vocabulary] and its cache."""
        if self._read is None:
            ids = torch.tensor([self.prefix], device=self.device)
            self._read = self.inner.forward(ids, torch.ones_like(ids), logits_to_keep=1)
        return self._read

    def not_exportable(self) -> str | None:  # noqa: D102
        return "it reads a text before every prompt"
