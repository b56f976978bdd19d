"""Losses against transcriptions of their papers' equations, token by token, in plain Python: value and gradient."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from methods.kto import KTO, KTOConfig
from methods.learning.batches import Likelihoods
from methods.npo import NPO, NPOConfig
from methods.orpo import ORPO, ORPOConfig, log1mexp
from methods.sft import SFT, SFTConfig
from methods.simnpo import SimNPO, SimNPOConfig
from methods.unlikelihood import Unlikelihood, UnlikelihoodConfig


@dataclass(frozen=True)
class Text:
    """One text of a micro-batch: its anchor's number, its kind, log p of each token, log-likelihood under the base."""

    anchor: int
    positive: bool
    tokens: tuple[float, ...]
    reference: float


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def log_sigmoid(x: float) -> float:
    return -math.log(1 + math.exp(-x))


def logprob(text: Text) -> float:
    """log p(y | x) = sum_t log p(y_t | x, y_<t)."""
    return sum(text.tokens)


def phi(text: Text) -> float:
    """-(1 / |y|) log p(y | x)."""
    return -sum(text.tokens) / len(text.tokens)


def good(texts: Sequence[Text]) -> list[Text]:
    return [text for text in texts if text.positive]


def bad(texts: Sequence[Text]) -> list[Text]:
    return [text for text in texts if not text.positive]


def sft(texts: Sequence[Text], config: SFTConfig) -> float:
    """Maximum likelihood of the positives, each weighing the same."""
    del config
    return mean([phi(text) for text in good(texts)])


def unlikelihood(texts: Sequence[Text], config: UnlikelihoodConfig) -> float:
    """Welleck et al., 2020, Equation 4, the negative candidate at each position being a negative text's own token."""
    total, count = 0.0, 0
    for text in bad(texts):
        for token in text.tokens:
            total += -math.log(1 - math.exp(token))
            count += 1
    return mean([phi(text) for text in good(texts)]) + config.alpha * total / count


def npo(texts: Sequence[Text], config: NPOConfig) -> float:
    """Zhang et al., 2024, Equation 3, in its second form: (2 / beta) E log(1 + (p / p_ref)^beta)."""
    beta = config.beta
    forget = [2 / beta * math.log(1 + math.exp(logprob(text) - text.reference) ** beta) for text in bad(texts)]
    return mean(forget) + (config.retain * mean([phi(text) for text in good(texts)]) if config.retain else 0)


def simnpo(texts: Sequence[Text], config: SimNPOConfig) -> float:
    """Fan et al., 2024, Equation 4: -(2 / beta) E log sigmoid(-(beta / |y|) log p - gamma)."""
    forget = []
    for text in bad(texts):
        reward = -config.beta / len(text.tokens) * logprob(text)
        forget.append(-2 / config.beta * log_sigmoid(reward - config.gamma))
    return mean(forget) + (config.retain * mean([phi(text) for text in good(texts)]) if config.retain else 0)


MOVED = (0.9, -0.2, 0.4)
"""Log-ratios of mismatched texts; their mean is above 0."""


def kto(texts: Sequence[Text], config: KTOConfig, moved: Sequence[float] = MOVED) -> float:
    """Ethayarajh et al., 2024, Equation 8: E[lambda_y - v(x, y)]."""
    z = max(0.0, mean(moved)) if moved else 0.0
    losses = []
    for text in texts:
        ratio = logprob(text) - text.reference
        weight = config.desirable_weight if text.positive else config.undesirable_weight
        gain = ratio - z if text.positive else z - ratio
        losses.append(weight - weight / (1 + math.exp(-config.beta * gain)))
    return mean(losses)


def orpo(texts: Sequence[Text], config: ORPOConfig) -> float:
    """Hong et al., 2024, Equations 4, 6 and 7: odds(y | x) = P / (1 - P) of the geometric mean token probability P."""
    nll, tokens, ratios = 0.0, 0, []
    for anchor in sorted({text.anchor for text in texts}):
        chosen = [text for text in good(texts) if text.anchor == anchor]
        rejected = [text for text in bad(texts) if text.anchor == anchor]
        for j in range(max(len(chosen), len(rejected))):
            one, other = chosen[j % len(chosen)], rejected[j % len(rejected)]
            odds = [math.exp(-phi(text)) / (1 - math.exp(-phi(text))) for text in (one, other)]
            ratios.append(-log_sigmoid(math.log(odds[0] / odds[1])))
            nll -= logprob(one)
            tokens += len(one.tokens)
    return nll / tokens + config.weight * mean(ratios)


CASES: dict[str, tuple[Any, Callable[[Sequence[Text], Any], float]]] = {
    "sft": (SFT(SFTConfig()), sft),
    "unlikelihood": (Unlikelihood(UnlikelihoodConfig()), unlikelihood),
    "unlikelihood-weighted": (Unlikelihood(UnlikelihoodConfig(alpha=0.3)), unlikelihood),
    "npo": (NPO(NPOConfig()), npo),
    "npo-forget-alone": (NPO(NPOConfig(beta=0.7, retain=0)), npo),
    "simnpo": (SimNPO(SimNPOConfig()), simnpo),
    "simnpo-margin": (SimNPO(SimNPOConfig(beta=0.5, gamma=0.8, retain=2.5)), simnpo),
    "kto": (KTO(KTOConfig()), kto),
    "kto-weighted": (KTO(KTOConfig(beta=0.6, desirable_weight=1.4, undesirable_weight=0.5)), kto),
    "orpo": (ORPO(ORPOConfig(weight=0.7)), orpo),
}
SHAPES = {"one-to-one": [(1, 1)], "even": [(4, 4), (4, 4)], "uneven": [(2, 3), (1, 4), (3, 1)]}


