"""Log-likelihoods from any policy: a context that several continuations share is read once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from bench.engine.batching import BATCH_TOKENS, batches, pad
from bench.errors import MissingError
from bench.policy import Policy

_LOGIT_ROWS = 512  # positions whose [vocabulary] logits are normalised at a time


@dataclass(frozen=True)
class Likelihood:
    """Log-likelihood of a continuation given its context.

    Attributes:
        logprob: Natural logarithm, summed over the continuation's tokens.
        tokens: Number of the continuation's tokens.
        greedy: Whether every token is the most likely one.
    """

    logprob: float
    tokens: int
    greedy: bool


@dataclass(frozen=True)
class _Group:
    """A context with the continuations asked of it; `numbers` are their places in the request list."""

    context: tuple[int, ...]
    continuations: list[tuple[int, ...]]
    numbers: list[int]

    @property
    def longest(self) -> int:
        return len(self.context) + max(map(len, self.continuations)) - 1


def loglikelihood(
    policy: Policy,
    requests: Sequence[tuple[Sequence[int], Sequence[int]]],
    *,
    batch_tokens: int = BATCH_TOKENS,
    done: Callable[[int], object] = lambda _: None,
) -> list[Likelihood]:
    """Log-likelihoods of continuations.

    Args:
        policy: The model.
        requests: (context, continuation) as tokens, the context not empty; where both together are too long for the
            model, the context is cut on the left, as lm-eval does.
        batch_tokens: Tokens, padding included, that one batch holds.
        done: Called with the number of requests finished since the last call.

    Returns:
        One `Likelihood` a request, in order; an empty continuation has log-likelihood 0.
    """
    results: dict[int, Likelihood] = {}
    for batch in batches(_grouped(policy, requests), lambda g: g.longest, lambda g: len(g.numbers), batch_tokens):
        for group, scored in zip(batch, _score(policy, batch), strict=True):
            results.update(zip(group.numbers, scored, strict=True))
        done(sum(len(group.numbers) for group in batch))
    return [results[number] for number in range(len(requests))]


def _grouped(policy: Policy, requests: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[_Group]:
    groups: dict[tuple[int, ...], _Group] = {}
    for number, (context, continuation) in enumerate(requests):
        room = max(policy.max_length - len(continuation) + 1, 1)
        kept = tuple(context)[-room:]
        group = groups.setdefault(kept, _Group(kept, [], []))
        group.continuations.append(tuple(continuation))
        group.numbers.append(number)
    return list(groups.values())


def _score(policy: Policy, batch: Sequence[_Group]) -> list[list[Likelihood]]:
    """Read the contexts, then the continuations' tokens but their last on top of the repeated cache."""
    ids, mask = pad([group.context for group in batch], 0, "left", policy.device)
    logits, cache = policy.forward(ids, mask, logits_to_keep=1)
    owners = torch.tensor([i for i, group in enumerate(batch) for _ in group.continuations], device=policy.device)
    targets = [continuation for group in batch for continuation in group.continuations]
    logprob, greedy = torch.zeros(len(targets), dtype=torch.float64), torch.ones(len(targets), dtype=torch.bool)

    def add(logits: torch.Tensor, tokens: torch.Tensor, present: torch.Tensor) -> None:
        """Add tokens [rows, positions] under logits [rows, positions, vocabulary] where `present`."""
        nonlocal logprob, greedy
        gained, best = _gather(logits, tokens)
        present = present.bool().cpu()
        logprob += torch.where(present, gained.double().cpu(), 0.0).sum(-1)
        greedy &= (best.cpu() | ~present).all(-1)

    first, some = pad([row[:1] or (0,) for row in targets], 0, "right", policy.device)
    some = some * torch.tensor([[bool(row)] for row in targets], device=policy.device)
    add(logits[:, -1:][owners], first, some)
    if max(map(len, targets)) > 1:
        fed, _ = pad([row[:-1] or (0,) for row in targets], 0, "right", policy.device)
        wanted, present = pad([row[1:] or (0,) for row in targets], 0, "right", policy.device)
        present = present * torch.tensor([[len(row) > 1] for row in targets], device=policy.device)
        cache.batch_select_indices(owners)
        output, _ = policy.forward(fed, torch.cat([mask[owners], present], -1), cache)
        add(output, wanted, present)
    scored = iter(Likelihood(float(p), len(row), bool(g)) for p, row, g in zip(logprob, targets, greedy, strict=True))
    return [[next(scored) for _ in group.continuations] for group in batch]


def _gather(logits: torch.Tensor, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probability of each token and whether it is the most likely one, in blocks of the vocabulary's rows."""
    shape, flat, wanted = tokens.shape, logits.flatten(0, 1), tokens.flatten()
    gained, best = [], []
    for start in range(0, len(flat), _LOGIT_ROWS):
        block, target = flat[start : start + _LOGIT_ROWS].float(), wanted[start : start + _LOGIT_ROWS]
        chosen = block.gather(-1, target[:, None])[:, 0]
        normaliser = block.logsumexp(-1)
        if not normaliser.isfinite().all():
            raise MissingError("the model's logits are not numbers", mend="lower the strength, or use dtype=float32")
        gained.append(chosen - normaliser)
        best.append(block.argmax(-1) == target)
    return torch.cat(gained).view(shape), torch.cat(best).view(shape)
