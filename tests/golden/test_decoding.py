"""Decoding-time methods follow their published rules: the same computed by hand, from models read one by one."""

import math
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from bench.method import Method, RunContext
from bench.policy import LoadedModel, Policy
from bench.run.artifact import load_artifact, make_artifact
from methods.decoding.prefix import plain_prefix
from methods.dexperts import DExperts, DExpertsConfig
from methods.gedi import Gedi, GediConfig
from methods.learning.batches import Collator, draw_items, score_batch
from methods.preadd import Preadd, PreaddConfig
from methods.prompt import PromptConfig, PromptMethod
from methods.self_debias import ANNOUNCED, SelfDebias, SelfDebiasConfig

TEXT = "The river rises in the hills, runs south past two small"
TRAINING = {"steps": 3, "lr": 1e-2, "lora_r": 4}
"""A short training whose effect can be seen."""


@pytest.fixture
def apply(tiny_base: LoadedModel, tmp_path: Path) -> Any:
    """From a method to its policy on the tiny model."""
    stack = ExitStack()

    def enter(method: Method[Any], sets: Any = None, folder: str = "artifact") -> Policy:
        path = tmp_path / folder
        if not path.exists():
            path.mkdir()
            make_artifact(method, tiny_base, sets, RunContext(path))
        return stack.enter_context(method.applied(tiny_base, load_artifact(path)))

    with stack:
        yield enter


def plain_logits(model: Any, tokenizer: Any, text: str) -> torch.Tensor:
    """All logits of a text, [positions, vocabulary], from `transformers` alone."""
    with torch.no_grad():
        found: torch.Tensor = model(torch.tensor([tokenizer(text)["input_ids"]])).logits[0]
    return found


def policy_logits(policy: Policy, text: str = TEXT, *, sampling: bool = False) -> torch.Tensor:
    ids = torch.tensor([policy.tokenizer(text)["input_ids"]])
    return policy.forward(ids, torch.ones_like(ids), sampling=sampling)[0][0]


def test_rules_hold_over_a_prompt_and_the_text_that_follows(apply, tiny_base, tiny_sets):
    """What is sampled token by token after a prompt has the logits that the rule gives the whole text."""
    methods: list[tuple[Method[Any], Any]] = [
        (Preadd(PreaddConfig(alpha=-0.7)), None),
        (SelfDebias(SelfDebiasConfig(decay=20.0)), None),
        (PromptMethod(PromptConfig(text="She asked", strength=2.0)), None),
        (DExperts(DExpertsConfig(**TRAINING)), tiny_sets),
        (Gedi(GediConfig(omega=10.0, **TRAINING)), tiny_sets),
    ]
    for method, sets in methods:
        policy = apply(method, sets, folder=method.info.name)
        ids = tiny_base.tokenizer(TEXT)["input_ids"]
        whole = policy_logits(policy)
        prompt = torch.tensor([ids[:5]])
        logits, cache = policy.forward(prompt, torch.ones_like(prompt), logits_to_keep=1)
        assert torch.allclose(logits[0, -1], whole[4], atol=1e-4), method.info.name
        for place in range(5, len(ids)):
            mask = torch.ones(1, place + 1, dtype=torch.int64)
            logits, cache = policy.forward(torch.tensor([[ids[place]]]), mask, cache)
            assert torch.allclose(logits[0, -1], whole[place], atol=1e-4), method.info.name


def old_nucleus(logits: torch.Tensor, top_p: float) -> torch.Tensor:
    """What remains of one position's logits, by sorting all of them: everything after the mass is reached goes."""
    order = logits.argsort(descending=True)
    mass, kept = 0.0, torch.zeros_like(logits, dtype=torch.bool)
    for token in order.tolist():
        if mass >= top_p:
            break
        kept[token] = True
        mass += float(logits.double().softmax(-1)[token])
    return kept


@pytest.mark.parametrize("strength", [1.0, 2.5])
def test_prompt_is_the_model_after_the_text(apply, tiny_base, strength):
    text = "She asked whether"
    policy = apply(PromptMethod(PromptConfig(text=text, strength=strength)))
    base = plain_logits(tiny_base.model, tiny_base.tokenizer, TEXT)
    prompted = plain_logits(tiny_base.model, tiny_base.tokenizer, f"{text}\n{TEXT}")[-len(base) :]
    expected = base + strength * (prompted - base)
    assert torch.allclose(policy_logits(policy), expected, atol=1e-4)


def test_prompt_through_the_chat_template(apply, tiny_base):
    tiny_base.tokenizer.chat_template = (
        "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}[me] {% endif %}"
    )
    policy = apply(PromptMethod(PromptConfig(text="She asked", template="chat")))
    base = plain_logits(tiny_base.model, tiny_base.tokenizer, TEXT)
    ids = [tiny_base.tokenizer(part)["input_ids"] for part in ("[system] She asked\n[me] ", TEXT)]
    with torch.no_grad():
        expected = tiny_base.model(torch.tensor([ids[0] + ids[1]])).logits[0, -len(base) :]
    assert torch.allclose(policy_logits(policy), expected, atol=1e-4)


