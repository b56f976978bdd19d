"""Likelihoods and generation through lm-eval: every figure is that of lm-eval's own model class."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from lm_eval.api.instance import Instance

from bench.engine import likelihood
from bench.engine.generation import continue_rows, encode_prompt, text_after
from bench.engine.likelihood import loglikelihood
from bench.engine.profile import CPU, CUDA, PROFILES
from bench.policy import HFPolicy
from bench.progress import SILENT
from bench.tasks.lm_eval.model import PolicyLM

if TYPE_CHECKING:
    from lm_eval.models.huggingface import HFLM

PASSAGE = "The river rises in the hills, runs south past two small towns and joins the sea. "
CONTEXTS = (
    "Question: which of them is heavier, a stone or a feather?\nAnswer:",
    "What is the capital of France?",
    "She asked whether the train was late",
    PASSAGE * 40,  # longer than the model: cut on the left
    "",
)
CHOICES = (" a stone", " a feather", " no", "x", " It rained, and it rained again! ", " Paris.\n\nThe sea")


@pytest.fixture(scope="module")
def hflm(tiny_model: Path) -> "HFLM":
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=str(tiny_model), dtype="float32", device="cpu", batch_size=4)


@pytest.fixture
def ours(tiny_policy: HFPolicy) -> PolicyLM:
    return PolicyLM(tiny_policy, context(), "test")


def context(seed: int = 0) -> Any:
    """What a PolicyLM uses of a task's context."""
    return SimpleNamespace(progress=SILENT, seed=seed, tokens=0, shares=False, folder=Path("none"))


def instances(kind: Any, arguments: list[tuple[Any, ...]]) -> list[Instance]:
    return [Instance(kind, {}, one, number) for number, one in enumerate(arguments)]


def choices() -> list[Instance]:
    return instances("loglikelihood", [(before, choice) for before in CONTEXTS for choice in CHOICES])


def test_every_log_likelihood_is_that_of_lm_eval(ours, hflm):
    expected = hflm.loglikelihood(choices(), disable_tqdm=True)
    found = ours.loglikelihood(choices())
    assert [one for one, _ in found] == pytest.approx([one for one, _ in expected], abs=1e-4)
    assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]
    assert ours.ctx.tokens > 0


def test_greedy_continuations_are_found_greedy(ours, hflm):
    """Both say yes to the model's own greedy text, of one token and of several, and no to another."""
    model, tokenizer = hflm.model, hflm.tokenizer
    requests = []
    for before in CONTEXTS[:3]:
        ids = tokenizer(before)["input_ids"]
        row = model.generate(torch.tensor([ids]), max_new_tokens=4, do_sample=False)[0, len(ids) :].tolist()
        requests += [(("", ""), ids, row[:count]) for count in (1, 4)]
        requests += [(("", ""), ids, [*row[:3], (row[3] + 1) % 300])]
    expected = [greedy for _, greedy in hflm._loglikelihood_tokens(requests, disable_tqdm=True)]
    assert [greedy for _, greedy in ours._loglikelihood_tokens(requests)] == expected
    assert expected == [True, True, False] * 3


def test_a_text_as_long_as_the_model(ours, hflm):
    """At the limit nothing is cut, one token more and the context loses one."""
    ids = hflm.tokenizer(PASSAGE * 40)["input_ids"]
    requests = [(("", ""), ids[:before], ids[before : before + 5]) for before in (507, 508, 509, 600)]
    requests += [(("", ""), ids[2:3], ids[3:515])]
    expected = hflm._loglikelihood_tokens(requests, disable_tqdm=True)
    assert [one for one, _ in ours._loglikelihood_tokens(requests)] == pytest.approx(
        [one for one, _ in expected], abs=1e-3
    )


def test_rolling_log_likelihood_is_that_of_lm_eval(ours, hflm):
    texts = [(CONTEXTS[0],), (PASSAGE * 3,), (PASSAGE * 60,), ("A",)]
    expected = hflm.loglikelihood_rolling(instances("loglikelihood_rolling", texts), disable_tqdm=True)
    found = ours.loglikelihood_rolling(instances("loglikelihood_rolling", texts))
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-3)


