"""The loss of contrastive perplexity against a transcription of its equations, loop by loop, in plain Python."""

import math
from typing import Any

import pytest
import torch

from bench.errors import UsageError
from bench.spec import validate
from methods.contrastive import ContrastiveConfig, objective
from methods.learning.batches import Likelihoods

FORMS = ("paper", "signed", "reference")

Anchor = tuple[list[float], list[float]]
"""phi of the positives and of the negatives of one anchor."""


def by_hand(anchors: list[Anchor], config: ContrastiveConfig) -> float:
    """Mean over the anchors of -log J (or the reference's cross-entropy) + anchor_weight * c.

    s(x) = exp(-|phi(x) - c| / tau), J = sum_P s / (sum_P s + alpha * sum_N s), c = mean phi over the positives
    (Klein & Nabi, ACL 2025, Equations 2-6, with log-perplexity and tau in the exponent). signed: s(x) =
    exp(-(phi(x) - c) / tau) for negatives. reference: u = exp(-|phi - c|) / tau, + alpha for negatives; sum over the
    positives of -log softmax(u), over |P| + 1. Without positives: c = 0 and one text of similarity 1 in their place.
    """
    everyone = [phi for good, _ in anchors for phi in good]
    total = 0.0
    for good, bad in anchors:
        c = sum(good) / len(good) if good else 0.0
        centre = c
        if config.prototype == "batch":
            centre = sum(everyone) / len(everyone) if everyone else 0.0
        if config.objective == "reference":
            u_good = [math.exp(-abs(phi - centre)) / config.tau for phi in good]
            u_bad = [math.exp(-abs(phi - centre)) / config.tau + config.alpha for phi in bad]
            partition = sum(math.exp(u) for u in u_good + u_bad)
            loss = sum(-math.log(math.exp(u) / partition) for u in u_good) / (len(good) + 1)
        else:
            numerator = sum(math.exp(-abs(phi - centre) / config.tau) for phi in good) if good else 1.0
            denominator = numerator
            for phi in bad:
                distance = abs(phi - centre) if config.objective == "paper" else phi - centre
                denominator += config.alpha * math.exp(-distance / config.tau)
            loss = -math.log(numerator / denominator)
        total += loss + config.anchor_weight * c
    return total / len(anchors)


def scores(anchors: list[Anchor], *, shuffled: int | None = None) -> Likelihoods:
    """What a loss sees of these texts: each of 1 to 7 tokens, so that phi is not the log-likelihood."""
    rows = [
        (phi, number, positive)
        for number, (good, bad) in enumerate(anchors)
        for positive, some in ((True, good), (False, bad))
        for phi in some
    ]
    if shuffled is not None:
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(shuffled)).tolist()
        rows = [rows[place] for place in order]
    tokens = torch.tensor([1 + place % 7 for place in range(len(rows))])
    phi = torch.tensor([row[0] for row in rows], dtype=torch.float64)
    return Likelihoods(
        logprob=-phi * tokens,
        tokens=tokens,
        group=torch.tensor([row[1] for row in rows]),
        positive=torch.tensor([row[2] for row in rows]),
    )


def loss_of(anchors: list[Anchor], **options: Any) -> float:
    return float(objective(scores(anchors), ContrastiveConfig(**options)))


def random_anchors(seed: int, *sizes: tuple[int, int]) -> list[Anchor]:
    generator = torch.Generator().manual_seed(seed)

    def some(count: int) -> list[float]:
        return (0.5 + 4 * torch.rand(count, generator=generator, dtype=torch.float64)).tolist()

    return [(some(good), some(bad)) for good, bad in sizes]


