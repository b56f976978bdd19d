"""Sets of ranks: who may be best, and that all pairs are judged together."""

import numpy as np
import pytest
from synthetic import evidence

from bench import stats
from bench.errors import MissingError
from bench.stats.ranks import ranks_of
from bench.stats.spread import Component


def nothing(_first, _second):
    return [Component(), Component()]


def ranks(figures, errors, parts=nothing, *, higher=True):
    found = ranks_of(np.array(figures, dtype=float), errors, parts, higher_is_better=higher, level=0.95, seed=0)
    return [(one.low, one.high) for one in found]


def test_what_is_far_apart_is_ranked_and_what_is_near_is_not():
    errors = np.random.default_rng(0).normal(size=(4000, 4))
    assert ranks([0, 100, 200, 201], errors) == [(4, 4), (3, 3), (1, 2), (1, 2)]
    assert ranks([0, 100, 200, 201], errors, higher=False) == [(1, 1), (2, 2), (3, 4), (3, 4)]
    assert ranks([0, 0, 0, 0], errors) == 4 * [(1, 4)]
    best = ranks_of(np.array([0.0, 9.0]), errors[:, :2], nothing, higher_is_better=True, level=0.95, seed=0)[1]
    assert (best.is_best, best.may_be_best, best.of) == (True, True, 2)


def test_clearly_worse_than_any_is_clearly_not_best():
    """A best figure that is hardly known hides nobody: it is told from no one, and another is."""
    errors = np.random.default_rng(1).normal(size=(4000, 3)) * [30, 0.1, 0.1]
    found = ranks([-1, 0, 5], errors, higher=False)
    assert found == [(1, 3), (1, 2), (2, 3)]


def test_many_pairs_ask_for_more_than_one_does():
    errors = np.random.default_rng(2).normal(size=(4000, 20))
    gap = 2.3 * np.sqrt(2)  # 2.3 standard errors
    assert ranks([0, gap], errors[:, :2]) == [(2, 2), (1, 1)]
    assert ranks([0, gap, *18 * [gap / 2]], errors) == 20 * [(1, 20)]


def test_step_down_finds_what_one_step_does_not():
    """Once the far pairs are told apart, only the near ones are left to compare with each other."""
    errors = np.random.default_rng(3).normal(size=(20_000, 4))
    near = 2.3 * np.sqrt(2)  # beyond what one pair asks for, and not beyond what six do
    assert ranks([0, near, near / 2, near / 2], errors) == 4 * [(1, 4)]
    assert ranks([0, near, 1000, 2000], errors) == [(4, 4), (3, 3), (2, 2), (1, 1)]


def test_who_may_be_best_is_asked_in_one_direction_and_not_of_all_pairs():
    errors = np.random.default_rng(7).normal(size=(20_000, 20))
    gap = 3.1 * np.sqrt(2)  # beyond what 19 comparisons with one ask for, and not beyond what 190 pairs do
    found = ranks_of(np.array([0, gap, *18 * [gap]]), errors, nothing, higher_is_better=True, level=0.95, seed=0)
    assert [(one.low, one.high) for one in found] == 20 * [(1, 20)]
    assert [one.may_be_best for one in found] == [False, *19 * [True]]
    turned = ranks_of(np.array([0, gap, *18 * [gap]]), errors, nothing, higher_is_better=False, level=0.95, seed=0)
    assert [one.may_be_best for one in turned] == [True, *19 * [False]]


@pytest.mark.parametrize("training", [0.0, 0.7])
def test_the_best_may_be_best_in_19_of_20_tables(training):
    """Eight systems that are equal: each is kept that often, which is the hardest case there is."""
    rng = np.random.default_rng(8)
    errors = rng.normal(size=(2000, 8))
    spread = np.sqrt(1 + training**2)
    known = [Component(training**2, 0.0, 14)]
    kept = [
        ranks_of(
            spread * rng.normal(size=8), errors, lambda *_: 2 * known, higher_is_better=True, level=0.95, seed=one
        )[0].may_be_best
        for one in range(300)
    ]
    assert np.mean(kept) >= 0.93


def test_what_trainings_add_joins_ranks():
    errors = np.random.default_rng(4).normal(size=(4000, 2))
    assert ranks([0, 6], errors) == [(2, 2), (1, 1)]
    assert ranks([0, 6], errors, lambda *_: 2 * [Component(9.0, 0.0, 40)]) == 2 * [(1, 2)]


@pytest.mark.parametrize("statistic", ["mean", "exp_mean", "median"])
def test_ranks_of_systems(statistic):
    rng = np.random.default_rng(5)
    prompt = 3 + rng.normal(size=(80, 1))
    figures = [prompt + shift + 0.2 * rng.normal(size=(80, 3)) for shift in (0, 0.02, 1)]
    figures = [np.exp(one) for one in figures] if statistic == "median" else figures
    systems = stats.Systems([[evidence(one, statistic, bounded=False)] for one in [*figures, figures[0]]])
    found = systems.ranks(range(4), higher_is_better=False)
    assert [(one.low, one.high) for one in found] == [(1, 3), (1, 3), (4, 4), (1, 3)]
    assert [one.of for one in systems.ranks([0, 2], higher_is_better=True)] == [2, 2]
    with pytest.raises(MissingError, match="in common"):
        stats.Systems([[evidence(figures[0], bounded=False)], []]).ranks([0, 1], higher_is_better=True)
    with pytest.raises(MissingError, match="single"):
        stats.Systems([[evidence([[1.0]])], [evidence([[2.0]])]]).ranks([0, 1], higher_is_better=True)


@pytest.mark.parametrize(("prompts", "told"), [(5, False), (6, True)])
@pytest.mark.parametrize("statistic", ["exp_mean", "median"])
def test_few_prompts_rank_nothing_that_no_test_can_tell(statistic, prompts, told):
    """Five prompts have 2^5 exchanges, so that p is 1/16 at least, however far apart two systems are."""
    values = np.linspace(1, 2, prompts)[:, None] + 0.1 * np.arange(4)
    systems = stats.Systems([[evidence(one, statistic, bounded=False)] for one in (values, values + 3)])
    assert (systems.significance(0, 1).p <= 0.05) == told
    low, high = systems.ranks([0, 1], higher_is_better=False)
    assert (low.is_best, high.low) == ((True, 2) if told else (False, 1))
    assert high.may_be_best == (statistic == "median" and not told)


def test_two_systems_are_ranked_as_they_are_tested():
    """With two there is one pair: told apart where the exchange of prompts has p < 0.05."""
    rng = np.random.default_rng(6)
    agree = 0
    for _ in range(40):
        a, b = (evidence(rng.random((30, 4)) < share) for share in (0.5, 0.62))
        systems = stats.Systems([[a], [b]])
        told = systems.ranks([0, 1], higher_is_better=True)[1].is_best
        p = systems.significance(0, 1).p
        agree += told == (p <= 0.05) or 0.03 < p < 0.07
    assert agree == 40
