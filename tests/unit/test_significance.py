"""Tests of "no difference" against scipy and closed forms; several systems at once against each alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from bench import stats
from bench.errors import MissingError
from bench.stats.spread import Component, exceeded, shrunk, stretched, student_quantile, student_tail, tail, widened
from bench.stats.training import borrowed, seeds_of
from bench.store.record import Evidence


def evidence(values, statistic="mean", *, bounded=False, weight=None, names=None):
    """Evidence from an array of clusters x observations."""
    values = np.asarray(values, dtype=float)
    n, m = values.shape
    return Evidence(
        statistic=statistic,
        bounded=bounded,
        cluster_ids=names or [f"p{i}" for i in range(n)],
        cluster=np.repeat(np.arange(n), m).tolist(),
        value=values.ravel().tolist(),
        weight=None if weight is None else np.asarray(weight, dtype=float).ravel().tolist(),
    )


def right(*answers):
    return evidence(np.array([answers]).T, bounded=True)


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (0, 6), (3, 11), (11, 3), (25, 25), (400, 470)])
def test_mcnemar_is_the_binomial_test(only_a, only_b):
    known = scipy_stats.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert stats.mcnemar(only_a, only_b) == pytest.approx(known, rel=1e-12)


def test_right_and_wrong_answers_get_mcnemar():
    a, b = right(*[1] * 9, *[0] * 2, *[1] * 30), right(*[0] * 9, *[1] * 2, *[1] * 30)
    found = stats.significance([a], [b])
    assert (found.test, found.exact, found.n_clusters) == ("mcnemar", True, 41)
    assert found.p == pytest.approx(scipy_stats.binomtest(2, 11).pvalue)
    assert stats.significance([b], [a]).p == found.p


def test_seeds_that_answer_alike_are_one_observation_a_question():
    a, b = right(*[1] * 9, *[0] * 2, *[1] * 30), right(*[0] * 9, *[1] * 2, *[1] * 30)
    assert stats.significance([a, a, a], [b, b]) == stats.significance([a], [b])
    other = right(*[1] * 8, *[0] * 3, *[1] * 30)
    assert stats.significance([a, other], [b, b]).test == "permutation"


@pytest.mark.parametrize("n", [5, 8, 11])
def test_few_clusters_are_enumerated_like_scipys_permutation_test(n):
    rng = np.random.default_rng(n)
    a, b = rng.normal(0.4, 1, size=(n, 1)), rng.normal(size=(n, 1))
    known = scipy_stats.permutation_test(
        (a[:, 0], b[:, 0]), lambda x, y, axis: (x - y).mean(axis=axis), permutation_type="samples", vectorized=True
    )
    found = stats.significance([evidence(a)], [evidence(b)])
    assert found.exact
    assert found.p == pytest.approx(known.pvalue)


def test_whole_clusters_are_exchanged_with_their_weights():
    rng = np.random.default_rng(3)
    n = 9
    a, b = rng.normal(0.3, 1, size=(n, 4)), rng.normal(size=(n, 4))
    v, w = rng.integers(1, 9, size=(2, n, 4)).astype(float)

    def difference(swapped):
        one, two = np.where(swapped, b, a), np.where(swapped, a, b)
        weigh, other = np.where(swapped, w, v), np.where(swapped, v, w)
        return np.average(one, weights=weigh) - np.average(two, weights=other)

    every = [difference(np.array([[mask >> i & 1] for i in range(n)], bool)) for mask in range(1 << n)]
    known = np.mean(np.abs(every) >= abs(every[0]) - 1e-12)
    for statistic in ("mean", "exp_mean"):  # a perplexity is compared by its logarithm
        found = stats.significance([evidence(a, statistic, weight=v)], [evidence(b, statistic, weight=w)])
        assert found.p == pytest.approx(known)


def test_many_clusters_are_sampled_and_agree_with_the_t_test():
    rng = np.random.default_rng(4)
    a, b = rng.normal(0.12, 1, size=(300, 2)), rng.normal(size=(300, 2))
    found = stats.significance([evidence(a)], [evidence(b)])
    known = scipy_stats.ttest_rel(a.mean(axis=1), b.mean(axis=1)).pvalue
    assert not found.exact
    assert found.p == pytest.approx(known, abs=0.01)
    far = stats.significance([evidence(a + 9)], [evidence(b)])
    assert far.p == 1 / 10_001  # never 0


def test_medians_are_compared_by_the_share_above_the_pooled_one():
    rng = np.random.default_rng(5)
    prompt = rng.normal(size=(120, 1))
    a, b = (np.exp(prompt + rng.normal(size=(120, 5))) for _ in range(2))
    alike = stats.significance([evidence(a, "median")], [evidence(b, "median")])
    cut = np.median(np.concatenate([a, b]))
    mood = stats.significance([evidence(a > cut)], [evidence(b > cut)])
    assert alike.p == pytest.approx(mood.p)
    assert alike.p > 0.05
    assert stats.significance([evidence(a * 2, "median")], [evidence(b, "median")]).p < 0.001


def test_no_difference_at_all_is_p_one():
    x = np.random.default_rng(6).normal(size=(40, 3))
    for statistic in ("mean", "exp_mean", "median"):
        assert stats.significance([evidence(x, statistic)], [evidence(x, statistic)]).p == 1
    assert stats.significance([evidence([[0.1]])], [evidence([[0.9]])]).p == 1  # one prompt says nothing
    with pytest.raises(MissingError, match="in common"):
        stats.significance([evidence(x)], [evidence([[0.0]], names=["q"])])


def test_only_common_clusters_are_tested():
    rng = np.random.default_rng(7)
    a, b = rng.normal(0.5, 1, size=(10, 2)), rng.normal(size=(10, 2))
    names = [f"p{i}" for i in range(10)]
    short = evidence(a[:7], names=names[:7])
    found = stats.significance([short], [evidence(b)])
    assert found == stats.significance([short], [evidence(b[:7], names=names[:7])])
    assert found.n_clusters == 7


def test_seeds_that_differ_make_a_difference_less_sure():
    rng = np.random.default_rng(8)
    n = 200
    base = [evidence(rng.normal(size=(n, 1))) for _ in range(3)]
    noise = rng.normal(size=(3, n, 1))
    steady = [evidence(0.25 + x) for x in noise]
    shaky = [evidence(0.25 + shift + x) for x, shift in zip(noise, (-0.5, 0.0, 0.5), strict=True)]
    both = stats.Systems([steady, base], trained=[True, True])  # what either shows of trainings counts for both
    assert both.significance(0, 1).p < 0.015
    assert both.significance(0, 1).p < stats.significance(steady, base).p < 0.05  # two degrees of freedom each
    assert stats.significance(shaky, base).p > 0.1
    narrow, wide = stats.difference(steady, base), stats.difference(shaky, base)
    assert narrow.excludes_zero
    assert not wide.excludes_zero


def test_seeds_add_their_variance_to_the_interval():
    shifts = np.array([-1.0, 0.2, 0.8])
    x = [evidence(np.full((50, 2), shift)) for shift in shifts]  # the prompts agree: what is left are the seeds
    found = stats.interval(x)
    known = scipy_stats.t.interval(0.95, 2, loc=0, scale=scipy_stats.sem(shifts))
    assert (found.low, found.high) == pytest.approx(known)


def test_an_arm_of_a_percentile_interval_is_widened_for_few_clusters():
    low, high = widened(1.0, (1 - 1.959964, 1 + 2 * 1.959964), 1.0, 10, [Component()], 0.95)
    t = scipy_stats.t.ppf(0.975, 9) * np.sqrt(10 / 9)
    assert (low, high) == pytest.approx((1 - t, 1 + 2 * t), rel=1e-6)


@pytest.mark.parametrize("df", [1.0, 2.0, 3.7, 29.0, 999.0, 1e6])
def test_students_t(df):
    for t in (0.0, 0.3, 1.0, 2.5, 12.0):
        assert student_tail(t, df) == pytest.approx(scipy_stats.t.sf(t, df), rel=1e-7)
    for p in (0.6, 0.975, 0.999):
        assert student_quantile(p, df) == pytest.approx(scipy_stats.t.ppf(p, df), rel=1e-7)


@pytest.mark.parametrize("free", [1, 2, 7.5, 40, 1000])
def test_where_prompts_agree_seeds_make_students_t(free):
    for t in (0.5, 2.0, 4.5):
        assert tail(t * 0.3, 0.0, [Component(0.09, 0.0, free)]) == pytest.approx(scipy_stats.t.sf(t, free), rel=2e-3)


def test_a_variance_between_seeds_that_comes_out_as_0_is_not_known_to_be_0():
    unsure, sure = Component(0.5, 0.6, 2), Component(0.5, 0.6, 1000)
    assert unsure.variance == sure.variance == 0
    alone = scipy_stats.norm.sf(3)
    assert tail(3.0, 1.0, [sure]) == pytest.approx(alone, rel=1e-5)
    assert tail(3.0, 1.0, [unsure]) > 3 * alone
    assert shrunk(3.0, 1.0, [unsure]) < shrunk(3.0, 1.0, [sure]) <= 3.0 == shrunk(3.0, 1.0, [Component()])
    ends = (3 - 1.96, 3 + 1.96)
    assert stretched(3.0, ends, 1.0, 10**6, [unsure], 0.95)[0] < stretched(3.0, ends, 1.0, 10**6, [sure], 0.95)[0]


def test_what_trainings_differ_by_is_borrowed():
    rng = np.random.default_rng(11)
    noise = 0.02
    alike = [seeds_of(rng.normal(0, np.sqrt(0.16 + noise), 3), noise) for _ in range(200)]
    found = borrowed(alike)
    assert np.mean([one.variance for one in found]) == pytest.approx(0.16 / 3, rel=0.2)
    assert min(one.degrees for one in found) > 10
    apart = [seeds_of(rng.normal(0, (0.05, 2.0)[n % 2], 3), 0.001) for n in range(40)]
    found = borrowed(apart)
    assert max(one.degrees for one in found) < 6
    assert np.median([one.crude for one in found[1::2]]) > 20 * np.median([one.crude for one in found[::2]])
    (single,) = borrowed(alike[:1])
    own = alike[0].alone()
    assert (single.crude, single.noise, single.degrees) == pytest.approx((own.crude, own.noise, own.degrees))
    silent = seeds_of(np.zeros(3), 0.0).scaled(float("nan"))  # a share of 0 has no logit
    assert borrowed([*alike, silent])[-1].variance == pytest.approx(0.16 / 3, rel=0.2)
    assert borrowed([silent]) == [Component()]


def test_ten_thousand_clusters_that_all_differ_are_tested():
    rng = np.random.default_rng(12)
    a, b = rng.normal(0.01, 1, size=(10_000, 1)), rng.normal(size=(10_000, 1))
    found = stats.significance([evidence(a)], [evidence(b)], resamples=500)
    assert (found.exact, found.n_clusters) == (False, 10_000)
    assert found.p == pytest.approx(scipy_stats.ttest_rel(a[:, 0], b[:, 0]).pvalue, abs=0.06)
    answers = np.arange(10_000)
    many = stats.significance([right(*(answers % 2))], [right(*((answers + 1) % 2))])
    assert (many.test, many.p) == ("mcnemar", 1)


def test_eight_prompts_are_enumerated_where_all_exchanges_may_be_looked_at():
    x, y = np.random.default_rng(13).normal(size=(2, 8, 1))
    assert stats.significance([evidence(x)], [evidence(y)], resamples=256).exact
    assert not stats.significance([evidence(x)], [evidence(y)], resamples=255).exact


def test_holm_by_hand_and_by_its_definition():
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    ps = np.random.default_rng(9).uniform(0, 0.05, size=12)
    order = np.argsort(ps)
    rejected = np.zeros(12, bool)
    for k, place in enumerate(order):  # step down while p <= alpha / (m - k)
        if ps[place] > 0.05 / (12 - k):
            break
        rejected[place] = True
    assert [p <= 0.05 for p in stats.holm(ps.tolist())] == rejected.tolist()


def test_a_test_that_could_not_be_made_counts_in_holm():
    assert stats.holm([0.02, None, 0.5]) == pytest.approx([0.06, None, 1.0])
    assert stats.holm([]) == []


def systems(rng, statistic):
    prompt = rng.normal(size=(60, 1))
    found = []
    for number in range(5):
        weight = rng.integers(1, 5, size=(2, 60, 3))
        found.append([evidence(prompt + 0.1 * number + rng.normal(size=(60, 3)), statistic, weight=w) for w in weight])
    found[3] = found[3][:1]
    found[4] = [evidence(rng.normal(size=(50, 3)), statistic)]  # some prompts are missing
    return found


@pytest.mark.parametrize("statistic", ["mean", "exp_mean", "median"])
def test_twenty_at_once_are_each_as_if_alone(statistic):
    found = systems(np.random.default_rng(10), statistic)
    together = stats.Systems(found)
    relative = statistic == "exp_mean"
    for a in range(5):
        assert vars(together.interval(a)) == pytest.approx(vars(stats.interval(found[a])), rel=1e-9)
        for b in range(5):
            if a != b:
                alone = stats.difference(found[a], found[b], relative=relative)
                assert vars(together.difference(a, b, relative=relative)) == pytest.approx(vars(alone), rel=1e-9)
                assert together.significance(a, b) == stats.significance(found[a], found[b])
    assert together.difference(0, 4).n_left_out == 10


@pytest.mark.parametrize("statistic", ["mean", "exp_mean", "median"])
def test_seeds_that_are_no_trainings_do_not_widen_a_figures_interval(statistic):
    values = np.random.default_rng(4).normal(size=(60, 3))
    seeds = [evidence(values + shift, statistic) for shift in (0.0, 1.0)]
    one, other = (stats.Systems([seeds], trained=[varies]).interval(0) for varies in (False, True))
    assert (one.high - one.low) < (other.high - other.low) / 2
    assert other == stats.interval(seeds)


def test_one_sided_intervals_are_not_those_of_the_other_level():
    both = stats.Systems([[evidence([[0.1], [0.4], [0.5]], bounded=True)]])
    two_sided = both.interval(0)
    one_sided = both.one_sided().interval(0)
    assert one_sided.low > two_sided.low
    assert both.interval(0) == two_sided


def test_a_system_without_evidence_has_no_figures():
    together = stats.Systems([[evidence([[0.1], [0.2]])], []])
    assert together.interval(1) is None
    for ask in (together.difference, together.significance):
        with pytest.raises(MissingError, match="in common"):
            ask(0, 1)


_VARIANCES = st.sampled_from([0.0, 1e-12, 1e-4, 0.3, 40.0])


@given(
    prompts=_VARIANCES,
    crude=_VARIANCES.filter(bool),
    noise=st.floats(0, 1.2),
    degrees=st.floats(1, 30),
    surprise=st.sampled_from([0.16, 0.025, 0.001, 1e-5]),
)
def test_a_distance_is_exceeded_as_often_as_its_tail_says(prompts, crude, noise, degrees, surprise):
    seeds = [Component(crude, crude * noise, degrees)]
    found = exceeded(prompts, seeds, surprise)
    # The tail moves by less than 10 parts for each part of the distance, but for steps of its discrete variance.
    assert tail(found * (1 - 1e-8), prompts, seeds) >= surprise >= tail(found * (1 + 1e-8), prompts, seeds)