SHAPES = {
    "one": [(4, 4)],
    "several": [(4, 4), (2, 5), (1, 3)],
    "one-to-one": [(1, 1), (1, 1)],
    "positives-only": [(3, 0), (2, 0)],
    "negatives-only": [(0, 3), (0, 2)],
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("prototype", ["anchor", "batch"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("tau", "alpha", "weight"), [(1.0, 1.0, 0.3), (0.2, 10.0, 0.0), (3.0, 0.1, 1.0)])
def test_it_is_the_equations(form, prototype, shape, tau, alpha, weight):
    config = ContrastiveConfig(objective=form, prototype=prototype, tau=tau, alpha=alpha, anchor_weight=weight)
    anchors = random_anchors(len(shape), *SHAPES[shape])
    assert float(objective(scores(anchors), config)) == pytest.approx(by_hand(anchors, config), abs=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_gradients_are_those_of_the_equations(form):
    """Central differences of the transcription, in float64; c is part of the graph."""
    config = ContrastiveConfig(objective=form, tau=0.7, alpha=2.0, anchor_weight=0.3)
    anchors = random_anchors(5, (3, 2), (2, 3))
    made = scores(anchors)
    made.logprob.requires_grad_()
    objective(made, config).backward()
    gradient = (-made.logprob.grad * made.tokens).tolist()  # by phi, as logprob = -phi * tokens
    step, place = 1e-6, 0
    for number, anchor in enumerate(anchors):
        for kind, values in enumerate(anchor):
            for i in range(len(values)):

                def moved(by: float, number: int = number, kind: int = kind, i: int = i) -> float:
                    changed = [(list(good), list(bad)) for good, bad in anchors]
                    changed[number][kind][i] += by
                    return by_hand(changed, config)

                assert gradient[place] == pytest.approx((moved(step) - moved(-step)) / (2 * step), abs=1e-7)
                place += 1


@pytest.mark.parametrize("form", FORMS)
def test_the_order_of_the_rows_does_not_matter(form):
    anchors = random_anchors(6, (3, 2), (2, 4), (1, 1))
    config = ContrastiveConfig(objective=form)
    expected = float(objective(scores(anchors), config))
    assert float(objective(scores(anchors, shuffled=1), config)) == pytest.approx(expected, abs=1e-12)


HAND: list[Anchor] = [([2.0, 3.0], [2.0, 4.0])]
"""c = 2.5; both positives and the first negative lie 0.5 from it, the second negative 1.5."""


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # 2 e^-.5 / (3 e^-.5 + e^-1.5) = 2 / (3 + e^-1)
        ({"objective": "paper"}, math.log((3 + math.exp(-1)) / 2)),
        # the first negative counts e^.5: 2 / (2 + e + e^-1)
        ({"objective": "signed"}, math.log((2 + math.e + math.exp(-1)) / 2)),
        ({"objective": "signed", "anchor_weight": 0.3}, math.log((2 + math.e + math.exp(-1)) / 2) + 0.75),
        ({"objective": "paper", "tau": 0.5}, math.log((3 + math.exp(-2)) / 2)),
        ({"objective": "paper", "alpha": 10.0}, math.log((2 + 10 * (1 + math.exp(-1))) / 2)),
        # u = .606531 (e^-.5) for the positives, 1.606531 and 1.223130 for the negatives: the softmax's logarithm is
        # .606531 - log 12.051411 = -1.882650 for each positive; twice that over |P| + 1 = 3
        ({"objective": "reference"}, 1.255100),
    ],
)
def test_a_case_worked_by_hand(options, expected):
    options = {"tau": 1.0, "alpha": 1.0, "anchor_weight": 0.0, **options}
    assert loss_of(HAND, **options) == pytest.approx(expected, abs=1e-6)


def test_without_positives_one_text_of_similarity_1_stands_for_them():
    loss = loss_of([([], [2.0, 4.0])], objective="signed", alpha=1.0)
    assert loss == pytest.approx(math.log(1 + math.exp(-2) + math.exp(-4)), abs=1e-9)


@pytest.mark.parametrize("form", FORMS)
def test_tau_and_alpha_matter(form):
    anchors = random_anchors(7, (3, 3))
    values = {
        round(loss_of(anchors, objective=form, tau=tau, alpha=alpha), 6)
        for tau, alpha in ((1.0, 1.0), (0.5, 1.0), (1.0, 2.0))
    }
    assert len(values) == 3


def test_only_signed_pushes_up_a_negative_that_is_likelier_than_the_positives():
    """What sets the two forms apart: the gradient on a negative with phi < c."""

    def slope(form: str) -> float:
        made = scores([([2.0, 3.0], [1.0])])
        made.logprob.requires_grad_()
        objective(made, ContrastiveConfig(objective=form, anchor_weight=0.0)).backward()
        return float(-made.logprob.grad[2])

    assert slope("signed") < 0  # descending raises phi
    assert slope("paper") > 0


def test_far_texts_stay_finite():
    anchors = [([1.0, 400.0], [900.0, 0.0])]
    for form in FORMS:
        assert math.isfinite(loss_of(anchors, objective=form, tau=0.05))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"negatives": 0, "anchor_weight": 0}, "anchor_weight"),
        ({"alpha": 0, "anchor_weight": 0}, "anchor_weight"),
        ({"alpha": 0, "positives": 0}, "anchor_weight"),
        ({"objective": "reference", "positives": 0}, "positives = 0 leaves none"),
        ({"negatives": 0, "positives": 0}, "cannot both be 0"),
    ],
)
def test_nothing_to_learn_is_refused(options, why):
    with pytest.raises(UsageError, match=why):
        validate(ContrastiveConfig, options, "method 'contrastive'")


@pytest.mark.parametrize(
    "options",
    [{"negatives": 0}, {"positives": 0}, {"objective": "reference", "negatives": 0, "anchor_weight": 0}],
)
def test_one_sided_settings_learn(options):
    config = validate(ContrastiveConfig, options, "method 'contrastive'")
    good, bad = ([2.0, 3.0, 5.0] if config.positives else []), ([2.5, 4.0] if config.negatives else [])
    made = scores([(good, bad)])
    made.logprob.requires_grad_()
    objective(made, config).backward()
    assert float(made.logprob.grad.abs().max()) > 0
