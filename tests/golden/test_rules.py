"""Rules of decoding with formulas and rewards, and the choice of the best: computed by hand, token by token."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from bench.engine.generation import Prompt, generate
from bench.errors import MissingError, UsageError
from bench.method import Method, RunContext
from bench.policy import LoadedModel, Policy
from bench.run.artifact import load_artifact, make_artifact
from bench.run.plan import Request, make_experiments
from bench.spec import Decoding, validate
from bench.suites import load_suite, names
from methods.best_of_n import BestOfN, BestOfNConfig
from methods.model_arithmetic import ModelArithmetic, ModelArithmeticConfig, Term, parse
from methods.rad import RAD, RADConfig, Reward, cumulative_error

TEXT = "The river rises in the hills, runs south past two small"
TOXIC, KIND = "It is rude.", "You are a very kind friend."
PROMPTS = {"toxic": TOXIC, "kind": KIND}


@pytest.fixture
def apply(tiny_base: LoadedModel, tmp_path: Path) -> Any:
    """From a method to its policy on the tiny model."""
    stack = ExitStack()

    def enter(method: Method[Any], sets: Any = None, unwanted: Any = None) -> Policy:
        if not (tmp_path / "artifact").exists():
            (tmp_path / "artifact").mkdir()
            make_artifact(method, tiny_base, sets, RunContext(tmp_path / "artifact", unwanted=unwanted))
        return stack.enter_context(method.applied(tiny_base, load_artifact(tmp_path / "artifact", unwanted=unwanted)))

    with stack:
        yield enter


def read(base: LoadedModel, text: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of a text at all positions, and what the output layer was given, from `transformers` alone."""
    with torch.no_grad():
        output = base.model(torch.tensor([base.tokenizer(text)["input_ids"]]), output_hidden_states=True)
    return output.logits[0], output.hidden_states[-1][0]


def probabilities(base: LoadedModel, before: str = "") -> torch.Tensor:
    """Of the next token after each beginning of the text, [positions, vocabulary]."""
    logits = read(base, f"{before}\n{TEXT}" if before else TEXT)[0]
    return logits[-len(base.tokenizer(TEXT)["input_ids"]) :].double().softmax(-1)


def policy_logits(policy: Policy, *, sampling: bool = False) -> torch.Tensor:
    ids = torch.tensor([policy.tokenizer(TEXT)["input_ids"]])
    return policy.forward(ids, torch.ones_like(ids), sampling=sampling)[0][0]


def token_by_token(policy: Policy) -> torch.Tensor:
    """The same, as sampling reads it."""
    ids = policy.tokenizer(TEXT)["input_ids"]
    prompt = torch.tensor([ids[:5]])
    logits, cache = policy.forward(prompt, torch.ones_like(prompt))
    found = [*logits[0]]
    for place in range(5, len(ids)):
        mask = torch.ones(1, place + 1, dtype=torch.int64)
        logits, cache = policy.forward(torch.tensor([[ids[place]]]), mask, cache, 1)
        found.append(logits[0, -1])
    return torch.stack(found)


# --- model arithmetic ---


@pytest.mark.parametrize(
    ("formula", "by_hand"),
    [
        ("base + 2*(base - toxic)", lambda m, t, _: m**3 / t**2),
        ("base - 0.6*toxic", lambda m, t, _: m ** (1 / 0.4) / t ** (0.6 / 0.4)),
        ("kind", lambda _, __, k: k),
        ("2*kind/4 + base*0.5", lambda m, _, k: (k * m).sqrt()),
        ("base - 0.9*union(toxic, base)", lambda m, t, _: (m / torch.maximum(m, t) ** 0.9) ** 10),
        ("base + intersection(toxic, base, kind)", lambda m, t, k: (m * torch.minimum(torch.minimum(m, t), k)).sqrt()),
    ],
)
def test_a_formula_is_a_weighted_product_of_probabilities(apply, tiny_base, formula, by_hand):
    policy = apply(ModelArithmetic(ModelArithmeticConfig(formula=formula, prompts=PROMPTS)))
    models = [probabilities(tiny_base, before) for before in ("", TOXIC, KIND)]
    expected = by_hand(*models)
    expected = expected / expected.sum(-1, keepdim=True)
    found = policy_logits(policy).double().softmax(-1)
    assert torch.allclose(found, expected, atol=1e-4)
    assert torch.allclose(token_by_token(policy).double().softmax(-1), expected, atol=1e-4)
    assert not policy.truncates


