"""Log-likelihoods from any policy: what several requests share, a context or its beginning, is read once."""

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple, Self

import numpy as np
import torch

from bench.engine.batching import BATCH_BUDGET, batches, in_batches, pad
from bench.engine.logits import not_numbers
from bench.engine.profile import DeviceProfile, profile_of
from bench.engine.tokens import refuse_beyond
from bench.policy import Cache, Policy

_READINGS = 8  # that a batch of long continuations takes
_WORTH_A_HEAD = 256  # tokens that a common beginning must save, for a reading and batches of its own


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

    def cut(self, rows: int) -> "list[_Group]":
        """The same in parts of at most so many continuations, of similar length each."""
        order = sorted(range(len(self.numbers)), key=lambda place: -len(self.continuations[place]))
        return [
            _Group(self.context, [self.continuations[i] for i in some], [self.numbers[i] for i in some])
            for some in (order[start : start + rows] for start in range(0, len(order), rows))
        ]


@dataclass(frozen=True)
class Batch:
    """What is read at once: contexts that begin with `head`, which is read once for all batches in a row that have it.

    What comes of a batch follows from it alone, whoever reads it and whatever else is read.
    """

    head: tuple[int, ...]
    groups: Sequence[_Group]

    @property
    def numbers(self) -> list[int]:
        """The places of what it asks in the list of requests."""
        return [number for group in self.groups for number in group.numbers]

    def rows(self) -> list[tuple[Any, ...]]:
        """All but its head, as JSON values: what follows that in each context, the continuations, their places."""
        return [(one.context[len(self.head) :], one.continuations, one.numbers) for one in self.groups]

    @classmethod
    def of(cls, head: Sequence[int], rows: Sequence[Sequence[Any]]) -> Self:
        """The batch of these JSON values."""
        groups = [
            _Group((*head, *context), [tuple(one) for one in continuations], list(numbers))
            for context, continuations, numbers in rows
        ]
        return cls(tuple(head), groups)


def loglikelihood(
    policy: Policy,
    requests: Sequence[tuple[Sequence[int], Sequence[int]]],
    *,
    batch_tokens: int | None = None,
    done: Callable[[int], object] = lambda _: None,
) -> list[Likelihood]:
    """Log-likelihoods of continuations.

    Args:
        policy: The model.
        requests: (context, continuation) as tokens, the context not empty; where both together are too long for the
            model, the context is cut on the left, as lm-eval does.
        batch_tokens: Tokens, padding included, that one batch holds; None for the process's limit.
        done: Called with the number of requests finished since the last call.

    Returns:
        One `Likelihood` a request, in order; an empty continuation has log-likelihood 0.

    Raises:
        UsageError: a continuation is longer than what the model reads.
    """
    results: dict[int, Likelihood] = {}
    for found in read(policy, plan(policy, requests, batch_tokens=batch_tokens)):
        results.update(found)
        done(len(found))
    return [results[number] for number in range(len(requests))]


def plan(
    policy: Policy, requests: Sequence[tuple[Sequence[int], Sequence[int]]], *, batch_tokens: int | None = None
) -> list[Batch]:
    """The batches in which requests are read, those with one head in a row; see `loglikelihood`."""
    made: list[Batch] = []
    longest = _longest(requests)
    fixed = profile_of(policy.device).reading * min(max(longest, 1), _READINGS)  # long ones are read in several steps
    room = BATCH_BUDGET.room(policy.readings)
    most = min(batch_tokens or room, room)
    for shared, alike in _alike(_grouped(policy, requests)):
        head = alike[0].context[:shared]
        for groups in _beside_each_other(alike, policy.window) if shared else [alike]:
            cut = batches(_fitting(groups, most), _length, _count, most, _context_length, fixed)
            # In some models padding takes positions (GPT-Neo, MPT).
            made += [Batch(head, part) for batch in cut for part in _beside_each_other(batch, policy.max_length + 1)]
    return made


def read(policy: Policy, planned: Iterable[Batch]) -> Iterator[dict[int, Likelihood]]:
    """What each batch asks, by its place in the list of requests; one that memory does not hold is read in parts."""
    head = _Head(policy, ())
    for batch in planned:
        if head.tokens != batch.head:
            head = _Head(policy, batch.head)
        room = BATCH_BUDGET.room(policy.readings)  # it may have shrunk since
        work = partial(_score, policy, head=head)
        some = _fitting(batch.groups, room)
        found: dict[int, Likelihood] = {}
        for _, scored in in_batches(some, work, _length, _count, most=room, order=_context_length, halve=_halved):
            found.update(scored)
        yield found


