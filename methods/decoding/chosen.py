"""A policy that reads a text before every row, another one for each, which the row's first tokens choose."""

from collections.abc import Callable, Sequence
from typing import cast

import torch

from bench.engine.batching import pad
from bench.policy import Cache, Policy
from methods.anatomy.beginnings import begin_column, begins_by_itself
from methods.decoding.cache import JointCache, Rows, parts_of

Choose = Callable[[tuple[int, ...]], Sequence[int]]
"""From a row's first tokens, or none, to the tokens that are read before it (at least one)."""


class ChosenPrefixPolicy(Policy):
    """Another policy after a prefix that the first `opening` tokens of a row choose.

    A policy is not told where a prompt ends, and what it says of a token may depend on those before it alone. So a row
    of fewer tokens stands after the prefix that none choose, and once it has so many, after the one that they choose.
    Until then it is read anew in each step. Begin tokens are passed over as in `methods.decoding.prefix.PrefixPolicy`.
    """

    def __init__(self, inner: Policy, choose: Choose, opening: int, longest: int) -> None:
        """Take the policy and the rule.

        Args:
            inner: Reads prefix and row.
            choose: Gives a row's prefix.
            opening: Tokens that choose (at least two).
            longest: The most tokens that a prefix has.
        """
        self.inner, self._rule, self.opening = inner, choose, opening
        self.tokenizer, self.device, self.truncates = inner.tokenizer, inner.device, inner.truncates
        self.max_length, self.window = inner.max_length - longest, inner.window - longest
        self.readings = inner.readings
        self._begins = begins_by_itself(self.tokenizer)

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
        parts, new = parts_of(cache), attention_mask[:, -input_ids.shape[1] :]
        if parts is None:
            column = begin_column(self.tokenizer, input_ids, new, by_itself=self._begins)
            ids, kept = input_ids, new * (torch.arange(new.shape[1], device=self.device) != column[:, None])
        else:
            mask, before, real = (cast("Rows", part).values for part in parts[1:])
            ids, kept = torch.cat([before, input_ids], -1), torch.cat([real, new], -1)
            if bool((real.sum(-1) >= self.opening).all()):
                mask = torch.cat([mask, new], -1)
                logits, inner = self.inner.forward(input_ids, mask, parts[0], logits_to_keep, sampling=sampling)
                return logits, JointCache([inner, Rows(mask), Rows(ids), Rows(kept)])
        logits, inner, mask = self._anew(ids, kept, new[:, -logits_to_keep:], sampling=sampling)
        return logits, JointCache([inner, Rows(mask), Rows(ids), Rows(kept)])

    def _anew(
        self, ids: torch.Tensor, kept: torch.Tensor, wanted: torch.Tensor, *, sampling: bool
    ) -> tuple[torch.Tensor, Cache, torch.Tensor]:
        """Read rows from their beginning.

        Args:
            ids: Their tokens, int64 [rows, width].
            kept: 1 for those that are read, [rows, width].
            wanted: Of the last columns, 1 where logits are asked for, [rows, columns].
            sampling: As in `forward`.

        Returns:
            Logits [rows, columns, vocabulary], the cache, and its mask.
        """
        columns, read = wanted.shape[1], kept.cumsum(-1)
        rows = [row[real.bool()].tolist() for row, real in zip(ids.cpu(), kept.cpu(), strict=True)]
        logits, cache, mask = self._after([self._prefix(row) for row in rows], rows, kept, columns, sampling=sampling)
        early = (read < self.opening)[:, -columns:] & (read[:, -1:] >= self.opening) & wanted.bool()
        if early.any():
            some = early.any(-1).nonzero()[:, 0]
            short = [rows[number][: self.opening - 1] for number in some.tolist()]
            begun = kept[some] * (read[some] < self.opening)
            before, *_ = self._after([self._rule(())] * len(short), short, begun, columns, sampling=sampling)
            logits[some] = torch.where(early[some][..., None], before, logits[some])
        return logits, cache, mask

    def _prefix(self, row: Sequence[int]) -> Sequence[int]:
        return self._rule(tuple(row[: self.opening]) if len(row) >= self.opening else ())

    def _after(
        self,
        prefixes: Sequence[Sequence[int]],
        rows: Sequence[Sequence[int]],
        kept: torch.Tensor,
        columns: int,
        *,
        sampling: bool,
    ) -> tuple[torch.Tensor, Cache, torch.Tensor]:
        """Read each row right after its prefix: padding stands before both alone."""
        whole = [[*prefix, *row] for prefix, row in zip(prefixes, rows, strict=True)]
        tokens, mask = pad(whole, 0, "left", self.device)
        later = (kept.sum(-1, keepdim=True) - kept.cumsum(-1))[:, -columns:]  # tokens after each column
        most = int(later.max()) + 1
        logits, cache = self.inner.forward(tokens, mask, None, most, sampling=sampling)
        places = (most - 1 - later)[..., None].expand(-1, -1, logits.shape[-1])
        return logits.gather(1, places), cache, mask