def test_a_formula_has_the_least_weighted_divergence(apply, tiny_base):
    """Any other distribution near it is farther from the models, by the formula's own weights."""
    policy = apply(ModelArithmetic(ModelArithmeticConfig(formula="base + 0.5*kind", prompts=PROMPTS)))
    own, kind = (probabilities(tiny_base, before)[3] for before in ("", KIND))
    best = policy_logits(policy)[3].double().softmax(-1)

    def divergence(one: torch.Tensor) -> float:
        return float((one * (1.5 * one.log() - own.log() - 0.5 * kind.log())).sum())

    for seed in range(5):
        noise = torch.randn(best.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        assert divergence((best.log() + 0.05 * noise).softmax(-1)) > divergence(best)


@pytest.mark.parametrize("strength", [0.5, 2.0])
def test_the_strength_of_a_formula_moves_log_probabilities(apply, tiny_base, strength):
    policy = apply(ModelArithmetic(ModelArithmeticConfig(formula="kind", prompts=PROMPTS, strength=strength)))
    own, kind = (probabilities(tiny_base, before).log() for before in ("", KIND))
    expected = (own + strength * (kind - own)).softmax(-1)
    assert torch.allclose(policy_logits(policy).double().softmax(-1), expected, atol=1e-4)


def test_formulas():
    assert parse("3*a - (1 - 2)*b/4") == {Term(("a",)): 3.0, Term(("b",)): 0.25}
    assert parse("a + a - b + b") == {Term(("a",)): 2.0}
    assert parse("-(-a)") == {Term(("a",)): 1.0}
    assert parse("a - 0.5*union(a, b)") == {Term(("a",)): 1.0, Term(("a", "b"), "union"): -0.5}


@pytest.mark.parametrize(
    ("formula", "why"),
    [
        ("base +", "cannot be read"),
        ("base*toxic", "'base \\* toxic' in 'formula' multiplies two models"),
        ("base + 1", "adds a number to a model"),
        ("base/toxic", "divides by a model, or by 0"),
        ("base/0", "divides by a model, or by 0"),
        ("base - toxic", "add up to 0, which they are divided by: it must be above 0"),
        ("-toxic", "add up to -1"),
        ("1e999*base", "add up to inf"),
        ("3 + 1", "is a number: it names no model"),
        ("union(base)", "'union\\(base\\)' in 'formula' is not understood"),
        ("union(base, 2*toxic)", "is not understood"),
        ("max(base, toxic)", "is not understood"),
        ("base if toxic else base", "is not understood"),
        ("base**2", "is not understood"),
        ("base - 0.5*toxik", "has 'toxik', which 'prompts' does not have; did you mean 'toxic'"),
        ("__import__('os')", "is not understood"),
        ("(" * 300 + "base", "cannot be read"),
    ],
)
def test_what_is_no_formula_is_refused_before_any_work(tiny_suite, formula, why):
    with pytest.raises(UsageError, match=why) as caught:
        make_experiments(
            Request(("model_arithmetic",), str(tiny_suite()), settings=[f"model_arithmetic.formula={formula}"])
        )
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("prompts", [{"base": "x"}, {"a b": "x"}, {"toxic": ""}, {"union": "x"}])
def test_what_names_no_prompt_is_refused(prompts):
    with pytest.raises(UsageError, match="prompts"):
        validate(ModelArithmeticConfig, {"prompts": prompts}, "method 'model_arithmetic'")


# --- reward-augmented decoding ---

SHORT = {"steps": 6, "rank": 3}


def reward_of(folder: Path, base: LoadedModel) -> torch.Tensor:
    """The reward of each beginning of the text with each next token, one by one, [positions, vocabulary]."""
    kept = {name: part.double() for name, part in load_file(folder / "reward.safetensors").items()}
    states, embeddings = read(base, TEXT)[1].double(), base.model.get_output_embeddings().weight.detach().double()
    found = torch.empty(len(states), len(embeddings), dtype=torch.float64)
    for place, state in enumerate(states / kept["lengths"][0]):
        for token, row in enumerate(embeddings / kept["lengths"][1]):
            key, value = kept["read"].T @ state, kept["write"].T @ row
            found[place, token] = torch.sigmoid(kept["bias"] + kept["weight"] @ state + key @ value)
    return found


@pytest.mark.parametrize("beta", [10.0, -3.0])
def test_rad_adds_the_reward_to_the_logits_of_the_top_k(apply, tiny_base, tiny_sets, tmp_path, beta):
    policy = apply(RAD(RADConfig(beta=beta, top_k=7, **SHORT)), tiny_sets)
    base, reward = read(tiny_base, TEXT)[0], reward_of(tmp_path / "artifact", tiny_base)
    assert float(reward.max() - reward.min()) > 0.01
    expected = base + beta * reward.float()
    assert torch.allclose(policy_logits(policy), expected, atol=1e-4)
    assert torch.allclose(token_by_token(policy), expected, atol=1e-4)
    kept = torch.zeros_like(base, dtype=torch.bool).scatter(-1, base.topk(7).indices, value=True)
    sampled = policy_logits(policy, sampling=True)
    assert policy.truncates
    assert torch.equal(sampled.isfinite(), kept)
    assert torch.allclose(sampled[kept], expected[kept], atol=1e-4)


def test_rad_may_sample_as_the_suite_does(apply, tiny_sets):
    policy = apply(RAD(RADConfig(top_k=0, **SHORT)), tiny_sets)
    assert not policy.truncates
    assert torch.equal(policy_logits(policy, sampling=True), policy_logits(policy))


def test_rad_learns_by_the_cumulative_squared_error():
    generator = torch.Generator().manual_seed(0)
    state, embeddings = (torch.randn(4, 6, generator=generator) for _ in range(2))
    reward = Reward(
        bias=torch.tensor(0.3),
        weight=torch.randn(6, generator=generator),
        read=torch.randn(6, 2, generator=generator),
        write=torch.randn(6, 2, generator=generator),
        lengths=torch.tensor([2.0, 0.5]),
    )
    for target in (0.0, 1.0):
        total = 0.0
        for place in range(4):
            given, row = state[place] / 2, embeddings[place] / 0.5
            raw = 0.3 + float(reward.weight @ given) + float((reward.read.T @ given) @ (reward.write.T @ row))
            total += (place + 1) * (1 / (1 + 2.718281828459045**-raw) - target) ** 2
        assert float(cumulative_error(reward, state, embeddings, target)) == pytest.approx(total / 10, abs=1e-5)


def test_rad_learns_to_tell_positives_from_negatives(apply, tiny_base, tiny_sets, tmp_path):
    """The reward of whole texts of the sets, after a training that is long for so few."""
    apply(RAD(RADConfig(steps=60, rank=4)), tiny_sets)
    kept = load_file(tmp_path / "artifact" / "reward.safetensors")
    reward, embeddings = Reward(**kept), tiny_base.model.get_output_embeddings().weight.detach()

    def last(anchor: str, text: str) -> float:
        ids, (_, states) = tiny_base.tokenizer(anchor + text)["input_ids"], read(tiny_base, anchor + text)
        return float(reward.of_each(states[-2:-1], reward.rows(embeddings[ids[-1:]]))[0])

    good = [last(one.anchor, text.text) for one in tiny_sets.sets for text in one.positives]
    bad = [last(one.anchor, text.text) for one in tiny_sets.sets for text in one.negatives]
    assert sum(good) / len(good) > sum(bad) / len(bad) + 0.2


# --- best of n ---


def vowels(texts: Sequence[str]) -> list[float | None]:
    """Something to choose by; blank texts, and those of a length that is a multiple of five, have no score."""
    return [
        None if not text.strip() or len(text) % 5 == 0 else sum(one in "aeiou" for one in text) / len(text)
        for text in texts
    ]


def sampled(policy: Policy, count: int) -> list[str]:
    prompts, decoding = (
        [Prompt(f"p{n}", text) for n, text in enumerate((TEXT, "She asked", "It rained"))],
        Decoding(num_samples=count, max_new_tokens=8),
    )
    found = [one for batch in generate(policy, prompts, decoding, 0) for one in batch]
    found.sort(key=lambda one: (one.prompt_id, one.sample))
    assert [one.sample for one in found] == [*range(count)] * 3
    return [one.text for one in found]


def test_the_best_of_n_is_kept(apply, tiny_policy):
    policy = apply(BestOfN(BestOfNConfig(n=4)), unwanted=vowels)
    drawn, expected = sampled(tiny_policy, 12), []
    for start in range(0, len(drawn), 4):
        group = drawn[start : start + 4]
        scored = [(score, text) for score, text in zip(vowels(group), group, strict=True) if score is not None]
        expected.append(min(scored, key=lambda pair: pair[0])[1] if scored else group[0])
    assert sampled(policy, 3) == expected != drawn[::4]
    assert torch.equal(policy_logits(policy), policy_logits(tiny_policy))


def test_one_of_one_is_the_base(apply, tiny_policy):
    assert sampled(apply(BestOfN(BestOfNConfig(n=1)), unwanted=vowels), 3) == sampled(tiny_policy, 3)


def test_what_is_blank_or_has_no_score_is_chosen_last(apply):
    policy = apply(BestOfN(BestOfNConfig(n=3)), unwanted=vowels)
    groups = [[" ", "aaaa", "eaes"], ["", "bbbbb", " "], ["bb", "cc", "aa"]]
    assert policy.choose(groups) == [2, 0, 0]


def test_without_a_scorer_nothing_is_chosen(tiny_base, tmp_path, apply):
    apply(BestOfN(BestOfNConfig()), unwanted=vowels)
    with (
        BestOfN(BestOfNConfig()).applied(tiny_base, load_artifact(tmp_path / "artifact")) as policy,
        pytest.raises(MissingError, match="chosen by a scorer"),
    ):
        policy.choose([["a", "b"]])


def test_the_label_says_that_it_sees_the_scorer_of_the_report(tiny_suite):
    def labels(**changes: Any) -> list[str]:
        asked = ("best_of_n", "contrastive+best_of_n:n=2", "contrastive")
        return [one.label for one in make_experiments(Request(asked, str(tiny_suite(**changes)), base=False))]

    assert labels() == [
        "best_of_n (sees the scorer of the report)",
        "contrastive+best_of_n (signed, best_of_n.n=2, sees the scorer of the report)",
        "contrastive (signed)",
    ]
    two = {"scorer": {"name": "bilstm"}, "scorers": [{"name": "svm"}]}
    sets = {"source": "self", "prompts": "rtp", "scorer": "svm"}
    assert labels(**two, sets=sets) == [
        "best_of_n (sees the further scorer svm)",
        "contrastive+best_of_n (signed, best_of_n.n=2, sees the further scorer svm)",
        "contrastive (signed)",
    ]


@pytest.mark.parametrize("name", [name for name in names() if not load_suite(name).is_unscored])
def test_in_every_suite_the_label_names_the_reporting_scorer_that_it_sees(name):
    """The scorer that labels the sets reports in each of them, as the headline or further: no label may be without."""
    spec = load_suite(name)
    (asked,) = make_experiments(Request(("best_of_n",), name, base=False))
    seen = "scorer of the report" if spec.labelling == spec.scorer else f"further scorer {spec.labelling.key}"
    assert asked.label == f"best_of_n (sees the {seen})"
    assert spec.labelling.key in [spec.scorer.key, *spec.further]
