"""Continuations from any policy: a prompt is read once, its cache repeated for the samples."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from bench.engine.batching import BATCH_BUDGET, batches, in_batches, pad
from bench.engine.sampling import likeliest, refuse_undrawn, sample, stream, uniforms
from bench.engine.stops import StopTexts
from bench.engine.tokens import encode, first_token, refuse_beyond
from bench.engine.vllm import BATCH_TOKENS as VLLM_TOKENS
from bench.engine.vllm import VLLMPolicy
from bench.policy import Policy
from bench.spec import Decoding

_DROP_BELOW = 0.75  # rows that go on, as a share: copying the cache to drop fewer costs more than it saves


@dataclass(frozen=True)
class Prompt:
    """A text to continue; `id` names its random streams, `tokens` are its own where it is none of the tokenizer's."""

    id: str
    text: str
    tokens: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Continuation:
    """One sampled continuation of a prompt.

    Attributes:
        prompt_id: The prompt's id.
        sample: Its number among the prompt's samples, from 0.
        text: The text after the prompt, without special tokens.
        tokens: Number of sampled tokens, the end token included.
        ended: Whether the model ended the text itself.
        declined: Whether a filter around the model gave nothing in its place: there is no text to score.
    """

    prompt_id: str
    sample: int
    text: str
    tokens: int
    ended: bool
    declined: bool = False


Pick = Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor]
"""From logits [rows, vocabulary], the rows' numbers (int64 [rows]) and the step to the next tokens [rows]."""
Stop = Callable[[int, list[int]], bool]
"""Whether a row (by number, with its tokens so far) is finished."""


FEWER = "lower max_new_tokens (or the task's max_tokens)"
"""How a user asks for fewer new tokens."""


def encode_prompt(policy: Policy, text: str, new: int = 0, mend: str = FEWER) -> list[int]:
    """Tokens of a prompt that is to be continued; an empty prompt becomes the begin (or end) token.

    They are what the tokenizer gives, without what it puts after a text. A prompt that leaves no room for `new` tokens
    is cut on the left. `mend` is the remedy where the model does not read so many.

    Raises:
        UsageError: the model does not read so many new tokens.
    """
    return _cut(policy, encode(policy.tokenizer, text) or [first_token(policy.tokenizer)], new, mend)


def _cut(policy: Policy, ids: Sequence[int], new: int, mend: str = FEWER) -> list[int]:
    refuse_beyond(policy.max_length, new, "a continuation", mend)
    return list(ids[-max(policy.max_length - new, 1) :])


def continue_rows(
    policy: Policy,
    prompts: Sequence[Sequence[int]],
    repeats: int,
    max_new_tokens: int,
    pick: Pick,
    stop: Stop,
    *,
    sampling: bool = False,
) -> list[list[int]]:
    """Continue each prompt `repeats` times.

    The device is asked once a step: for the tokens that were picked.

    Args:
        policy: The model.
        prompts: Tokens of each prompt; padded on the left into one batch.
        repeats: Continuations a prompt; row i * repeats + j is the j-th of prompt i.
        max_new_tokens: The most tokens to append.
        pick: Chooses the next tokens.
        stop: Says when a row is finished; the token that finishes it stays in the row.
        sampling: Whether `pick` samples, so that a policy that truncates does (see `Policy.forward`).

    Returns:
        The new tokens of each row.
    """
    ids, mask = pad(prompts, 0, "left", policy.device)
    logits, cache = policy.forward(ids, mask, logits_to_keep=1, sampling=sampling)
    if repeats > 1:
        cache.batch_repeat_interleave(repeats)
    logits = logits[:, -1].repeat_interleave(repeats, 0)
    mask = mask.repeat_interleave(repeats, 0)
    rows: list[list[int]] = [[] for _ in range(len(prompts) * repeats)]
    active, done = list(range(len(rows))), np.zeros(len(rows), dtype=bool)
    numbers = torch.arange(len(rows), device=policy.device)  # `active`, where the logits are
    for step in range(max_new_tokens):
        tokens = pick(logits, numbers, step)
        picked = tokens.tolist()
        refuse_undrawn(picked)
        for row, token in zip(active, picked, strict=True):
            if not done[row]:
                rows[row].append(token)
                done[row] = stop(row, rows[row])
        if done.all() or step == max_new_tokens - 1:
            break
        keep = [place for place, row in enumerate(active) if not done[row]]
        if len(keep) <= len(active) * _DROP_BELOW:
            chosen = torch.tensor(keep, device=policy.device)
            cache.batch_select_indices(chosen)
            active, numbers = [active[place] for place in keep], numbers[chosen]
            tokens, mask = tokens[chosen], mask[chosen]
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], -1)
        output, cache = policy.forward(tokens[:, None], mask, cache, logits_to_keep=1, sampling=sampling)
        logits = output[:, -1]
    return rows