def _fitting(groups: Sequence[_Group], most: int) -> list[_Group]:
    """Groups of which each fits into so many tokens, where any of its rows does."""
    return [part for group in groups for part in group.cut(max(1, most // max(1, group.longest)))]


def _halved(group: _Group) -> list[_Group]:
    return group.cut(max(1, len(group.numbers) // 2))


def _length(group: _Group) -> int:
    return group.longest


def _count(group: _Group) -> int:
    return len(group.numbers)


def _context_length(group: _Group) -> int:
    return len(group.context)


def _longest(requests: Sequence[tuple[Sequence[int], Sequence[int]]]) -> int:
    return max((len(continuation) for _, continuation in requests), default=0)


def _grouped(policy: Policy, requests: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[_Group]:
    groups: dict[tuple[int, ...], _Group] = {}
    refuse_beyond(policy.max_length, _longest(requests), "a text", "lower max_tokens, or take shorter texts")
    for number, (context, continuation) in enumerate(requests):
        room = max(policy.max_length - max(len(continuation), 1) + 1, 1)  # the last token is not read
        kept = tuple(context)[-room:]
        group = groups.setdefault(kept, _Group(kept, [], []))
        group.continuations.append(tuple(continuation))
        group.numbers.append(number)
    return list(groups.values())


def _alike(groups: Sequence[_Group]) -> Iterator[tuple[int, list[_Group]]]:
    """Groups whose contexts begin alike (after the examples of one few-shot task), and how many tokens they share.

    In the order of their tokens, contexts with a common beginning stand together. A stretch of them is read by what all
    of it shares, or its parts by the more that each of them does, whichever saves more.

    Yields:
        The length of the beginning, 0 where it is not worth a reading of its own, and the groups.
    """
    ordered = sorted(groups, key=lambda one: one.context)
    taken = 0
    lone: list[_Group] = []
    for shared, first, last in _stretches([_common(a.context, b.context) for a, b in pairwise(ordered)]):
        lone += ordered[taken:first]
        yield shared, ordered[first : last + 1]
        taken = last + 1
    lone += ordered[taken:]
    if lone:
        yield 0, lone


class _Stretch(NamedTuple):
    """Neighbours from `first` on that share so many tokens, with the best that can be made of the parts within."""

    shared: int
    first: int
    parts: list[tuple[int, int, int]]
    saved: int


def _beside_each_other(groups: Sequence[_Group], window: int) -> list[list[_Group]]:
    """Groups parted into those that may share a batch, by the columns that it takes, a last unread token included.

    Padding of a batch stands between its beginning and what follows it. Where rows are wider than the window, contexts
    of one length go together, which takes none.
    """
    if max(len(group.context) for group in groups) + max(map(len, _continuations(groups))) <= window:
        return [list(groups)]
    by_length: dict[int, list[_Group]] = {}
    for group in groups:
        by_length.setdefault(len(group.context), []).append(group)
    return list(by_length.values())


def _continuations(groups: Iterable[_Group]) -> Iterator[tuple[int, ...]]:
    return (continuation for group in groups for continuation in group.continuations)


def _stretches(shared: Sequence[int]) -> list[tuple[int, int, int]]:
    """The (tokens, first, last) of the stretches to read once, from what each and its next neighbour share."""
    open_ = [_Stretch(0, 0, [], 0)]
    for last, now in enumerate([*shared, 0]):
        first, parts, saved = last, list[tuple[int, int, int]](), 0
        while open_[-1].shared > now:
            done = open_.pop()
            first, whole = done.first, done.shared * (last - done.first)
            # The reading itself costs as much as `_WORTH_A_HEAD` tokens.
            parts, saved = done.parts + parts, done.saved + saved
            if whole - _WORTH_A_HEAD > saved:
                parts, saved = [(done.shared, done.first, last)], whole - _WORTH_A_HEAD
        if open_[-1].shared < now:
            open_.append(_Stretch(now, first, parts, saved))
        else:
            below = open_.pop()
            open_.append(below._replace(parts=below.parts + parts, saved=below.saved + saved))
    return open_[0].parts


def _common(one: tuple[int, ...], two: tuple[int, ...]) -> int:
    """Tokens that two contexts begin with, less one where that is all of either."""
    most = min(len(one), len(two)) - 1
    return next((n for n in range(most) if one[n] != two[n]), most)


class _Head:
    """What some contexts begin with, read once.

    Attributes:
        tokens: It.
        length: Its number of tokens; 0 where there is none.
    """

    def __init__(self, policy: Policy, tokens: tuple[int, ...]) -> None:
        """Read it."""
        self.tokens, self.length = tokens, len(tokens)
        if tokens:
            ids = torch.tensor([list(tokens)], device=policy.device)
            self._cache: Cache = policy.forward(ids, torch.ones_like(ids), logits_to_keep=1)[1]

    def cache(self, rows: int) -> Cache | None:
        """Its cache, for so many rows."""
        if not self.length:
            return None
        copied = copy.deepcopy(self._cache)
        copied.batch_repeat_interleave(rows)
        return copied


class _Row(NamedTuple):
    """A continuation: its request's number, its context's place in the batch, its tokens."""

    number: int
    owner: int
    tokens: tuple[int, ...]


def _score(policy: Policy, batch: Sequence[_Group], *, head: _Head) -> dict[int, Likelihood]:
    """Read the contexts, then, on top of their repeated cache, the continuations' tokens but their last.

    The longest continuations come first and are read in segments of columns: those that have ended leave without a
    copy, and the logits of few positions are in memory at a time.
    """
    ids, mask = pad([group.context[head.length :] for group in batch], 0, "left", policy.device)
    mask = torch.cat([mask.new_ones(len(mask), head.length), mask], -1)
    logits, cache = policy.forward(ids, mask, head.cache(len(batch)), logits_to_keep=1)
    rows = [
        _Row(number, owner, tokens)
        for owner, group in enumerate(batch)
        for number, tokens in zip(group.numbers, group.continuations, strict=True)
    ]
    rows.sort(key=lambda row: -len(row.tokens))
    owners = torch.tensor([row.owner for row in rows], device=policy.device)
    logprob, greedy = torch.zeros(len(rows), dtype=torch.float64), torch.ones(len(rows), dtype=torch.bool)

    def add(logits: torch.Tensor, owners: torch.Tensor, wanted: torch.Tensor, present: torch.Tensor) -> None:
        """Add tokens [some rows, columns] where `present`; `owners` are their places in logits [.., vocabulary]."""
        gained, best = _gather(logits, owners.flatten(), wanted.flatten())
        count, real = len(wanted), present.bool().cpu()
        logprob[:count] += torch.where(real, gained.view(wanted.shape).double().cpu(), 0.0).sum(-1)
        greedy[:count] &= (best.view(wanted.shape).cpu() | ~real).all(-1)

    some = sum(bool(row.tokens) for row in rows)
    if some:
        first, present = pad([row.tokens[:1] for row in rows[:some]], 0, "right", policy.device)
        add(logits[:, -1], owners[:some, None], first, present)
    profile = profile_of(policy.device)
    read, open_rows = 0, sum(len(row.tokens) > 1 for row in rows)
    if open_rows:
        cache.batch_select_indices(owners[:open_rows])
        mask = mask[owners[:open_rows]]
    while open_rows:
        width = _segment([len(row.tokens) - 1 - read for row in rows[:open_rows]], mask.shape[1], profile)
        fed, present = pad([row.tokens[read:-1][:width] for row in rows[:open_rows]], 0, "right", policy.device)
        wanted, _ = pad([row.tokens[read + 1 :][:width] for row in rows[:open_rows]], 0, "right", policy.device)
        mask = torch.cat([mask, present], -1)
        output, cache = policy.forward(fed, mask, cache)
        add(output.flatten(0, 1), torch.arange(fed.numel(), device=policy.device).view_as(fed), wanted, present)
        read += width
        left = sum(len(row.tokens) - 1 > read for row in rows[:open_rows])
        if 0 < left < open_rows:
            cache.batch_select_indices(torch.arange(left, device=policy.device))
            mask = mask[:left]
        open_rows = left
    return {
        row.number: Likelihood(float(p), len(row.tokens), bool(g))
        for row, p, g in zip(rows, logprob, greedy, strict=True)
    }


def _segment(lengths: Sequence[int], past: int, profile: DeviceProfile) -> int:
    """How many columns to read at once of rows that have so many tokens left, longest first.

    The width at which most of what is paid for is a row's own tokens: padding is not, nor is what a reading costs
    whatever its width, which grows with the positions that were read before.
    """
    most = max(1, min(lengths[0], profile.positions // len(lengths)))
    widths = np.arange(1, most + 1)
    own = np.minimum.outer(widths, np.array(lengths)).sum(-1)
    reading = profile.reading + profile.past * past * len(lengths)
    return int(widths[(own / (widths * len(lengths) + reading)).argmax()])


def _gather(logits: torch.Tensor, owners: torch.Tensor, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probability of each token and whether it is the most likely one.

    Args:
        logits: [positions, vocabulary], normalised a few positions at a time.
        owners: The position under which each token is looked up, int64 [tokens].
        tokens: The tokens, int64 [tokens].
    """
    normaliser = log_normaliser(logits)
    if not normaliser.isfinite().all():
        raise not_numbers()
    best = torch.cat([block.argmax(-1) for block in logits.split(profile_of(logits.device).logit_rows)])
    return logits[owners, tokens].float() - normaliser[owners], best[owners] == tokens


def log_normaliser(logits: torch.Tensor) -> torch.Tensor:
    """Logarithm of the sum of exp over the vocabulary, float32 [positions], of logits [positions, vocabulary]."""
    return torch.cat([block.float().logsumexp(-1) for block in logits.split(profile_of(logits.device).logit_rows)])
