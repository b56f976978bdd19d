"""Every common architecture is read as transformers reads each row alone, or refused in one line before any work."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from families import FAMILIES, REQUESTS, Family, likelihood_of, logprobs_alone, some_tokens
from transformers import AutoConfig, AutoTokenizer

from bench.assets.catalogue import AssetCatalogue
from bench.engine import likelihood
from bench.engine.architecture import config_of, refuse_unreadable
from bench.engine.generation import continue_rows
from bench.engine.likelihood import loglikelihood
from bench.engine.model import load_model
from bench.errors import BenchError, UsageError
from bench.policy import HFPolicy, LoadedModel
from bench.run.environment import Environment
from bench.run.launch.local import run_experiments
from bench.run.plan import Request, make_experiments
from methods.decoding.mixture import MixturePolicy
from methods.decoding.prefix import PrefixPolicy
from methods.gedi.policy import GediPolicy, Guidance
from methods.self_debias import SelfDebias, SelfDebiasConfig

CLOSE = 1e-4
Tokens = Sequence[int]
READ = [one for one in FAMILIES if not one.keeps_state]
KEEP_STATE = [one for one in FAMILIES if one.keeps_state]


@pytest.fixture(scope="module")
def tokenizer(tiny_model) -> Any:
    return AutoTokenizer.from_pretrained(tiny_model)


@pytest.fixture(params=READ, ids=lambda family: family.title, scope="module")
def base(request, tokenizer) -> LoadedModel:
    family: Family = request.param
    return LoadedModel(family.make(), tokenizer, family.title, "hash")


@pytest.fixture
def policy(base) -> HFPolicy:
    return HFPolicy(base.model, base.tokenizer)


def expected(base: LoadedModel, context: Tokens, continuation: Tokens) -> float:
    return likelihood_of(logprobs_alone(base.model, [*context, *continuation]), context, continuation)


@pytest.fixture
def shared(monkeypatch):
    """Even a short beginning is read once."""
    monkeypatch.setattr(likelihood, "_WORTH_A_HEAD", 4)


@torch.no_grad()
@pytest.mark.parametrize("batch_tokens", [None, 60, 1])
def test_a_likelihood_is_that_of_the_row_alone(base, policy, shared, batch_tokens):
    found = loglikelihood(policy, REQUESTS, batch_tokens=batch_tokens)
    right = [expected(base, *one) for one in REQUESTS]
    assert [one.logprob for one in found] == pytest.approx(right, abs=CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["gpt_neo", "mpt"])
def test_a_batch_is_not_wider_than_the_positions(tokenizer, kind):
    """A long context beside a long continuation, each of which fits with its own."""
    family = next(one for one in READ if one.kind == kind)
    options = {**family.options, "max_position_embeddings": 64, "max_seq_len": 64}
    narrow = LoadedModel(replace(family, options=options).make(), tokenizer, kind, "hash")
    requests = [(some_tokens(59, 1), some_tokens(5, 2)), (some_tokens(40, 3), some_tokens(24, 4))]
    found = loglikelihood(HFPolicy(narrow.model, tokenizer), requests)
    assert [one.logprob for one in found] == pytest.approx([expected(narrow, *one) for one in requests], abs=CLOSE)


@torch.no_grad()
def test_a_model_of_longrope_ends_at_its_original_length(tokenizer):
    """Beyond it, one row of a batch gives all of them other factors."""
    rope = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 4, "long_factor": [8.0] * 4}
    options = {"sliding_window": None, "original_max_position_embeddings": 32, "rope_parameters": rope}
    base = LoadedModel(Family("Phi-3, LongRoPE", "phi3", options).make(), tokenizer, "phi3", "hash")
    policy = HFPolicy(base.model, tokenizer)
    requests = [(some_tokens(count, count), some_tokens(more, 99)) for count, more in ((10, 6), (50, 6), (28, 12))]
    found = [one.logprob for one in loglikelihood(policy, requests)]
    assert found == pytest.approx([loglikelihood(policy, [one])[0].logprob for one in requests], abs=CLOSE)
    assert found[0] == pytest.approx(expected(base, *requests[0]), abs=CLOSE)


def greedy(logits: torch.Tensor, active: Sequence[int], step: int) -> torch.Tensor:
    del active, step
    return logits.argmax(-1)


@torch.no_grad()
@pytest.mark.parametrize("repeats", [1, 2])
def test_greedy_rows_are_those_of_transformers(base, policy, repeats):
    """Prompts of several lengths in one batch; a row that stops leaves it."""
    prompts = [some_tokens(count, count) for count in (3, 14, 25)]
    right = [
        base.model.generate(
            torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids)),
            max_new_tokens=14,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
        )[0, len(ids) :].tolist()
        for ids in prompts
    ]
    lengths = [14, 5, 9]
    rows = continue_rows(policy, prompts, repeats, 14, greedy, lambda row, new: len(new) == lengths[row // repeats])
    assert rows == [row[:length] for row, length in zip(right, lengths, strict=True) for _ in range(repeats)]


@torch.no_grad()
def test_a_text_after_a_prefix_is_that_of_both_in_one_row(base, policy, shared):
    """The prefix of a batch is read once; a begin token at a row's head is passed over."""
    prefix = some_tokens(6, 5)
    found = loglikelihood(PrefixPolicy(policy, prefix), [*REQUESTS, ([1], some_tokens(9, 6))])
    right = [expected(base, [*prefix, *context], more) for context, more in REQUESTS]
    right.append(expected(base, prefix, some_tokens(9, 6)))
    assert [one.logprob for one in found] == pytest.approx(right, abs=CLOSE)


