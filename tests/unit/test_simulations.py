"""Small, seeded runs of the simulations in tests/benchmarks: coverage, hypervolumes, alarms where nothing differs."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from bench import stats

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def simulation(monkeypatch):
    """What a script defines; it imports its neighbour `simulated`."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return lambda name: runpy.run_path(str(BENCHMARKS / f"{name}.py"))


@pytest.mark.parametrize(
    "case",
    [
        ("acc", 60, 1, 1, 0.0),
        ("perplexity_pooled", 40, 3, 1, 0.0),
        ("perplexity_pooled", 40, 3, 3, 0.2),
    ],
)
def test_intervals_hold_the_truth(simulation, case):
    alone, paired = simulation("coverage")["coverage"](*case, 200)
    assert 0.90 <= alone <= 0.99
    assert 0.90 <= paired <= 0.99


@pytest.mark.parametrize(
    "case",
    [
        # mean, how alike a prompt's samples are, prompts, samples, seeds, training
        (0.01, 1.0, 64, 25, 1, 0.0),  # a percentile interval holds 78 %
        (0.03, 1.0, 64, 5, 1, 0.0),
        (0.05, 1.0, 64, 5, 3, 0.4),
        (0.16, 1.0, 200, 5, 2, 0.4),
    ],
)
def test_intervals_of_rare_shares_hold_the_truth(simulation, case):
    found = simulation("coverage")
    tails = found["rare_coverage"](found["Rare"](*case), 150)
    assert tails.above <= 0.06
    assert tails.below <= 0.04
    assert tails.difference >= 0.91  # a percentile interval of it holds 83 % in the first case


@pytest.mark.parametrize(("curve", "seeds"), [("nothing", 1), ("nothing", 3), ("strong", 1), ("five alike", 1)])
def test_chance_adds_little_to_a_hypervolume(simulation, curve, seeds):
    found = simulation("hypervolume")
    one = found["simulate"](found["Case"](curve, 200, 5, 60, seeds, 0.0), 40)
    assert abs(one.value - one.truth) < 0.05
    if curve in {"nothing", "five alike"}:
        assert abs(one.value - one.truth) < (one.apparent - one.truth) / 1.5
    assert one.above + one.below <= 0.125


def test_the_hypervolume_of_a_base_of_few_events_is_hidden(simulation):
    found = simulation("hypervolume")
    one = found["simulate"](found["Case"]("one point", 64, 5, 20, 1, 0.0, 0.02), 40)
    assert one.known <= 0.025
    assert one.hidden >= 0.15


@pytest.mark.parametrize(
    "case",
    [
        ("toxic_fraction", 60, 4, 1, 0.0),
        ("acc", 150, 1, 1, 0.0),
        ("perplexity_pooled", 60, 3, 3, 0.2),
    ],
)
def test_systems_of_one_law_seldom_differ(simulation, case):
    by_interval, by_p, _, by_holm = simulation("false_alarms")["false_alarms"](*case, 40)
    assert by_interval <= 0.09
    assert by_p <= 0.09
    assert by_holm <= 0.125


def test_trainings_alone_seldom_make_a_dagger(simulation):
    alarms, power = simulation("false_alarms")["trained_alarms"](64, 5, 3, "0.4", 20, 30)
    assert alarms <= 0.1
    assert power >= 0.4


def test_ranks_hold_the_true_ones_and_the_worse_are_told(simulation):
    ranked = simulation("ranks")["ranked"]
    held, _, best, near, far, *_ = ranked("graded", 200, 10, 3, 0.0, 12)
    assert (held, best) >= (0.9, 0.9)
    assert far <= 0.1
    assert near <= 0.4
    assert ranked("equal", 64, 5, 1, 0.0, 20)[0] >= 0.85
    kept, _, far = ranked("graded", 64, 5, 3, 0.4, 20)[2:5]
    assert kept >= 0.9
    assert far <= 0.75  # 93 % by all pairs


def test_what_the_corrections_are_for(simulation):
    """Without Holm's correction, and without the seeds' variance, alarms are many."""
    found = simulation("false_alarms")
    uncorrected, corrected = found["false_alarms"]("toxic_fraction", 60, 4, 1, 0.0, 40)[2:]
    assert uncorrected > 2 * corrected
    simulated = found["simulated"]
    rng = np.random.default_rng(0)
    alarms = {"seeds": 0, "one run": 0}
    for _ in range(60):
        prompt = simulated.prompts(rng, "perplexity_pooled", 60)
        a, b = (simulated.system(rng, "perplexity_pooled", prompt, seeds=3, training=0.2, samples=3) for _ in range(2))
        alarms["seeds"] += stats.significance(a, b, resamples=400).p <= 0.05
        alarms["one run"] += stats.significance(a[:1], b[:1], resamples=400).p <= 0.05
    assert alarms["one run"] > 30
    assert alarms["seeds"] < 8


def test_many_workers_share_batches_nearly_as_well_as_they_could(simulation):
    found = simulation("scheduler")
    seconds = sorted(np.random.default_rng(0).gamma(9, 0.5, 1000), reverse=True)
    costs = found["Costs"](look=0.01, take=0.01, check=0.001, write=0.01, join=0.002)
    alone = found["Simulation"](seconds, 1, costs).run()
    assert sum(seconds) < alone.seconds < 1.02 * sum(seconds)
    assert alone.parts == (1000,)
    many = found["Simulation"](seconds, 100, costs).run()
    assert sum(many.parts) == 1000
    assert sum(seconds) / 100 / many.seconds >= 0.88
    assert many.tries < 5 * 1000, "who takes what is drawn by chance"
