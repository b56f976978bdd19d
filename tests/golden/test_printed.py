"""The paper's objective as printed against Equations 1-6 written out in float64, and what follows from them."""

import math

import numpy as np
import pytest
import torch

from bench.spec import validate
from methods.contrastive_printed import MOST_NATS, PrintedConfig, PrintedContrastivePerplexity
from methods.learning.batches import Likelihoods

Tokens = list[np.ndarray]
"""Of each text the log-probabilities of its tokens."""
Anchor = tuple[Tokens, Tokens]
"""The positives and the negatives of one anchor."""


def by_equations(anchors: list[Anchor], tau: float, alpha: float) -> float:
    """Klein & Nabi's Equations 1-6, in their order; the sum of Equation 2 as a mean over the anchors."""
    total = 0.0
    for positives, negatives in anchors:
        phi = [np.exp(-text.mean()) for text in (*positives, *negatives)]  # (1)
        c = np.mean(phi[: len(positives)])  # (5)
        s = (1 / tau) * np.exp(-np.abs(np.array(phi) - c))  # (4)
        w = np.array([1.0] * len(positives) + [alpha] * len(negatives))  # (6)
        j = s[: len(positives)].sum() / (w * s).sum()  # (3)
        total += -np.log(j)  # (2)
    return float(total / len(anchors))


def some_anchors(seed: int, *sizes: tuple[int, int], most: float = 1.5) -> list[Anchor]:
    made = np.random.default_rng(seed)

    def texts(count: int) -> Tokens:
        return [-made.uniform(0, 2 * most, made.integers(1, 8)) for _ in range(count)]

    return [(texts(good), texts(bad)) for good, bad in sizes]


def likelihoods(anchors: list[Anchor], dtype: torch.dtype = torch.float64) -> Likelihoods:
    rows = [
        (text, number, positive)
        for number, both in enumerate(anchors)
        for positive, texts in zip((True, False), both, strict=True)
        for text in texts
    ]
    return Likelihoods(
        logprob=torch.tensor([text.sum() for text, _, _ in rows], dtype=dtype),
        tokens=torch.tensor([len(text) for text, _, _ in rows]),
        group=torch.tensor([number for _, number, _ in rows]),
        positive=torch.tensor([positive for _, _, positive in rows]),
    )


def loss_of(seen: Likelihoods, **options: float) -> torch.Tensor:
    return PrintedContrastivePerplexity(PrintedConfig(**options)).loss(seen)


@pytest.mark.parametrize("sizes", [[(5, 5)], [(2, 7), (3, 8), (1, 1)]])
@pytest.mark.parametrize(("tau", "alpha"), [(0.1, 1.0), (0.2, 1.1), (3.0, 20.0)])
def test_it_is_the_equations(sizes, tau, alpha):
    anchors = some_anchors(len(sizes), *sizes)
    found = float(loss_of(likelihoods(anchors), tau=tau, alpha=alpha))
    assert found == pytest.approx(by_equations(anchors, tau, alpha), rel=1e-12)
    in_float32 = float(loss_of(likelihoods(anchors, torch.float32), tau=tau, alpha=alpha))
    assert in_float32 == pytest.approx(found, rel=1e-4)


def test_its_gradient_is_that_of_the_equations():
    anchors, step = some_anchors(3, (3, 2), (2, 3)), 1e-6
    seen = likelihoods(anchors)
    seen.logprob.requires_grad_()
    loss_of(seen).backward()
    place = 0
    for both in anchors:
        for text in (*both[0], *both[1]):
            before = text.copy()
            values = []
            for by in (step, -step):
                text[:] = before + by / len(text)
                values.append(by_equations(anchors, 0.1, 1.0))
            text[:] = before
            assert float(seen.logprob.grad[place]) == pytest.approx((values[0] - values[1]) / (2 * step), abs=1e-6)
            place += 1


def test_tau_cancels_and_alpha_does_not():
    seen = likelihoods(some_anchors(4, (4, 4)))
    assert float(loss_of(seen, tau=0.1)) == pytest.approx(float(loss_of(seen, tau=7.0)), rel=1e-12)
    assert float(loss_of(seen, alpha=2.0)) > float(loss_of(seen, alpha=1.0))


def test_a_shift_of_all_perplexities_changes_nothing():
    """Nothing of the print keeps the positives likely."""
    phi = torch.tensor([3.0, 5.0, 4.0, 9.0], dtype=torch.float64)
    rows = {
        "tokens": torch.ones(4),
        "group": torch.zeros(4, dtype=torch.int64),
        "positive": torch.tensor([True, True, False, False]),
    }
    losses = [float(loss_of(Likelihoods(logprob=-(phi + shift).log(), **rows))) for shift in (0, 100)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-9)


def test_a_far_negative_has_next_to_no_gradient():
    """Why `contrastive` takes the logarithm: at perplexities of 30 and 3.5 the print has nothing left to learn."""
    seen = likelihoods([([np.array([-math.log(3.5)])], [np.array([-math.log(30.0)])])])
    seen.logprob.requires_grad_()
    loss_of(seen).backward()
    assert 0 < float(seen.logprob.grad[1]) < 1e-9


@pytest.mark.parametrize("nats", [80.0, 1e3, 1e30])
def test_float32_holds_whatever_the_perplexity(nats):
    assert nats > MOST_NATS
    texts: Anchor = ([np.array([-nats]), np.array([-1.0])], [np.array([-nats]), np.array([-0.5]), np.array([-3.0])])
    seen = likelihoods([texts], torch.float32)
    seen.logprob.requires_grad_()
    loss = loss_of(seen)
    loss.backward()
    assert loss.isfinite()
    assert seen.logprob.grad.isfinite().all()


def test_the_defaults_are_table_9():
    found = PrintedConfig().model_dump()
    table = {"lr": 2.2e-5, "tau": 0.1, "alpha": 1.0, "epochs": 1, "lora_r": 64, "lora_alpha": 16}
    assert {key: found[key] for key in table} == table
    assert (found["positives"], found["negatives"]) == (5, 5)
    assert found["anchors_per_step"] / found["accumulation"] == 2


@pytest.mark.parametrize("options", [{"positives": 0}, {"negatives": 0}, {"alpha": 0}])
def test_what_the_equations_leave_undefined_or_nothing_to_learn_is_refused(options):
    with pytest.raises(Exception, match="greater than"):
        validate(PrintedConfig, options, "contrastive_printed")
