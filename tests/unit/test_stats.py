"""The bootstrap against closed forms, scipy and simulated coverage."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from bench import stats
from bench.errors import MissingError
from bench.stats import resampling
from bench.store.record import Evidence


def evidence(values, statistic="mean", *, bounded=False, weight=None, prefix="p"):
    """Evidence from an array of clusters x observations."""
    values = np.asarray(values, dtype=float)
    n, m = values.shape
    return Evidence(
        statistic=statistic,
        bounded=bounded,
        cluster_ids=[f"{prefix}{i}" for i in range(n)],
        cluster=np.repeat(np.arange(n), m).tolist(),
        value=values.ravel().tolist(),
        weight=None if weight is None else np.asarray(weight, dtype=float).ravel().tolist(),
    )


def test_value_of_each_statistic():
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(7, 4)), rng.integers(1, 9, size=(7, 4))
    assert stats.value(evidence(x)) == pytest.approx(x.mean())
    assert stats.value(evidence(x, weight=w)) == pytest.approx(np.average(x, weights=w))
    assert stats.value(evidence(x, "exp_mean", weight=w)) == pytest.approx(np.exp(np.average(x, weights=w)))
    repeated = np.repeat(x.ravel(), w.ravel())
    assert stats.value(evidence(x, "median", weight=w)) == pytest.approx(np.median(repeated))


@pytest.mark.parametrize("n", [1, 2, 3, 10, 11, 50])
def test_median_agrees_with_numpy_for_odd_and_even_numbers(n):
    x = np.random.default_rng(n).normal(size=(n, 1))
    assert stats.value(evidence(x, "median")) == pytest.approx(np.median(x))


def test_no_observation_is_no_value():
    nothing = Evidence(statistic="mean", cluster_ids=["a"], cluster=[], value=[])
    assert stats.value(nothing) is None
    assert stats.interval([nothing]) is None


def test_fewer_than_two_clusters_have_no_interval():
    assert stats.interval([evidence([[0.1, 0.9, 0.4]])]) is None
    one = stats.difference([evidence([[1.0, 2.0]])], [evidence([[0.5, 1.0]])])
    assert (one.value, one.low, one.high, one.n_clusters) == (0.75, None, None, 1)


def test_interval_of_iid_means_matches_the_normal_one():
    x = np.random.default_rng(1).normal(2.0, 3.0, size=(400, 1))
    found = stats.interval([evidence(x)])
    low, high = scipy_stats.norm.interval(0.95, loc=x.mean(), scale=scipy_stats.sem(x[:, 0]))
    assert found.low == pytest.approx(low, abs=0.02)
    assert found.high == pytest.approx(high, abs=0.02)


@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_interval_matches_scipys_bootstrap(statistic):
    x = np.random.default_rng(2).gamma(2.0, size=601)
    found = stats.interval([evidence(x[:, None], statistic)])
    of = {"mean": np.mean, "median": np.median}[statistic]
    known = scipy_stats.bootstrap((x,), of, method="percentile", n_resamples=10_000, rng=0).confidence_interval
    assert found.low == pytest.approx(known.low, abs=0.03)
    assert found.high == pytest.approx(known.high, abs=0.03)


def test_exp_mean_is_the_exponential_of_the_mean_interval():
    x = np.random.default_rng(3).normal(size=(40, 5))
    mean, exp = stats.interval([evidence(x)]), stats.interval([evidence(x, "exp_mean")])
    assert (exp.low, exp.high) == pytest.approx((np.exp(mean.low), np.exp(mean.high)), rel=1e-3)


def test_weighted_median_resamples_like_the_repeated_observations():
    rng = np.random.default_rng(4)
    x, w = rng.normal(size=(30, 3)), rng.integers(1, 4, size=(30, 3))
    repeated = Evidence(
        statistic="median",
        cluster_ids=[f"p{i}" for i in range(30)],
        cluster=np.repeat(np.repeat(np.arange(30), 3), w.ravel()).tolist(),
        value=np.repeat(x.ravel(), w.ravel()).tolist(),
    )
    assert stats.interval([evidence(x, "median", weight=w)]) == stats.interval([repeated])


def test_clusters_widen_the_interval():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(50, 1)) + 0.3 * rng.normal(size=(50, 20))
    clustered = stats.interval([evidence(x)])
    naive = stats.interval([evidence(x.reshape(-1, 1))])
    assert clustered.high - clustered.low > 3 * (naive.high - naive.low)


def test_a_metric_stuck_at_a_bound_gets_the_exact_binomial_interval():
    n = 30
    for level, stuck in ((0.95, 0.0), (0.9, 1.0)):
        found = stats.interval([evidence(np.full((n, 25), stuck), bounded=True)], level=level)
        known = scipy_stats.binomtest(int(stuck) * n, n).proportion_ci(level, method="exact")
        assert (found.low, found.high) == pytest.approx((known.low, known.high))
    unbounded = stats.interval([evidence(np.zeros((n, 1)))])
    assert (unbounded.low, unbounded.high) == (0, 0)


def test_coverage_on_clustered_data_is_about_nominal():
    rng = np.random.default_rng(6)
    covered, naive, runs = 0, 0, 300
    for _ in range(runs):
        x = rng.normal(size=(60, 1)) + rng.normal(size=(60, 5))
        found = stats.interval([evidence(x)], resamples=600)
        wrong = stats.interval([evidence(x.reshape(-1, 1))], resamples=300)
        covered += found.low <= 0 <= found.high
        naive += wrong.low <= 0 <= wrong.high
    assert 0.90 <= covered / runs <= 0.98
    assert naive / runs < 0.85


def test_seeds_are_averaged_and_resampled():
    rng = np.random.default_rng(7)
    x = rng.normal(size=(40, 2))
    apart = [evidence(x - 5), evidence(x + 5)]
    assert stats.average(apart) == pytest.approx(x.mean())
    wide = stats.interval(apart)
    assert wide.low < x.mean() - 4 < x.mean() + 4 < wide.high
    same = stats.interval([evidence(x), evidence(x)])
    alone = stats.interval([evidence(x)])
    assert (same.low, same.high) == pytest.approx((alone.low, alone.high))


def test_paired_difference_uses_the_pairing():
    rng = np.random.default_rng(8)
    prompt = 10 * rng.normal(size=(80, 1))
    a, b = prompt + 0.5 + rng.normal(size=(80, 4)), prompt + rng.normal(size=(80, 4))
    found = stats.difference([evidence(a)], [evidence(b)])
    paired = scipy_stats.ttest_rel(a.mean(axis=1), b.mean(axis=1)).confidence_interval(0.95)
    assert found.value == pytest.approx(a.mean() - b.mean())
    assert (found.low, found.high) == pytest.approx((paired.low, paired.high), abs=0.04)
    assert found.excludes_zero


def test_order_of_the_clusters_does_not_matter():
    x = np.random.default_rng(9).normal(size=(25, 2))
    turned = evidence(x)
    turned = turned.model_copy(
        update={"cluster_ids": turned.cluster_ids[::-1], "cluster": [24 - c for c in turned.cluster]}
    )
    assert stats.difference([evidence(x)], [turned]) == stats.Difference(0.0, 0.0, 0.0, 25, 0)


def test_differences_of_a_system_with_itself_cover_zero():
    rng = np.random.default_rng(10)
    covered, runs = 0, 200
    for _ in range(runs):
        prompt = rng.normal(size=(40, 1))
        a, b = (prompt + rng.normal(size=(40, 3)) for _ in range(2))
        found = stats.difference([evidence(a)], [evidence(b)], resamples=500)
        covered += found.low <= 0 <= found.high
    assert 0.89 <= covered / runs <= 0.99


def test_relative_difference_of_perplexities():
    x = np.random.default_rng(11).normal(3, 0.5, size=(50, 2))
    found = stats.difference([evidence(x + np.log(1.25), "exp_mean")], [evidence(x, "exp_mean")], relative=True)
    assert (found.value, found.low, found.high) == pytest.approx((0.25, 0.25, 0.25))
    with pytest.raises(MissingError, match="relative"):
        stats.difference([evidence([[1.0], [1.0]])], [evidence([[0.0], [0.0]])], relative=True)


def test_only_common_clusters_are_compared_and_the_rest_is_counted():
    a, b = evidence([[1.0], [2.0], [9.0]]), evidence([[0.0], [0.0]])
    found = stats.difference([a], [b])
    assert (found.value, found.n_clusters, found.n_left_out) == (1.5, 2, 1)
    with pytest.raises(MissingError, match="in common"):
        stats.difference([a], [evidence([[0.0]], prefix="q")])


def test_systems_that_agree_everywhere_are_not_certainly_the_same():
    right = evidence(np.tile([[1.0], [0.0]], (20, 1)), bounded=True)
    found = stats.difference([right], [right])
    share = 1 - 0.025 ** (1 / 40)
    assert (found.value, found.low, found.high) == pytest.approx((0, -share, share))
    apart = stats.difference([evidence(np.ones((40, 1)), bounded=True)], [evidence(np.zeros((40, 1)), bounded=True)])
    assert (apart.value, apart.low, apart.high) == pytest.approx((1, 1 - 2 * share, 1))


def test_the_same_seed_gives_the_same_interval_and_another_another():
    x = [evidence(np.random.default_rng(12).normal(size=(30, 2)))]
    assert stats.interval(x, seed=3) == stats.interval(x, seed=3)
    assert stats.interval(x, seed=3) != stats.interval(x, seed=4)


def test_memory_chunks_do_not_change_the_draws(monkeypatch):
    x = [evidence(np.random.default_rng(13).normal(size=(37, 2)), "median")]
    whole = stats.interval(x, resamples=500)
    monkeypatch.setattr(resampling, "CELLS", 37 * 7)
    resampling._kept.cache_clear()
    assert stats.interval(x, resamples=500) == whole


def test_a_mean_of_what_is_never_below_0_is_not_either():
    """As a KL divergence with two seeds that are far apart."""
    seeds = [evidence(level + 0.01 * np.random.default_rng(1).random((20, 1)), bounded=False) for level in (0.01, 0.2)]
    found = stats.interval(seeds)
    assert found is not None
    assert found.low == 0
    below = [evidence(np.array(one.value)[:, None] - 0.05, bounded=False) for one in seeds]
    shifted = stats.interval(below)
    assert shifted is not None
    assert shifted.low < -0.05