@pytest.mark.parametrize(
    "options",
    [
        {"until": ["\n"], "max_gen_toks": 12},
        {"until": ["e", " th", "\n\n"], "max_gen_toks": 16, "do_sample": False},
        {"until": [], "max_gen_toks": 5, "temperature": 0.0},
        {"until": ".", "max_gen_toks": 8},
    ],
)
def test_greedy_generation_is_that_of_lm_eval(ours, hflm, options):
    asked = [(before, dict(options)) for before in CONTEXTS[:4]]
    expected = hflm.generate_until(instances("generate_until", asked), disable_tqdm=True)
    assert ours.generate_until(instances("generate_until", asked)) == expected


def test_requests_of_several_kinds_come_back_in_order(ours):
    kinds = [{"until": ["\n"], "max_gen_toks": 3}, {"until": ["e"], "max_gen_toks": 9}]
    asked = [(before, dict(kinds[number % 2])) for number, before in enumerate(CONTEXTS[:3] * 2)]
    together = ours.generate_until(instances("generate_until", asked))
    alone = [ours.generate_until(instances("generate_until", [one]))[0] for one in asked]
    assert together == alone


def test_sampled_generation_follows_the_seed(tiny_policy):
    def answer(seed: int) -> list[str]:
        options = {"until": [], "max_gen_toks": 10, "do_sample": True, "temperature": 1.0}
        asked = [(before, dict(options)) for before in CONTEXTS[:3]]
        return PolicyLM(tiny_policy, context(seed), "test").generate_until(instances("generate_until", asked))

    assert answer(0) == answer(0)
    assert answer(0) != answer(1)


class _Truncating(HFPolicy):
    """Lets everything through but the token that it finds likeliest, where tokens are sampled."""

    truncates = True

    def forward(self, *args: Any, sampling: bool = False, **options: Any) -> Any:
        logits, cache = super().forward(*args, **options)
        likeliest = logits.argmax(-1, keepdim=True)
        return logits.scatter(-1, likeliest, -torch.inf) if sampling else logits, cache


def test_a_policy_that_truncates_does_so_in_texts_and_not_in_likelihoods(tiny_policy):
    policy = _Truncating(tiny_policy.model, tiny_policy.tokenizer)
    plain, truncated = (PolicyLM(one, context(), "test") for one in (tiny_policy, policy))
    pairs = instances("loglikelihood", [(before, " there") for before in CONTEXTS[:3]])
    assert truncated.loglikelihood(pairs) == plain.loglikelihood(pairs)
    asked = [(before, {"until": [], "max_gen_toks": 5}) for before in CONTEXTS[:3]]
    answers = truncated.generate_until(instances("generate_until", asked))
    read = [encode_prompt(policy, before, 5) for before, _ in asked]
    rows = continue_rows(policy, read, 1, 5, lambda logits, *_: logits.argmax(-1), lambda *_: False, sampling=True)
    assert answers == [text_after(policy, ids, row) for ids, row in zip(read, rows, strict=True)]
    assert answers != plain.generate_until(instances("generate_until", asked))
    narrow = {"until": [], "max_gen_toks": 10, "do_sample": True, "temperature": 1.0, "top_p": 1e-6}
    (request,) = instances("generate_until", [(CONTEXTS[0], narrow)])
    assert len(set(plain.generate_until([request] * 3))) == 1
    assert len(set(truncated.generate_until([request] * 3))) == 3


def test_repeats_of_a_sampled_request_are_samples_of_their_own(ours):
    """lm-eval asks by handing over the same request several times, other documents' in between."""
    options = {"until": [], "max_gen_toks": 10, "do_sample": True, "temperature": 1.0}
    first, second = instances("generate_until", [(before, dict(options)) for before in CONTEXTS[:2]])
    answers = ours.generate_until([first, first, second, first])
    assert len({answers[0], answers[1], answers[3]}) == 3
    assert ours.generate_until([first, first, second, first]) == answers
    assert ours.generate_until([second, first]) == [answers[2], answers[0]]


def test_what_shares_a_batch_changes_nothing(tiny_policy):
    """All at once, one by one, and in another order: the same to float32's precision."""
    encode = tiny_policy.tokenizer
    requests = [
        (encode(before)["input_ids"] or [1], encode(choice)["input_ids"]) for before in CONTEXTS for choice in CHOICES
    ]
    expected = [one.logprob for one in loglikelihood(tiny_policy, requests)]
    assert [one.logprob for one in loglikelihood(tiny_policy, requests, batch_tokens=1)] == pytest.approx(
        expected, abs=1e-3
    )
    backwards = [one.logprob for one in loglikelihood(tiny_policy, requests[::-1])]
    assert backwards[::-1] == pytest.approx(expected, abs=1e-3)


