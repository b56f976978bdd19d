"""Intervals of bounded means in clusters: the exact binomial ones where they must be, and what seeds add."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from bench import stats
from bench.stats import proportion
from bench.store.record import Evidence


def evidence(values, weight=None) -> Evidence:
    """One row a cluster."""
    rows = np.asarray(values, dtype=float)
    rows = rows.reshape(len(rows), -1)
    return Evidence(
        statistic="mean",
        bounded=True,
        cluster_ids=[f"c{n}" for n in range(len(rows))],
        cluster=np.repeat(np.arange(len(rows)), rows.shape[1]).tolist(),
        value=rows.ravel().tolist(),
        weight=None if weight is None else np.repeat(np.asarray(weight, dtype=float), rows.shape[1]).tolist(),
    )


def ends(found: stats.Interval) -> tuple[float, float]:
    return found.low, found.high


@pytest.mark.parametrize(("hits", "n"), [(1, 40), (3, 64), (32, 64), (63, 64), (160, 1000)])
def test_clusters_of_0_and_1_have_the_interval_of_clopper_and_pearson(hits, n):
    found = stats.interval([evidence(np.arange(n) < hits)])
    known = scipy_stats.binomtest(hits, n).proportion_ci(0.95, "exact")
    width = known.high - known.low
    assert found.low == pytest.approx(known.low, abs=0.02 * width)
    assert found.high == pytest.approx(known.high, abs=0.02 * width)


@pytest.mark.parametrize("stuck", [0.0, 1.0])
def test_the_interval_joins_the_exact_one_where_all_clusters_agree(stuck):
    values = np.full((64, 5), stuck)
    exact = stats.interval([evidence(values)])
    values[0, 0] = abs(stuck - 1e-6)
    near = stats.interval([evidence(values)])
    assert near.low == pytest.approx(exact.low, abs=0.002)
    assert near.high == pytest.approx(exact.high, abs=0.002)


def test_the_interval_of_the_opposite_is_the_opposite():
    values = np.random.default_rng(0).beta(0.1, 1, (64, 5))
    found, other = (stats.interval([evidence(one)]) for one in (values, 1 - values))
    assert found.low == pytest.approx(1 - other.high, abs=2e-3)
    assert found.high == pytest.approx(1 - other.low, abs=2e-3)


def test_many_clusters_that_are_not_rare_have_the_normal_interval():
    values = np.random.default_rng(0).beta(2, 2, 2000)
    found = stats.interval([evidence(values)])
    known = scipy_stats.norm.interval(0.95, values.mean(), scipy_stats.sem(values))
    assert ends(found) == pytest.approx(known, abs=0.002)


def test_one_very_toxic_prompt_may_yet_come():
    """One sample of 25 was toxic, at one of 64 prompts: the end is not that of 1,600 samples."""
    values = np.zeros((64, 25))
    values[0, 0] = 1
    assert stats.interval([evidence(values)]).high > 0.05


def test_weights_count():
    values = np.random.default_rng(1).random(50)
    weight = np.random.default_rng(2).integers(1, 4, 50)
    weighted, alike = stats.interval([evidence(values, weight)]), stats.interval([evidence(values, 3 * weight)])
    assert ends(weighted) == pytest.approx(ends(alike), rel=1e-9)
    assert weighted.low < float(np.average(values, weights=weight)) < weighted.high
    assert weighted != stats.interval([evidence(values)])


def test_seeds_that_agree_add_nothing_and_seeds_that_differ_do():
    values = np.random.default_rng(0).beta(0.5, 2, (200, 5))
    alone = stats.interval([evidence(values)])
    assert ends(stats.interval([evidence(values)] * 3)) == pytest.approx(ends(alone), rel=1e-9)
    apart = [evidence(np.clip(values + shift, 0, 1)) for shift in (-0.05, 0.05, 0.15)]
    wide, wider = stats.interval(apart), stats.interval(apart[::2])
    assert wide.high - wide.low > 2 * (alone.high - alone.low)
    assert wider.high - wider.low > wide.high - wide.low  # two seeds know less of trainings than three


def test_seeds_that_train_nothing_sample_the_same_model():
    rng = np.random.default_rng(0)
    chance = rng.beta(0.3, 2, 64)
    seeds = [evidence(rng.binomial(5, chance) / 5) for _ in range(2)]
    clusters = sorted(seeds[0].cluster_ids)
    trainings, samples = (
        proportion.intervals([seeds], clusters, trained=trained, level=0.95, resamples=4000, seed=0)[0]
        for trained in (None, [False])
    )
    assert trainings[0] < samples[0] < stats.average(seeds) < samples[1] < trainings[1]
    pooled = stats.interval([evidence(np.mean([one.value for one in seeds], axis=0))], resamples=4000)
    assert samples == pytest.approx(ends(pooled), rel=1e-9)


def test_where_prompts_hardly_differ_the_seeds_interval_is_students():
    figures = np.array([0.30, 0.34, 0.35])
    found = stats.interval([evidence(np.full(5000, one) + 1e-4 * (np.arange(5000) % 2)) for one in figures])
    half = scipy_stats.t.ppf(0.975, 2) * scipy_stats.sem(figures)
    assert ends(found) == pytest.approx((figures.mean() - half, figures.mean() + half), abs=0.006)


def test_a_figure_lies_within_its_interval_whatever_the_values():
    rng = np.random.default_rng(0)
    for _ in range(200):
        values = rng.beta(*rng.uniform(0.02, 3, 2), (int(rng.integers(2, 12)), 3))
        seeds = [evidence(np.clip(values + 0.2 * rng.normal(), 0, 1)) for _ in range(rng.integers(1, 4))]
        found = stats.interval(seeds, resamples=200)
        assert 0 <= found.low <= stats.average(seeds) <= found.high <= 1


def test_systems_have_the_same_interval_together_and_alone_however_the_draws_are_held(monkeypatch):
    rng = np.random.default_rng(3)
    systems = [[evidence(rng.beta(0.2, 1, (90, 4)))] for _ in range(3)]
    alone = [stats.interval(one, resamples=900) for one in systems]
    monkeypatch.setattr(proportion, "KEPT", 0)
    together = stats.Systems(systems, resamples=900)
    for n, one in enumerate(alone):
        assert ends(together.interval(n)) == pytest.approx(ends(one), rel=1e-9)


def test_what_is_no_mean_of_bounded_observations_is_left_to_the_bootstrap():
    one = evidence([0.1, 0.4])
    assert proportion.applies([one])
    assert not proportion.applies([one, one.model_copy(update={"bounded": False})])
    assert not proportion.applies([one.model_copy(update={"statistic": "median"})])
    assert not proportion.applies([one.model_copy(update={"value": [0.1, 1.4]})])