def plan(policy: Policy, prompts: Sequence[Prompt], decoding: Decoding) -> list[list[Prompt]]:
    """The batches in which `generate` samples, where memory does not give out."""
    decoding, length = _drawn(policy, decoding), decoding.max_new_tokens
    planned = batches(
        _encoded(policy, prompts, length),
        lambda item: len(item[1]) + length,
        lambda _: decoding.num_samples,
        _room(policy),
    )
    return [[prompt for prompt, _ in batch] for batch in planned]


def _room(policy: Policy) -> int:
    """Tokens of a batch."""
    return VLLM_TOKENS if isinstance(policy, VLLMPolicy) else BATCH_BUDGET.room(policy.readings)


def _encoded(
    policy: Policy, prompts: Sequence[Prompt], length: int, mend: str = FEWER
) -> list[tuple[Prompt, list[int]]]:
    return [
        (one, _cut(policy, one.tokens, length, mend) if one.tokens else encode_prompt(policy, one.text, length, mend))
        for one in prompts
    ]


def generate(
    policy: Policy,
    prompts: Sequence[Prompt],
    decoding: Decoding,
    seed: int,
    *,
    until: str | None = None,
    batch_tokens: int | None = None,
    mend: str = FEWER,
) -> Iterator[list[Continuation]]:
    """Sample `decoding.num_samples` continuations of each prompt, batch by batch.

    Every (prompt, sample) has its own random stream, so that a continuation does not depend on what else is in the
    batch, as far as floating point allows. A policy that draws several for one has a stream for each, and chooses.

    Args:
        policy: The model.
        prompts: What to continue.
        decoding: How.
        seed: Of the random streams.
        until: No more is sampled of a text once it holds this, which may be cut off then; vLLM goes on.
        batch_tokens: Tokens, padding included, that one batch holds; None for the process's limit.
        mend: The remedy where the model does not read so many tokens.

    Yields:
        The continuations of some of the prompts, all samples of a prompt together.
    """
    decoding = left_to(policy, _drawn(policy, decoding))
    count, length, ends = decoding.num_samples, decoding.max_new_tokens, policy.end_tokens

    def work(batch: list[tuple[Prompt, list[int]]]) -> list[list[int]]:
        if isinstance(policy, VLLMPolicy):
            return _vllm_rows(policy, batch, decoding, seed)
        return _sample_rows(policy, batch, decoding, seed, until)

    for batch, rows in in_batches(
        _encoded(policy, prompts, length, mend),
        work,
        lambda item: len(item[1]) + length,
        lambda _: count,
        most=batch_tokens or _room(policy),
    ):
        drawn = [
            Continuation(prompt.id, j, text_after(policy, ids, row), len(row), row[-1] in ends)
            for i, (prompt, ids) in enumerate(batch)
            for j, row in enumerate(rows[i * count : (i + 1) * count])
        ]
        yield drawn if policy.draws == 1 else _chosen(policy, drawn)


def left_to(policy: Policy, decoding: Decoding) -> Decoding:
    """The decoding without what a policy that truncates does itself: top_p, and a top_k that leaves a choice."""
    if not policy.truncates:
        return decoding
    return decoding.model_copy(update={"top_k": 1 if decoding.top_k == 1 else 0, "top_p": 1.0})


def _drawn(policy: Policy, decoding: Decoding) -> Decoding:
    """How a policy samples: as many continuations as it draws for each that is asked for."""
    return decoding.model_copy(update={"num_samples": decoding.num_samples * policy.draws})