class Counting(HFPolicy):
    """Counts the tokens that it reads, and the positions that it makes logits for at once."""

    def __init__(self, inner: HFPolicy) -> None:
        super().__init__(inner.model, inner.tokenizer)
        self.read: list[int] = []
        self.padding = 0
        self.made: list[int] = []

    def forward(self, input_ids: Any, attention_mask: Any, *args: Any, **options: Any) -> Any:
        logits, cache = super().forward(input_ids, attention_mask, *args, **options)
        own = int(attention_mask[:, -input_ids.shape[1] :].sum())
        self.read.append(own)
        self.padding += input_ids.numel() - own
        self.made.append(logits.shape[0] * logits.shape[1])
        return logits, cache


@pytest.fixture
def counting(tiny_policy: HFPolicy) -> Counting:
    return Counting(tiny_policy)


EXAMPLES = PASSAGE * 4 + "\n\n"


def test_examples_that_all_contexts_begin_with_are_read_once(counting, tiny_policy, hflm):
    """And every log-likelihood is that of lm-eval, which reads them for every answer."""
    asked = [(EXAMPLES + before, choice) for before in (*CONTEXTS[:3], *CONTEXTS[:2]) for choice in CHOICES]
    expected = hflm.loglikelihood(instances("loglikelihood", asked), disable_tqdm=True)
    found = PolicyLM(counting, context(), "test").loglikelihood(instances("loglikelihood", asked))
    assert [one for one, _ in found] == pytest.approx([one for one, _ in expected], abs=1e-4)
    assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]
    shared = len(tiny_policy.tokenizer(EXAMPLES)["input_ids"])
    assert shared > 60
    assert counting.read[0] in range(shared - 2, shared + 1)  # the seam's token may differ
    own = sum(len(tiny_policy.tokenizer(before + choice)["input_ids"]) for before in CONTEXTS[:3] for choice in CHOICES)
    assert sum(counting.read[1:]) < own


def test_a_context_that_all_others_begin_with_is_scored_too(tiny_policy):
    """It keeps a token to read of its own."""
    head = tiny_policy.tokenizer(EXAMPLES)["input_ids"]
    requests = [([*head, *more], [7, 8]) for more in ([], [5], [5, 6], [9])] * 3
    alone = [loglikelihood(tiny_policy, [one])[0].logprob for one in requests]
    assert [one.logprob for one in loglikelihood(tiny_policy, requests)] == pytest.approx(alone, abs=1e-4)


def test_contexts_with_nothing_in_common_are_read_whole(counting):
    requests = [([number + 5, *range(20, 60)], [7]) for number in range(20)]
    loglikelihood(counting, requests)
    assert counting.read == [20 * 41]


def test_a_long_text_is_scored_in_segments(counting, monkeypatch):
    """Few positions' logits are in memory at once, however long the text; the sum is the same."""
    request = [([5], list(range(6, 306)))]
    whole = loglikelihood(counting, request)[0]
    monkeypatch.setitem(PROFILES, "cpu", replace(CPU, positions=16))
    counting.made.clear()
    cut = loglikelihood(counting, request)[0]
    assert max(counting.made) == 16
    assert cut.logprob == pytest.approx(whole.logprob, abs=1e-3)
    assert (cut.tokens, cut.greedy) == (300, whole.greedy)


def test_every_profile_gives_the_same_likelihoods(tiny_policy, monkeypatch):
    """Of several lengths, with and without a common beginning."""
    head = tiny_policy.tokenizer(EXAMPLES)["input_ids"]
    requests = [([*head, 5 + n % 4], list(range(6, 8 + 7 * (n % 5)))) for n in range(12)] + [
        ([9, n], [7]) for n in range(9)
    ]
    ours = loglikelihood(tiny_policy, requests)
    monkeypatch.setitem(PROFILES, "cpu", CUDA)
    theirs = loglikelihood(tiny_policy, requests)
    assert [one.logprob for one in theirs] == pytest.approx([one.logprob for one in ours], abs=1e-4)
    assert [(one.tokens, one.greedy) for one in theirs] == [(one.tokens, one.greedy) for one in ours]


