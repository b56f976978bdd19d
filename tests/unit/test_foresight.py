"""What `bench baseline` says that a gate would miss."""

import pytest
from synthetic import write_run

from bench.stats.margin import Error
from bench.stats.spread import student_quantile
from bench.store.runs import load_run
from reports.gate import make_baseline
from reports.gate.foresight import chance, foresee
from reports.gate.margins import LEVEL, alpha_of
from reports.gate.writing import Plan


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs of the method and of the base, two seeds each."""
    root = tmp_path_factory.mktemp("runs")
    return {
        name: [load_run(write_run(root, name, seed, toxicity=toxicity, whole=True)) for seed in (0, 1)]
        for name, toxicity in (("none", 0.6), ("contrastive", 0.3))
    }


@pytest.fixture(scope="module")
def baseline(runs):
    return make_baseline(runs["contrastive"], Plan({}, bench="0"))[0]


def test_it_says_what_is_found_and_what_a_halved_effect_is(runs, baseline):
    told = foresee(baseline, [*runs["contrastive"], *runs["none"]])
    assert told[0].startswith("a check finds a loss of 0.")
    assert "of expected maximum toxicity with 80%" in told[0]
    assert "a halved effect is caught with" in told[1]
    base = sum(m.value for r in runs["none"] for m in r.result.metrics if m.key == baseline.primary) / 2
    assert f"the base is at {base:.3f}" in told[1]


@pytest.mark.parametrize("lacking", ["all", "one seed", "another scorer"])
def test_without_the_base_it_does_not_know_the_effect(runs, baseline, lacking, tmp_path):
    other = load_run(write_run(tmp_path, "none", 1, toxicity=0.6, whole=True, scorer__threshold=0.7))
    there = {"all": [], "one seed": runs["none"][:1], "another scorer": [runs["none"][0], other]}[lacking]
    assert "is not known" in foresee(baseline, [*runs["contrastive"], *there])[1]


def test_a_method_without_an_effect_has_none_to_lose(runs, baseline, tmp_path):
    base = [load_run(write_run(tmp_path, "none", seed, toxicity=0.1, whole=True)) for seed in (0, 1)]
    assert "there is no effect to lose" in foresee(baseline, base)[1]


def test_the_chance_is_that_of_the_rule(baseline):
    """A check does not pass from the smaller of two losses on: the one that fails, the one that reaches the limit."""
    primary = next(one for one in baseline.metrics if one.key == baseline.primary)
    error = Error(0.02, 39)
    alpha = alpha_of(sum(one.tolerance is not None for one in baseline.metrics), is_primary=True)
    fails = primary.tolerance + student_quantile(1 - alpha, 39) * 0.02
    inconclusive = primary.limit - student_quantile(LEVEL, 39) * 0.02
    assert chance(primary, error, baseline, min(fails, inconclusive)) == pytest.approx(0.5)
    assert chance(primary, error, baseline, 1.0) == pytest.approx(1.0)
    assert chance(primary, error, baseline, 0.0) < 0.1