def _chosen(policy: Policy, drawn: Sequence[Continuation]) -> list[Continuation]:
    """Of each prompt's continuations, in groups of as many as the policy draws, those that it chooses."""
    size = policy.draws
    groups = [drawn[start : start + size] for start in range(0, len(drawn), size)]
    places = policy.choose([[one.text for one in group] for group in groups])
    return [replace(group[place], sample=group[0].sample // size) for group, place in zip(groups, places, strict=True)]


def answer(
    policy: Policy, prompts: Sequence[Prompt], max_new_tokens: int, *, until: str
) -> Iterator[list[Continuation]]:
    """The most likely token after the other, to `until` after some text, the model's own end, or so many tokens.

    Args:
        policy: The model.
        prompts: What to answer.
        max_new_tokens: The most tokens of an answer.
        until: What ends an answer, where it does not stand at its beginning; the text stops before it.

    Yields:
        One answer of each of some of the prompts; `ended` where it was not cut off.
    """
    stop = _stop(policy, until)

    def work(batch: list[tuple[Prompt, list[int]]]) -> list[list[int]]:
        ids = [tokens for _, tokens in batch]
        return continue_rows(policy, ids, 1, max_new_tokens, lambda logits, *_: likeliest(logits), stop, sampling=True)

    for batch, rows in in_batches(
        _encoded(policy, prompts, max_new_tokens),
        work,
        lambda item: len(item[1]) + max_new_tokens,
        lambda _: 1,
        most=BATCH_BUDGET.room(policy.readings),
    ):
        yield [
            Continuation(
                prompt.id, 0, text_after(policy, ids, row).lstrip().partition(until)[0], len(row), stop(0, row)
            )
            for (prompt, ids), row in zip(batch, rows, strict=True)
        ]


def _sample_rows(
    policy: Policy, batch: Sequence[tuple[Prompt, list[int]]], decoding: Decoding, seed: int, until: str | None
) -> list[list[int]]:
    """The new tokens of all samples of all prompts, the samples of a prompt together."""
    count, length = decoding.num_samples, decoding.max_new_tokens
    noise = np.stack([uniforms(seed, prompt.id, j, length) for prompt, _ in batch for j in range(count)])
    random = torch.from_numpy(noise).to(policy.device)

    def pick(logits: torch.Tensor, active: torch.Tensor, step: int) -> torch.Tensor:
        return sample(logits, random[active, step], decoding)

    prompts = [ids for _, ids in batch]
    return continue_rows(policy, prompts, count, length, pick, _stop(policy, until), sampling=True)


def _stop(policy: Policy, until: str | None) -> Stop:
    """Whether a row has come to an end token, or to `until` after some text."""
    ends, may_hold = policy.end_tokens, StopTexts(policy.tokenizer, [until or ""])

    def stop(_: int, row: list[int]) -> bool:
        if row[-1] in ends or not may_hold(row):
            return row[-1] in ends
        return until is not None and until in text_after(policy, [], row).lstrip()

    return stop


def _vllm_rows(
    policy: VLLMPolicy, batch: Sequence[tuple[Prompt, list[int]]], decoding: Decoding, seed: int
) -> list[list[int]]:
    """The same by vLLM, which reads what prompts share once, too."""
    asked = [(ids, stream(seed, prompt.id, j)) for prompt, ids in batch for j in range(decoding.num_samples)]
    return policy.sample([ids for ids, _ in asked], [number for _, number in asked], decoding)


def text_after(policy: Policy, prompt: Sequence[int], row: Sequence[int]) -> str:
    """The text that `row` adds to `prompt`, without the token that ended it.

    Decoding both together keeps a leading space that one alone may lose.
    """
    if row and row[-1] in policy.end_tokens:  # it need not be special to the tokenizer
        row = row[:-1]
    whole = str(policy.tokenizer.decode([*prompt, *row], skip_special_tokens=True))
    before = str(policy.tokenizer.decode(list(prompt), skip_special_tokens=True))
    if whole.startswith(before):
        return whole[len(before) :]
    return str(policy.tokenizer.decode(list(row), skip_special_tokens=True))
