"""A policy whose attention heads are moved away from what a bad prefix changes in them."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import nn

from bench.policy import Cache, HFPolicy, Policy
from methods.anatomy.layers import before_each
from methods.decoding.cache import JointCache, parts_of
from methods.decoding.prefix import PrefixPolicy

Reverse = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""From what heads put out and what the prefixes change in it, both [rows, positions, heads, size], and what they put
out at the end of the bad prefix, [heads, size], all float32, to what takes its place."""


class ReversalPolicy(Policy):
    """A model that reads each token after a bad prefix, after a good one, and then edited by what these change.

    While tokens are read, the changes of all layers are in memory.
    """

    def __init__(
        self,
        plain: HFPolicy,
        prefixes: tuple[Sequence[int], Sequence[int]],
        outputs: Sequence[nn.Module],
        heads: int,
        reverse: Reverse,
    ) -> None:
        """Take the model and the rule.

        Args:
            plain: The model.
            prefixes: Tokens of the bad prefix and of the good one (at least one each).
            outputs: The output projections of its attention.
            heads: How many heads each of them reads.
            reverse: What is done to the heads.
        """
        self.plain, self.outputs, self.heads, self.reverse = plain, list(outputs), heads, reverse
        self.bad, self.good = (PrefixPolicy(plain, prefix) for prefix in prefixes)
        self.tokenizer, self.device = plain.tokenizer, plain.device
        self.max_length = min(self.bad.max_length, self.good.max_length)
        self.window = min(self.bad.window, self.good.window)
        self.readings = 3
        self._read: tuple[list[torch.Tensor], list[torch.Tensor]] | None = None

    @property
    def end_tokens(self) -> frozenset[int]:  # noqa: D102
        return self.plain.end_tokens

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
        bad, good, own = parts_of(cache) or (None, None, None)
        after_bad, bad = self._noted(self.bad, input_ids, attention_mask, bad)
        after_good, good = self._noted(self.good, input_ids, attention_mask, good)
        changes = [one - other for one, other in zip(after_bad, after_good, strict=True)]
        bad_ends, good_ends = self._ends()
        if cache is None:  # in place of a begin token stands a prefix's end
            column = self.bad.passed_over(input_ids, attention_mask)
            begins = torch.arange(input_ids.shape[1], device=self.device) == column[:, None]
            for change, one, other in zip(changes, bad_ends, good_ends, strict=True):
                change[begins] = one - other

        def edit(change: torch.Tensor, end: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
            parted = (part.float().unflatten(-1, (self.heads, -1)) for part in (state, change, end))
            return self.reverse(*parted).flatten(-2).to(state.dtype)

        edits = [partial(edit, change, end) for change, end in zip(changes, bad_ends, strict=True)]
        with before_each(zip(self.outputs, edits, strict=True)):
            logits, own = self.plain.forward(input_ids, attention_mask, own, logits_to_keep, sampling=sampling)
        return logits, JointCache([bad, good, own])

    def _noted(
        self, policy: Policy, ids: torch.Tensor, mask: torch.Tensor, cache: Cache | None
    ) -> tuple[list[torch.Tensor], Cache]:
        """What the heads of each layer put out at these tokens, [rows, positions, heads * size]."""
        found: list[torch.Tensor] = [torch.empty(0)] * len(self.outputs)

        def note(number: int, state: torch.Tensor) -> None:
            found[number] = state[:, -ids.shape[1] :]

        notes = [partial(note, number) for number in range(len(found))]
        with before_each(zip(self.outputs, notes, strict=True)):
            _, read = policy.forward(ids, mask, cache, logits_to_keep=1)
        return found, read

    def _ends(self) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """The same at the last token of either prefix, [heads * size]."""
        if self._read is None:
            rows = [torch.tensor([one.prefix], device=self.device) for one in (self.bad, self.good)]
            bad, good = (
                [part[0, -1] for part in self._noted(self.plain, row, torch.ones_like(row), None)[0]] for row in rows
            )
            self._read = bad, good
        return self._read

    def not_exportable(self) -> str | None:  # noqa: D102
        return "it changes attention by what is read after two prefixes"