@pytest.mark.parametrize("alpha", [-1.0, -0.3])
def test_preadd_subtracts_what_the_prefix_adds(apply, tiny_base, alpha):
    prefix = "He did not like the weather.\n\n"
    policy = apply(Preadd(PreaddConfig(prefix=prefix, alpha=alpha)))
    base = plain_logits(tiny_base.model, tiny_base.tokenizer, TEXT)
    prefixed = plain_logits(tiny_base.model, tiny_base.tokenizer, prefix + TEXT)[-len(base) :]
    assert torch.allclose(policy_logits(policy), base + alpha * (prefixed - base), atol=1e-4)
    assert not policy.truncates


def test_preadd_filters_the_base_before_it_mixes(apply, tiny_base):
    policy = apply(Preadd(PreaddConfig(filter_p=0.6)))
    base = plain_logits(tiny_base.model, tiny_base.tokenizer, TEXT)
    kept = torch.stack([old_nucleus(row, 0.6) for row in base])
    whole, sampled = policy_logits(policy), policy_logits(policy, sampling=True)
    assert policy.truncates
    assert whole.isfinite().all()
    assert torch.equal(sampled.isfinite(), kept)
    assert torch.equal(sampled[kept], whole[kept])


def expert_logits(base: LoadedModel, folder: Path, text: str = TEXT) -> torch.Tensor:
    """Logits of the base model, loaded anew, that wears one adapter as PEFT loads it."""
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base.id), str(folder)).eval()
    return plain_logits(model, base.tokenizer, text)


@pytest.mark.parametrize("alpha", [2.0, 0.5])
def test_dexperts_mixes_three_models(apply, tiny_base, tiny_sets, tmp_path, alpha):
    policy = apply(DExperts(DExpertsConfig(alpha=alpha, **TRAINING)), tiny_sets)
    base = plain_logits(tiny_base.model, tiny_base.tokenizer, TEXT)
    good, bad = (expert_logits(tiny_base, tmp_path / "artifact" / name) for name in ("expert", "anti_expert"))
    assert float((good - bad).abs().max()) > 1e-2
    expected = base + alpha * (good - bad)
    assert torch.allclose(policy_logits(policy), expected, atol=1e-4)
    kept = torch.stack([old_nucleus(row, 0.9) for row in base])
    sampled = policy_logits(policy, sampling=True)
    assert policy.truncates
    assert 0 < int(kept.sum()) < kept.numel()
    assert torch.equal(sampled.isfinite(), kept)
    assert torch.allclose(sampled[kept], expected[kept], atol=1e-4)


def test_dexperts_anti_only_has_the_base_in_the_expert_s_place(apply, tiny_base, tiny_sets, tmp_path):
    policy = apply(DExperts(DExpertsConfig(anti_only=True, filter_p=1, **TRAINING)), tiny_sets)
    base = plain_logits(tiny_base.model, tiny_base.tokenizer, TEXT)
    bad = expert_logits(tiny_base, tmp_path / "artifact" / "anti_expert")
    assert not (tmp_path / "artifact" / "expert").exists()
    assert torch.allclose(policy_logits(policy, sampling=True), base + 2 * (base - bad), atol=1e-4)
    assert not policy.truncates


@pytest.mark.parametrize("options", [{}, {"decay": 3.0, "attributes": tuple(ANNOUNCED)}, {"epsilon": 0.5}])
def test_self_debias_multiplies_probabilities_as_published(apply, tiny_base, options):
    """Transcribed from the paper's alpha(delta): 1 where the announcement favours a token less, else a decay."""
    config = SelfDebiasConfig(**options)
    policy = apply(SelfDebias(config))
    base = plain_logits(tiny_base.model, tiny_base.tokenizer, TEXT).softmax(-1)
    announced = [f"The following text contains {ANNOUNCED[name]}:\n{TEXT}" for name in config.attributes]
    others = [plain_logits(tiny_base.model, tiny_base.tokenizer, text)[-len(base) :].softmax(-1) for text in announced]
    delta = torch.stack([base - other for other in others]).min(0).values
    decayed = torch.maximum((-config.decay * delta.abs()).exp(), torch.tensor(config.epsilon))
    assert float(decayed[delta < 0].min()) < 0.6
    expected = base * torch.where(delta >= 0, 1.0, decayed)
    expected = expected / expected.sum(-1, keepdim=True)
    assert torch.allclose(policy_logits(policy).softmax(-1), expected, atol=1e-5)
    assert not policy.truncates


