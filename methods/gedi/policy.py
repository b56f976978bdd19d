"""Decoding with a generative discriminator."""

from dataclasses import dataclass
from typing import cast

import torch
from torch.nn.functional import logsigmoid

from bench.engine.likelihood import log_normaliser
from bench.policy import Cache, Policy
from methods.decoding.cache import JointCache, Rows, parts_of
from methods.decoding.mixture import smallest_set
from methods.decoding.prefix import PrefixPolicy


@dataclass(frozen=True)
class Guidance:
    """How the class guides.

    Attributes:
        omega: Power of the class probability.
        scale: Factor on the difference of the mean log-likelihoods, which gives the class's log-odds.
        bias: Added to the log-odds of the desired class.
        filter_p: Mass of the tokens least in favour of the desired class that are left out when sampling; 0 for none.
        target: Log-odds from which on a token is never left out.
    """

    omega: float
    scale: float
    bias: float
    filter_p: float
    target: float


class GediPolicy(Policy):
    """A base model whose tokens are weighed by the class of the text that they would make."""

    def __init__(self, base: Policy, desired: PrefixPolicy, undesired: PrefixPolicy, guidance: Guidance) -> None:
        """Take the base model, the class-conditional one after either code, and how it guides."""
        self.base, self.desired, self.undesired, self.guidance = base, desired, undesired, guidance
        self.tokenizer, self.device, self.truncates = base.tokenizer, base.device, guidance.filter_p > 0
        self.max_length = min(policy.max_length for policy in (base, desired, undesired))
        self.window = min(policy.window for policy in (base, desired, undesired))
        self.readings = sum(policy.readings for policy in (base, desired, undesired))

    @property
    def end_tokens(self) -> frozenset[int]:  # noqa: D102
        return self.base.end_tokens

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
        before = parts[:3] if parts else [None, None, None]
        base, base_cache = self.base.forward(input_ids, attention_mask, before[0], logits_to_keep)
        good = _read(self.desired, input_ids, attention_mask, before[1], base.shape[1])
        bad = _read(self.undesired, input_ids, attention_mask, before[2], base.shape[1])
        following, own = good.following.sub_(bad.following), good.own - bad.own
        total, tokens, expected = _so_far(parts) if parts else self._nothing(len(input_ids))
        counted = attention_mask[:, -input_ids.shape[1] :].bool()
        if parts is None:
            passed = self.desired.passed_over(input_ids, attention_mask)
            counted &= torch.arange(counted.shape[1], device=self.device) != passed[:, None]
        first = counted.int().argmax(1, keepdim=True)  # padding may stand before a row's first new token
        own = torch.cat([torch.zeros_like(expected[:, :1]), own], 1)
        own.scatter_(1, first, expected.gather(1, input_ids.gather(1, first)))
        totals = total[:, None] + torch.where(counted, own, 0.0).double().cumsum(1)
        counts = tokens[:, None] + counted.cumsum(1)
        state = [Rows(totals[:, -1]), Rows(counts[:, -1]), Rows(following[:, -1].clone())]
        mixed = self._mix(base.float(), following, totals, counts, sampling=sampling)
        return mixed, JointCache([base_cache, good.cache, bad.cache, *state])

    def _nothing(self, rows: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """What is known of the class before anything is read."""
        start = self.desired.start().float().log_softmax(-1) - self.undesired.start().float().log_softmax(-1)
        zero = torch.zeros(rows, device=self.device)
        return zero.double(), zero.long(), start.expand(rows, -1)

    def _mix(
        self,
        base: torch.Tensor,
        following: torch.Tensor,
        totals: torch.Tensor,
        counts: torch.Tensor,
        *,
        sampling: bool,
    ) -> torch.Tensor:
        """The base model's logits, guided.

        Args:
            base: Its logits, [rows, kept, vocabulary].
            following: Log-likelihood of each next token after the desired code less that after the other; changed.
            totals: The same, summed over the tokens read so far, [rows, new].
            counts: How many they are, [rows, new].
            sampling: Whether tokens will be sampled.
        """
        guide, kept = self.guidance, base.shape[1]
        factor = (guide.scale / (counts[:, -kept:] + 1).double())[..., None]
        offset = totals[:, -kept:, None] * factor + guide.bias
        odds = following.mul_(factor.float()).add_(offset.float())
        mixed = base.add_(logsigmoid(odds), alpha=guide.omega)
        if not sampling or not guide.filter_p:
            return mixed
        allowed = smallest_set(odds, mixed, 1 - guide.filter_p) | (odds >= guide.target)
        return mixed.masked_fill_(~allowed, -torch.inf)

    def not_exportable(self) -> str | None:  # noqa: D102
        return "it weighs tokens by another model's likelihoods while decoding"


@dataclass(frozen=True)
class _Reading:
    """What one class-conditional reading of new tokens says.

    Attributes:
        following: Log-probability of each token after the last positions, float32 [rows, kept, vocabulary].
        own: Log-probability of each new token but the first, given what is before it, float32 [rows, new - 1].
        cache: Its cache.
    """

    following: torch.Tensor
    own: torch.Tensor
    cache: Cache


def _read(policy: Policy, ids: torch.Tensor, mask: torch.Tensor, cache: Cache | None, kept: int) -> _Reading:
    """Read new tokens; normalised in blocks, as the logits of all positions are large."""
    logits, cache = policy.forward(ids, mask, cache)
    normaliser = log_normaliser(logits.flatten(0, 1)).view(logits.shape[:2])
    chosen = logits[:, :-1].gather(-1, ids[:, 1:, None])[..., 0].float()
    following = logits[:, -kept:].float() - normaliser[:, -kept:, None]
    return _Reading(following, chosen - normaliser[:, :-1], cache)


def _so_far(parts: list[Cache]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The evidence that a cache holds: its sum [rows], number of tokens [rows], that of each next token."""
    total, tokens, expected = (cast("Rows", part).values for part in parts[3:])
    return total, tokens, expected
