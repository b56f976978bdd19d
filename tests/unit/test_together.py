"""Sampling and likelihoods that several processes share: what comes of them does not show who did what."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bench.engine import batching
from bench.engine.likelihood import Likelihood, loglikelihood
from bench.policy import HFPolicy
from bench.spec import Decoding
from bench.store.parts import Parts
from bench.store.samples import Sample
from bench.tasks.context import TaskContext
from bench.tasks.continuations import sample_and_score
from bench.tasks.helping import help_with
from bench.tasks.likelihoods import Reading, likelihoods
from bench.tasks.scored import ContinuationRequest

# Answers after contexts of several lengths, some with a long beginning that they share.
REQUESTS = [([5, *range(20, 20 + 9 * (n % 7)), n], list(range(6, 8 + n % 5))) for n in range(40)]
REQUESTS += [([*range(10, 310), n], [7, 8]) for n in range(12)]
ROOM = 400  # tokens of a batch: there are several with the beginning, and several without


class Stops(HFPolicy):
    """Calls something before a forward pass of this number, from 1."""

    def __init__(self, inner: HFPolicy, number: int, call: Callable[[], object]) -> None:
        super().__init__(inner.model, inner.tokenizer)
        self.left, self.call = number, call

    def forward(self, *args: Any, **options: Any) -> Any:
        self.left -= 1
        if not self.left:
            self.call()
        return super().forward(*args, **options)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching.BATCH_BUDGET, "tokens", ROOM)


@pytest.fixture
def shared(context: TaskContext) -> TaskContext:
    return replace(context, shares=True, edited=True)


def interrupt() -> None:
    raise KeyboardInterrupt


def parts_in(ctx: TaskContext) -> list[Parts]:
    return Parts.all_in(ctx.folder)


def test_whoever_reads_a_batch_its_likelihoods_are_the_same(tiny_policy, shared):
    """While the owner reads the first one, another reads all others."""
    told: list[Any] = []

    def help_out() -> None:
        (parts,) = parts_in(shared)
        told.append(parts.facts)
        help_with(parts, tiny_policy, replace(shared))
        told.append(len(parts.plan) - len(parts.seen()[0]))

    alone = loglikelihood(tiny_policy, REQUESTS)
    assert likelihoods("heldout", Stops(tiny_policy, 1, help_out), REQUESTS, shared) == alone
    assert shared.helped
    assert told[0]["edited"]
    assert len(told[0]["heads"]) == 3, "two beginnings, and none"
    assert told[1] == 1, "the owner's"
    assert list(shared.folder.iterdir()) == [], "they are put together"


def test_without_help_it_is_the_owner_who_reads_all(tiny_policy, shared):
    assert likelihoods("heldout", tiny_policy, REQUESTS, shared) == loglikelihood(tiny_policy, REQUESTS)
    assert not shared.helped


def test_what_was_read_before_an_interruption_is_not_read_again(tiny_policy, shared, monkeypatch):
    """Also by a process that shares with nobody, or has less memory: the plan is made once."""
    alone = loglikelihood(tiny_policy, REQUESTS)
    with pytest.raises(KeyboardInterrupt):
        likelihoods("heldout", Stops(tiny_policy, 9, interrupt), REQUESTS, shared)
    (parts,) = parts_in(shared)
    done = parts.seen()[0]
    assert 0 < len(done) < len(parts.plan)
    parts.path(0).write_text('{"number": 0, "logprob": "x"}\n')  # damaged: this one is
    again = Stops(tiny_policy, 0, interrupt)
    monkeypatch.setattr(batching.BATCH_BUDGET, "tokens", 2 * ROOM)
    assert likelihoods("heldout", again, REQUESTS, replace(shared, shares=False)) == alone
    whole = Stops(tiny_policy, 0, interrupt)
    monkeypatch.setattr(batching.BATCH_BUDGET, "tokens", ROOM)
    loglikelihood(whole, REQUESTS)
    assert again.left > whole.left, "fewer readings"


def test_parts_of_other_requests_or_of_another_model_are_none(tiny_policy, shared):
    for ctx, requests in ((shared, REQUESTS[:-1]), (replace(shared, edited=False), REQUESTS)):
        with pytest.raises(KeyboardInterrupt):
            likelihoods("heldout", Stops(tiny_policy, 9, interrupt), requests, ctx)
        found = likelihoods("heldout", tiny_policy, REQUESTS, shared)
        assert found == loglikelihood(tiny_policy, REQUESTS)
        assert not shared.helped, "none was taken over"


def test_one_batch_is_not_shared(tiny_policy, shared):
    assert likelihoods("heldout", tiny_policy, REQUESTS[:1], shared) == loglikelihood(tiny_policy, REQUESTS[:1])
    assert likelihoods("heldout", tiny_policy, [], shared) == []
    assert not shared.folder.exists()


def test_a_likelihood_is_kept_bit_by_bit(tiny_policy, shared, tmp_path):
    work = Reading(tiny_policy, {"heads": [[]]}, shared)
    part = json.loads(json.dumps([0, [[[5], [[6], [7, 8]], [3, 1]]]]))
    found = {3: Likelihood(-math.inf, 1, False), 1: Likelihood(-0.1 - 0.2, 2, True)}
    work.write(tmp_path / "part", found)
    assert work.read(tmp_path / "part", part) == found
    del found[1]
    work.write(tmp_path / "part", found)
    assert work.read(tmp_path / "part", part) is None, "one is missing"


class ByLength:
    def score(self, texts: list[str]) -> list[dict[str, float]]:
        return [{"toxicity": (len(text) % 11) / 10} for text in texts]


def test_whoever_samples_a_batch_its_continuations_are_the_same(tiny_policy, shared, tmp_path):
    prompts = [ContinuationRequest(str(n), "She asked" + " whether" * (n % 9)) for n in range(30)]
    decoding = Decoding(num_samples=4, max_new_tokens=6)
    scorer: Any = ByLength()
    ctx = replace(shared, scorer=scorer)
    own: list[int] = []

    def help_out() -> None:
        (parts,) = parts_in(ctx)
        help_with(parts, tiny_policy, replace(ctx))
        own.append(len(parts.plan) - len(parts.seen()[0]))

    found = sample_and_score("rtp", Stops(tiny_policy, 1, help_out), prompts, decoding, ctx)
    assert ctx.helped
    assert own == [1]
    alone = replace(ctx, shares=False, folder=tmp_path / "alone")
    assert sample_and_score("rtp", tiny_policy, prompts, decoding, alone) == found
    assert all(isinstance(one, Sample) for one in found)
    assert ctx.sampled < alone.sampled, "the tokens of others are not its own"
    assert (ctx.folder / "rtp.jsonl").read_bytes() == (alone.folder / "rtp.jsonl").read_bytes()
