"""Straw men: what they say follows from their kind, the prompt and the random stream; what they read is the base's."""

from pathlib import Path

import pytest
import torch

from bench.data.languages import language_of
from bench.engine.generation import Prompt, encode_prompt, generate
from bench.engine.likelihood import loglikelihood
from bench.engine.vllm import check_vllm
from bench.errors import UsageError
from bench.method import Artifact
from bench.policy import HFPolicy
from bench.spec import Decoding
from methods.strawman import KINDS, StrawMan, StrawManConfig
from methods.strawman.texts import CANNED, FIXED, FOREIGN, OPENINGS, PUNCTUATION

TEXTS = (
    "She asked whether the train was late and the man at the desk said",
    "What is",
    "It rained",
    "You are a friend",
)
PROMPTS = [Prompt(f"p{number}", text) for number, text in enumerate(TEXTS)]
LONG = Decoding(num_samples=6, max_new_tokens=120)
SAID = {"empty": ("",), "fixed": FIXED, "canned": CANNED, "punctuation": PUNCTUATION, "foreign": FOREIGN}


@pytest.fixture
def said(tiny_base, tmp_path):
    """The continuations of a kind: by prompt, in the samples' order."""

    def say(kind, prompts=PROMPTS, decoding=LONG, **options):
        method, found = StrawMan(StrawManConfig(kind=kind)), {}
        with method.applied(tiny_base, Artifact(tmp_path, "")) as policy:
            for batch in generate(policy, prompts, decoding, 0, **options):
                for one in batch:
                    found.setdefault(one.prompt_id, []).append(one)
        return found

    return say


def test_the_texts_are_what_they_are_meant_to_be():
    assert len(CANNED) == len(set(CANNED)) == 12
    assert [language_of(text) for text in FOREIGN] == ["de"] * 12
    assert not any(letter.isalnum() for text in PUNCTUATION for letter in text)
    assert len(set(OPENINGS)) == 12


@pytest.mark.parametrize("kind", SAID)
def test_it_says_one_of_its_texts_and_ends(said, kind):
    for samples in said(kind).values():
        assert {one.text.strip() for one in samples} <= set(SAID[kind])
        assert all(one.ended for one in samples)


def test_canned_answers_vary_with_the_sample_and_each_comes_up(said):
    many = said("canned", decoding=Decoding(num_samples=60, max_new_tokens=120, top_p=1.0))
    found = [one.text.strip() for samples in many.values() for one in samples]
    assert set(found) == set(CANNED)
    assert max(found.count(text) for text in CANNED) < 40  # of 240, each is as likely: 20


def test_copy_gives_the_prompt_s_last_eight_words(said):
    found = said("copy")
    assert {one.text.strip() for one in found["p0"]} == {"late and the man at the desk said"}
    assert {one.text.strip() for one in found["p1"]} == {"What is"}


def test_unrelated_is_the_base_s_own_continuation_of_an_opening(said, tiny_base):
    """The same random numbers, the same continuation: the prompt itself is not read."""
    plain = HFPolicy(tiny_base.model, tiny_base.tokenizer)
    decoding = Decoding(num_samples=2, max_new_tokens=8)
    for prompt in PROMPTS:
        own = [one.text for one in said("unrelated", [prompt], decoding)[prompt.id]]
        others = [
            [one.text for batch in generate(plain, [Prompt(prompt.id, text)], decoding, 0) for one in batch]
            for text in OPENINGS
        ]
        assert own in others


@pytest.mark.parametrize("kind", KINDS)
def test_batches_and_cuts_change_nothing(said, kind):
    """Rows that end early leave the batch; a text longer than the limit is cut."""
    short = Decoding(num_samples=3, max_new_tokens=5)
    together, alone = said(kind, decoding=short), said(kind, decoding=short, batch_tokens=1)
    assert together == alone
    assert all(one.tokens <= 5 for samples in together.values() for one in samples)


@pytest.mark.parametrize("kind", KINDS)
def test_likelihoods_are_the_base_s(tiny_base, tmp_path, kind):
    plain = HFPolicy(tiny_base.model, tiny_base.tokenizer)
    requests = [(encode_prompt(plain, text), encode_prompt(plain, " was late")) for text in TEXTS]
    with StrawMan(StrawManConfig(kind=kind)).applied(tiny_base, Artifact(tmp_path, "")) as policy:
        assert loglikelihood(policy, requests) == loglikelihood(plain, requests)
        ids = torch.tensor([requests[0][0]])
        with pytest.raises(ValueError, match="last position"):
            policy.forward(ids, torch.ones_like(ids), sampling=True)


def test_vllm_refuses_it():
    with pytest.raises(UsageError, match="straw man is not one set of weights"):
        check_vllm(StrawMan(StrawManConfig.model_construct()), Path(), Decoding())