def random_texts(seed: int, sizes: Sequence[tuple[int, int]]) -> list[Text]:
    """Texts of 1 to 6 tokens, each of probability exp(-3.5) to exp(-0.1)."""
    draw = torch.Generator().manual_seed(seed)

    def some(count: int) -> list[float]:
        return torch.rand(count, generator=draw, dtype=torch.float64).tolist()

    texts = []
    for anchor, counts in enumerate(sizes):
        for positive, count in zip((True, False), counts, strict=True):
            for _ in range(count):
                tokens = tuple(-0.1 - 3.4 * x for x in some(1 + int(torch.randint(6, (1,), generator=draw))))
                texts.append(Text(anchor, positive, tokens, sum(tokens) + 4 * some(1)[0] - 2))
    return texts


def scores(texts: Sequence[Text], moved: Sequence[float] = MOVED) -> tuple[Likelihoods, torch.Tensor]:
    """What a loss sees of them, and the tokens' log-probabilities [texts, width] that it follows from."""
    width = max(len(text.tokens) for text in texts)
    rows = [[*text.tokens, *[0.0] * (width - len(text.tokens))] for text in texts]
    present = torch.tensor([[1] * len(text.tokens) + [0] * (width - len(text.tokens)) for text in texts])
    tokens = torch.tensor(rows, dtype=torch.float64, requires_grad=True)
    seen = Likelihoods(
        logprob=(tokens * present).sum(-1),
        tokens=present.sum(-1),
        group=torch.tensor([text.anchor for text in texts]),
        positive=torch.tensor([text.positive for text in texts]),
        token_logprob=tokens * present,
        present=present,
        reference=torch.tensor([text.reference for text in texts], dtype=torch.float64),
        mismatched=torch.tensor(moved, dtype=torch.float64),
    )
    return seen, tokens


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("case", CASES)
def test_it_is_the_equation(case, shape):
    method, by_hand = CASES[case]
    texts = random_texts(len(shape), SHAPES[shape])
    assert float(method.loss(scores(texts)[0])) == pytest.approx(by_hand(texts, method.config), abs=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_gradients_are_those_of_the_equation(case):
    """Central differences of the transcription by each token's log-probability, in float64."""
    method, by_hand = CASES[case]
    texts = random_texts(7, SHAPES["uneven"])
    seen, tokens = scores(texts)
    method.loss(seen).backward()
    step = 1e-6
    for row, text in enumerate(texts):
        for place in range(len(text.tokens)):

            def moved(by: float, row: int = row, place: int = place, text: Text = text) -> float:
                changed = tuple(token + by * (i == place) for i, token in enumerate(text.tokens))
                return by_hand([*texts[:row], replace(text, tokens=changed), *texts[row + 1 :]], method.config)

            expected = (moved(step) - moved(-step)) / (2 * step)
            assert float(tokens.grad[row, place]) == pytest.approx(expected, abs=1e-6)
        assert tokens.grad[row, len(text.tokens) :].abs().sum() == 0  # padding


@pytest.mark.parametrize("moved", [(-0.5, 0.1), ()], ids=["below-0", "none"])
def test_how_far_kto_has_moved_is_never_below_0(moved):
    """Nor is it known where a micro-batch has no mismatched texts; then it is taken as 0."""
    texts = random_texts(8, SHAPES["even"])
    method = KTO(KTOConfig(beta=0.5))
    found = float(method.loss(scores(texts, moved)[0]))
    assert found == pytest.approx(kto(texts, method.config, (0.0,)), abs=1e-6)
    assert found != pytest.approx(kto(texts, method.config), abs=1e-3)


def test_a_token_that_is_all_but_certain_has_a_finite_loss():
    """1 - p is at least 1e-5, as in the authors' code."""
    texts = [Text(0, True, (-1.0,), 0.0), Text(0, False, (-1e-9, -1e-12), 0.0)]
    seen, tokens = scores(texts)
    loss = Unlikelihood(UnlikelihoodConfig()).loss(seen)
    loss.backward()
    assert float(loss) == pytest.approx(1 - math.log(1e-5))
    assert bool(tokens.grad.isfinite().all())


def test_odds_are_stable_at_both_ends():
    """Of texts that are all but certain and all but impossible."""
    texts = [Text(0, True, (-1e-7, -1e-7), 0.0), Text(0, False, (-60.0, -80.0), 0.0)]
    seen, tokens = scores(texts)
    loss = ORPO(ORPOConfig()).loss(seen)
    loss.backward()
    assert bool(loss.isfinite())
    assert bool(tokens.grad.isfinite().all())


@given(st.floats(-200, 0, width=32), st.floats(-200, 0, width=32), st.booleans())
def test_odds_have_a_finite_slope_wherever_texts_lie(good, bad, near):
    """Also where a text has a probability of exactly 1, as a short text that was learned by heart."""
    good, bad = (one * 1e-7 for one in (good, bad)) if near else (good, bad)
    seen, tokens = scores([Text(0, True, (good,), 0.0), Text(0, False, (bad,), 0.0)])
    loss = ORPO(ORPOConfig()).loss(seen)
    loss.backward()
    assert bool(loss.isfinite())
    assert bool(tokens.grad.isfinite().all())


@given(st.floats(-80, -1e-6))
def test_the_logarithm_of_the_rest_is_that_of_pythons_mathematics(x):
    at = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    found = log1mexp(at)
    found.backward()
    assert float(found) == pytest.approx(math.log(-math.expm1(x)), rel=1e-12)
    assert float(at.grad) == pytest.approx(-1 / math.expm1(-x), rel=1e-9)