@torch.no_grad()
def test_continuations_after_a_prefix_are_those_of_both_in_one_row(policy):
    prefix, prompts = some_tokens(6, 5), [some_tokens(count, count) for count in (3, 14, 25)]
    after = continue_rows(PrefixPolicy(policy, prefix), [*prompts, [1]], 2, 12, greedy, lambda *_: False)
    whole = continue_rows(policy, [*([*prefix, *one] for one in prompts), prefix], 2, 12, greedy, lambda *_: False)
    assert after == whole


@torch.no_grad()
def test_policies_of_several_readings_read_as_they_read_each_row_alone(policy, shared):
    """GeDi and self-debiasing: what they add up over a row, and their caches, follow the rows."""
    one, other = (PrefixPolicy(policy, some_tokens(count, count)) for count in (4, 9))
    guidance = Guidance(omega=2.0, scale=1.0, bias=0.1, filter_p=0.0, target=0.0)
    debiased = SelfDebias(SelfDebiasConfig())
    for mixed in (GediPolicy(policy, one, other, guidance), MixturePolicy([policy, one, other], debiased._combine)):
        right = []
        for context, more in REQUESTS:
            ids = torch.tensor([[*context, *more]])
            logits, _ = mixed.forward(ids, torch.ones_like(ids))
            right.append(likelihood_of(logits[0].float().log_softmax(-1), context, more))
        found = loglikelihood(mixed, REQUESTS)
        assert [one.logprob for one in found] == pytest.approx(right, abs=CLOSE)


@torch.no_grad()
def test_padding_between_tokens_is_seen_beyond_the_window_alone(base, policy):
    """What a policy declares is so, to the column."""
    widest = min(policy.window, 30)
    start, end = some_tokens(2, 1), some_tokens(3, 2)

    def difference(columns: int) -> float:
        gap = columns - len(start) - len(end)
        ids = torch.tensor([start])
        _, cache = policy.forward(ids, torch.ones_like(ids))
        mask = torch.tensor([[1] * len(start) + [0] * gap + [1] * len(end)])
        logits, _ = policy.forward(torch.tensor([[0] * gap + end]), mask, cache)
        found = logits[0, -len(end) :].log_softmax(-1)
        return float((found - logprobs_alone(base.model, [*start, *end])[len(start) :]).abs().max())

    if widest >= len(start) + len(end):
        assert difference(widest) < CLOSE
    if policy.window < 30:
        assert difference(max(widest, len(start) + len(end)) + 1) > 10 * CLOSE


# --- what is refused ---


@pytest.mark.parametrize("family", KEEP_STATE, ids=lambda family: family.title)
def test_a_model_that_keeps_a_state_is_refused_before_any_work(family, tokenizer, tiny_suite, tmp_path):
    folder = tmp_path / family.kind
    family.make().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (experiment,) = make_experiments(Request(("none",), str(tiny_suite(model={"id": str(folder)}))))
    env = Environment(experiment.suite, AssetCatalogue(tmp_path / "cache", offline=True))
    line = rf"^model '{folder}' is of the type {family.kind}, which keeps a state .* not supported; name a model whose"
    with pytest.raises(UsageError, match=line):
        run_experiments([experiment], env, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
    (folder / "model.safetensors").unlink()  # nothing is loaded
    with pytest.raises(UsageError, match=line):
        load_model(experiment.suite.model, env.model)


@pytest.mark.parametrize(
    ("kind", "options", "told"),
    [
        ("t5", {}, "no causal LM; name a causal LM"),
        ("roberta", {}, r"and reads in both directions \(is_decoder is false\); name a causal LM"),
        ("bart", {}, r"which takes no positions \(position_ids\), and that is not supported; name a causal LM"),
        ("bart", {"is_decoder": True, "is_encoder_decoder": False}, r"which takes no positions \(position_ids\)"),
        ("openai-gpt", {}, r"which takes no cache \(past_key_values\), and that is not supported; name a causal LM"),
    ],
)
def test_what_is_not_read_rightly_is_refused_before_any_work(kind, options, told, tmp_path):
    AutoConfig.for_model(kind, **options).save_pretrained(tmp_path)
    with pytest.raises(BenchError, match=f"model 'x' is of the type {kind},? {told}"):
        refuse_unreadable("model 'x'", config_of(tmp_path))