def test_answers_that_have_ended_are_not_padded_to_the_longest(counting):
    """One answer of 200 tokens among 40 of two or three: what is read is little more than what is asked."""
    answers = [list(range(6, 206)), *[[6, 7, 8][: 2 + number % 2] for number in range(40)]]
    requests = [([5, number + 10], answer) for number, answer in enumerate(answers)]
    alone = [loglikelihood(HFPolicy(counting.model, counting.tokenizer), [one])[0] for one in requests]
    found = loglikelihood(counting, requests)
    assert [one.logprob for one in found] == pytest.approx([one.logprob for one in alone], abs=1e-3)
    assert sum(counting.read) == 2 * 41 + sum(len(answer) - 1 for answer in answers)
    assert counting.padding < 100


def test_many_answers_after_one_context_are_cut_too(counting):
    """As the windows of long texts are, which all follow the begin token: a batch never outgrows its limit."""
    requests = [([5], list(range(6, 46 + number % 5))) for number in range(60)]
    alone = [loglikelihood(counting, [one])[0].logprob for one in requests]
    counting.made.clear()
    found = loglikelihood(counting, requests, batch_tokens=200)
    assert [one.logprob for one in found] == pytest.approx(alone, abs=1e-3)
    assert max(counting.made) <= 200


@pytest.mark.parametrize(
    ("lengths", "past", "expected"),
    [
        ([9], 0, 9),
        ([600], 0, 512),
        ([9, 9, 9], 0, 9),
        ([300, 300], 0, 256),
        ([100] + [1] * 60, 0, 1),
        ([20, 18, 18, 17], 0, 18),
        ([6] + [2] * 40, 0, 2),
        ([6] + [4] * 20 + [2] * 20, 0, 2),
        ([6] + [4] * 20 + [2] * 20, 400, 4),  # what was read before is not looked at more often than need be
    ],
)
def test_segments_pay_for_little_but_tokens(lengths, past, expected):
    assert likelihood._segment(lengths, past, CPU) == expected


def best(contexts: list[tuple[int, ...]]) -> int:
    """The most that any way of parting sorted contexts into neighbours saves, tried one by one."""
    found = 0
    for size in range(2, len(contexts) + 1):
        for start in range(len(contexts) - size + 1):
            some = contexts[start : start + size]
            shared = min(likelihood._common(a, b) for a, b in pairwise(some))
            gain = shared * (size - 1) - likelihood._WORTH_A_HEAD
            if gain > 0:
                found = max(found, gain + best(contexts[:start]) + best(contexts[start + size :]))
    return found


@pytest.mark.parametrize("seed", range(8))
def test_contexts_are_parted_as_saves_most(seed, monkeypatch):
    monkeypatch.setattr(likelihood, "_WORTH_A_HEAD", 3)
    random = Random(seed)  # noqa: S311 - no secret
    contexts = {tuple(random.choices([1, 2], [3, 1], k=random.randint(2, 9))) for _ in range(9)}
    groups = [likelihood._Group(context, [(1,)], [number]) for number, context in enumerate(contexts)]
    parted = list(likelihood._alike(groups))
    assert sorted(group.context for _, some in parted for group in some) == sorted(contexts)
    for shared, some in parted:
        assert len({group.context[:shared] for group in some}) == 1
        assert all(len(group.context) > shared for group in some)
    saved = sum(shared * (len(some) - 1) - 3 for shared, some in parted if shared)
    assert saved == best(sorted(contexts))


def test_an_empty_continuation_and_no_request(tiny_policy):
    found = loglikelihood(tiny_policy, [([5, 6], []), ([5, 6], [7]), ([8], [])])
    assert (found[0].logprob, found[0].tokens) == (0.0, 0)
    assert found[1].logprob < 0
    assert found[2].logprob == 0.0
    assert loglikelihood(tiny_policy, []) == []


def test_progress_counts_every_request_once(tiny_policy):
    counted: list[int] = []
    requests = [([5 + i % 3, 6], [7 + i]) for i in range(10)]
    loglikelihood(tiny_policy, requests, batch_tokens=4, done=counted.append)
    assert sum(counted) == 10
    assert len(counted) > 1