@pytest.fixture
def gedi(apply, tiny_base, tiny_sets, tmp_path) -> Any:
    """From options to the policy, its configuration and the log-probabilities that it is made of, computed by hand."""

    def make(**options: Any) -> tuple[Policy, GediConfig, list[torch.Tensor]]:
        config = GediConfig(logit_scale=2.0, class_bias=0.5, **TRAINING, **options)
        policy = apply(Gedi(config), tiny_sets)
        base = plain_logits(tiny_base.model, tiny_base.tokenizer, TEXT)
        after = [
            expert_logits(tiny_base, tmp_path / "artifact", f"{code}\n{TEXT}")[-len(base) - 1 :]
            for code in (config.desired_code, config.undesired_code)
        ]
        return policy, config, [one.double().log_softmax(-1) for one in (base, *after)]

    return make


def gedi_by_hand(tiny_base: LoadedModel, config: GediConfig, logprobs: list[torch.Tensor]) -> tuple[Any, Any]:
    """The authors' decoding loop: class log-likelihoods are means over all tokens after the code, the next included.

    Returns:
        Weighted log-probabilities and log-probabilities of the desired class, [positions, vocabulary].
    """
    base, desired, undesired = logprobs
    ids = tiny_base.tokenizer(TEXT)["input_ids"]
    weighted, told = [], []
    for position in range(len(ids)):
        read = range(position + 1)
        means = [
            (sum(one[i, ids[i]] for i in read) + one[position + 1]) / (position + 2) for one in (desired, undesired)
        ]
        classes = torch.stack([config.logit_scale * means[0] + config.class_bias, config.logit_scale * means[1]])
        told.append(classes.log_softmax(0)[0])
        weighted.append(base[position] + config.omega * told[-1])
    return torch.stack(weighted), torch.stack(told)


@pytest.mark.parametrize("omega", [30.0, 3.0])
def test_gedi_weighs_by_the_class_of_the_text_so_far(gedi, tiny_base, omega):
    policy, config, logprobs = gedi(omega=omega)
    expected, _ = gedi_by_hand(tiny_base, config, logprobs)
    assert float((expected.log_softmax(-1) - logprobs[0]).abs().max()) > 1e-2
    assert torch.allclose(policy_logits(policy).double().log_softmax(-1), expected.log_softmax(-1), atol=2e-4)


@pytest.mark.parametrize(("filter_p", "target_p"), [(0.8, 0.8), (0.95, 0.45)])
def test_gedi_leaves_out_what_the_authors_leave_out(gedi, tiny_base, filter_p, target_p):
    """From the least desired token on, up to a mass; but none whose class is probable enough, bias considered."""
    policy, config, logprobs = gedi(filter_p=filter_p, target_p=target_p)
    weighted, told = gedi_by_hand(tiny_base, config, logprobs)
    target = 1 / (1 + math.exp(-(math.log(target_p / (1 - target_p)) + config.class_bias)))
    order = told.argsort(-1)
    below = weighted.softmax(-1).gather(-1, order).cumsum(-1) < filter_p
    removed = torch.zeros_like(below).scatter(-1, order, below & (told.gather(-1, order) < math.log(target)))
    sampled, whole = policy_logits(policy, sampling=True), policy_logits(policy)
    assert policy.truncates
    assert 0 < int(removed.sum()) < removed.numel()
    assert torch.equal(sampled.isfinite(), ~removed)
    assert torch.equal(sampled[~removed], whole[~removed])


def test_gedi_trains_both_losses(tiny_base, tiny_sets):
    config = GediConfig(generative=0.3, logit_scale=2.0, positives=2, negatives=1)
    items = draw_items(tiny_sets, config, 0)[:2]
    codes = [plain_prefix(tiny_base, code) for code in ("clean", "dirty")]
    collator = Collator(tiny_base.tokenizer, prefixes=codes, whole=True)
    found = Gedi(config).loss(score_batch(tiny_base.model, collator(items)))
    generative, discriminative = [], []
    for item in items:
        for text, own in [*((text, 0) for text in item.positives), *((text, 1) for text in item.negatives)]:
            nll = []
            for code in ("clean\n", "dirty\n"):
                logits = plain_logits(tiny_base.model, tiny_base.tokenizer, code + item.anchor + text)
                ids = torch.tensor(tiny_base.tokenizer(code + item.anchor + text)["input_ids"])
                start = len(tiny_base.tokenizer(code)["input_ids"])  # the anchor is part of what is learned
                nll.append(torch.nn.functional.cross_entropy(logits[start - 1 : -1], ids[start:]))
            generative.append(nll[own])
            discriminative.append(torch.nn.functional.cross_entropy(-2.0 * torch.stack(nll), torch.tensor(own)))
    expected = 0.3 * torch.stack(generative).mean() + 0.7 * torch.stack(discriminative).mean()
    assert len(generative) == 6
    assert float(found) == pytest.approx(float(expected), abs=1e-5)
