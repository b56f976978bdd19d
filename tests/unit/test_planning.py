"""`bench.stats.planning` and `bench plan`: what is planned is what simulated experiments find."""

import math
from typing import Any

import numpy as np
import pytest
from synthetic import write_run

from bench import stats
from bench.errors import MissingError
from bench.stats import means, planning, shares
from bench.stats.planning import Design
from bench.stats.shares import Shares
from bench.store.files import read_json, write_json
from bench.store.record import Evidence
from bench.store.runs import list_runs
from reports.plan.build import Wanted, plan

POPULATION = Shares(share=0.2, agreement=1.0, training=0.4)


def evidence(rng: np.random.Generator, chances: Any, samples: int) -> Evidence:
    """Whether each of some samples of each prompt reaches the threshold."""
    hits = (rng.uniform(size=(len(chances), samples)) < chances[:, None]).astype(float)
    places = np.repeat(np.arange(len(chances)), samples)
    names = [f"{number:05}" for number in range(len(chances))]
    return Evidence(
        statistic="mean", bounded=True, cluster_ids=names, cluster=places.tolist(), value=hits.ravel().tolist()
    )


def shifted(chances: Any, shift: float) -> Any:
    return 1 / (1 + np.exp(-(np.log(chances / (1 - chances)) + shift)))


def prompts(rng: np.random.Generator, population: Shares, count: int) -> Any:
    a = population.share * population.agreement
    return np.clip(rng.beta(a, population.agreement - a, size=count), 1e-9, 1 - 1e-9)


@pytest.mark.parametrize(("target", "count", "seeds"), [(0.1, 40, 1), (0.15, 200, 1), (0.1, 60, 3)])
def test_the_power_is_that_of_simulated_experiments(target, count, seeds):
    """The tests that a table makes find a difference about as often as is said; 120 experiments each."""
    many = prompts(np.random.default_rng(5), POPULATION, 100_000)
    low, high = -9.0, 0.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if shifted(many, middle).mean() < target else (low, middle)
    rng, found, runs = np.random.default_rng(7), 0, 120
    training = POPULATION.training if seeds > 1 else 0.0
    for _ in range(runs):
        chances = prompts(rng, POPULATION, count)
        base = [evidence(rng, chances, 5) for _ in range(seeds)]
        method = [evidence(rng, shifted(chances, low + training * rng.normal()), 5) for _ in range(seeds)]
        found += stats.Systems([method, base], trained=[True, False], resamples=600).significance(0, 1).p <= 0.05
    said = planning.power(POPULATION, target, Design(count, 5, seeds))
    assert abs(found / runs - said) < 0.15


def test_more_of_anything_finds_more():
    design = Design(64, 5, 3, 4)
    power = planning.power(POPULATION, 0.12, design)
    assert planning.power(POPULATION, 0.12, Design(200, 5, 3, 4)) > power
    assert planning.power(POPULATION, 0.12, Design(64, 25, 3, 4)) > power
    assert planning.power(POPULATION, 0.12, Design(64, 5, 5, 4)) > power
    assert planning.power(POPULATION, 0.08, design) > power
    assert planning.power(Shares(0.2, 1.0, 1.0), 0.12, design) < power


def test_what_is_needed_and_what_is_found_are_at_the_wanted_power():
    design = Design(64, 5, 3, 4)
    count = planning.prompts_needed(POPULATION, 0.1, design)
    assert count is not None
    assert planning.power(POPULATION, 0.1, Design(count, 5, 3, 4)) >= 0.8
    assert planning.power(POPULATION, 0.1, Design(count - 1, 5, 3, 4)) < 0.8
    least = planning.detectable(POPULATION, design)
    assert least is not None
    assert planning.power(POPULATION, least, design) == pytest.approx(0.8, abs=1e-3)


@pytest.mark.parametrize(("count", "methods"), [(5, 1), (6, 2)])
@pytest.mark.parametrize("seeds", [1, 3])
def test_so_few_items_that_no_test_can_find_anything_find_nothing(count, methods, seeds):
    """The permutation test of a table exchanges whole prompts: p is 2^(1 - n) at least, even where all is turned."""
    sides = [[measured(np.full(count, figure))] * seeds for figure in (0.0, 1.0)]
    assert stats.Systems(sides).significance(0, 1).p == 2.0 ** (1 - count) > 0.05 / methods
    population = means.Means(0.0, units=1e-4, rest=0.0, training=0.0)
    assert planning.power(population, 0.9, Design(count, 1, seeds, methods)) == 0
    assert planning.power(population, 0.9, Design(count + 1, 1, seeds, methods)) > 0
    needed = planning.prompts_needed(population, 0.9, Design(count, 1, seeds, methods))
    assert needed is not None and needed > count


def test_what_cannot_be_found_is_none():
    assert planning.detectable(Shares(0.02, 1.0, 0.4), Design(8, 2, 3)) is None
    assert planning.prompts_needed(Shares(0.2, 1.0, 3.0), 0.19, Design(64, 5, 2)) is None


@pytest.mark.parametrize("agreement", [0.5, 2.0])
def test_the_agreement_of_samples_is_found_in_evidence(agreement):
    rng = np.random.default_rng(3)
    population = Shares(0.3, agreement, 0.0)
    found = shares.agreement_of([evidence(rng, prompts(rng, population, 3000), 8)])
    assert found == pytest.approx(agreement, rel=0.15)


def test_one_sample_a_prompt_says_nothing_of_agreement():
    rng = np.random.default_rng(3)
    assert shares.agreement_of([evidence(rng, prompts(rng, POPULATION, 50), 1)]) is None


@pytest.mark.parametrize("training", [0.0, 0.5])
def test_how_much_trainings_differ_is_found_in_evidence(training):
    """Less what sampling explains; with what is assumed as four more degrees of freedom."""
    rng = np.random.default_rng(3)
    chances = prompts(rng, POPULATION, 500)
    systems = [[evidence(rng, shifted(chances, training * rng.normal()), 10) for _ in range(5)] for _ in range(60)]
    found = shares.training_of(systems, assumed=0.3)
    expected = math.sqrt((240 * training**2 + 4 * 0.3**2) / 244)
    assert found == pytest.approx(expected, abs=0.06)
    assert shares.training_of([some[:1] for some in systems], assumed=0.3) is None


def test_samples_that_all_agree_say_nothing_of_how_much_trainings_differ():
    """Shares between 0 and 1 of prompts whose samples agree have no logits to be moved; the others still teach."""
    rng = np.random.default_rng(3)
    agreeing = [evidence(rng, np.array([0.0] * low + [1.0] * (9 - low)), 4) for low in (3, 6)]
    others = [evidence(rng, np.full(40, chance), 4) for chance in (0.4, 0.5)]
    assert shares.training_of([agreeing], 0.3) is None
    assert shares.training_of([agreeing, others], 0.3) == shares.training_of([others], 0.3) is not None


@pytest.mark.parametrize("training", [0.0, None])
def test_a_plan_is_made_where_trainings_and_samples_add_nothing(training):
    """Of some records trainings add nothing to the spread of prompts, and the sum over what they add is empty."""
    population = means.Means(0.5, units=0.2, rest=0.0, training=training)
    found = [planning.power(population, 0.6, Design(count, 1, 3)) for count in (5, 20, 80)]
    assert found == sorted(found)
    assert found[0] < 0.8 < found[-1]


def of_means(rng: np.random.Generator, spread: tuple[float, float, float], units: int, seeds: int, shift: float):
    """The base's figures of questions and a method's of each seed; `spread` of questions, of the rest, of trainings."""
    unit_sd, rest, training = spread
    base = np.clip(0.5 + 0.1 * rng.normal(size=units), 0, 1)
    of_unit = unit_sd * rng.normal(size=units)
    method = [
        np.clip(base + shift + of_unit + training * rng.normal() + rest * rng.normal(size=units), 0, 1)
        for _ in range(seeds)
    ]
    return [measured(base)] * seeds, [measured(one) for one in method]


def measured(figures: Any) -> Evidence:
    """One observation a question."""
    names = [f"{number:05}" for number in range(len(figures))]
    places = list(range(len(figures)))
    return Evidence(statistic="mean", bounded=True, cluster_ids=names, cluster=places, value=list(map(float, figures)))


def test_what_means_are_like_is_found_in_evidence():
    """The parts of questions, of trainings (in logits), and the rest, over many methods."""
    rng = np.random.default_rng(1)
    systems = [of_means(rng, (0.06, 0.04, 0.02), 300, 3, 0.01)[1] for _ in range(60)]
    base = dict.fromkeys(range(3), measured(np.full(300, 0.5)))
    shifted_by_unit = [dict(enumerate(some)) for some in systems]
    found = means.means_of(base, shifted_by_unit, 1.0)
    assert found is not None and found.training == pytest.approx(0.02 * 4, rel=0.25)
    assert found.rest == pytest.approx(0.04, rel=0.1)
    assert found.units == pytest.approx(math.hypot(0.06, 0.1), rel=0.1)  # the base that it was drawn from is another


def test_one_seed_says_nothing_of_trainings_and_the_base_alone_nothing_of_differences():
    base, method = of_means(np.random.default_rng(1), (0.06, 0.04, 0.02), 300, 1, 0.01)
    found = means.means_of({0: base[0]}, [{0: method[0]}], 1.0)
    assert found is not None and found.training is None and found.rest == 0
    assert found.units == pytest.approx(math.hypot(0.06, 0.04), rel=0.1)
    assert means.means_of({0: base[0]}, [], 1.0) is None


def test_methods_that_are_not_trained_say_nothing_of_trainings(tmp_path):
    for seed in (0, 1):
        write_run(tmp_path, "none", seed, toxicity=0.5)
        write_run(tmp_path, "contrastive", seed, toxicity=0.3 + 0.2 * seed)
    alone = plan(list_runs(tmp_path), Wanted())
    for seed in (0, 1):
        write_run(tmp_path, "prompt", seed, toxicity=0.45)
    found = plan(list_runs(tmp_path), Wanted())
    assert found.population == alone.population
    assert (found.design.methods, found.design.trained) == (2, 1)
    assert found.power < alone.power  # of two comparisons, what trainings add being known as little
    assert planning.power(found.population, found.target, Design(40, 5, 2, 2)) > found.power
    base, method = of_means(np.random.default_rng(1), (0.06, 0.04, 0.02), 300, 2, 0.01)
    apart = means.means_of(dict(enumerate(base)), [dict(enumerate(method))], 1.0, [False])
    assert apart is not None and apart.training is None


@pytest.mark.parametrize(("shift", "count", "seeds"), [(0.01, 200, 1), (0.02, 60, 1), (0.03, 100, 3)])
def test_the_power_for_means_is_that_of_simulated_experiments(shift, count, seeds):
    """As for shares, by the tests that a table makes; 120 experiments each."""
    rng, found, runs = np.random.default_rng(7), 0, 120
    training = 0.01 if seeds > 1 else 0.0
    for _ in range(runs):
        base, method = of_means(rng, (0.04, 0.05, training), count, seeds, shift)
        found += stats.Systems([method, base], trained=[True, False], resamples=600).significance(0, 1).p <= 0.05
    said = planning.power(means.Means(0.5, 0.04, 0.05, training * 4), 0.5 + shift, Design(count, 1, seeds))
    assert abs(found / runs - said) < 0.15


@pytest.mark.parametrize(
    "population", [shares.Shares(0.3, 1.0, 0.2, best=1.0), means.Means(0.3, 0.2, 0.1, 0.1, best=1.0)]
)
def test_where_high_is_wanted_what_is_found_lies_above_the_base(population):
    design = Design(100, 5, 3, 2)
    least = planning.detectable(population, design)
    assert least is not None and least > 0.3
    assert planning.power(population, least, design) == pytest.approx(0.8, abs=1e-3)


def test_the_nearest_figure_that_is_found_is_told_although_the_bound_is_not():
    """As on the questions of `mini-facts`: near 1 a table knows little of how trainings differ."""
    population, design = means.Means(0.505, 0.03, 0.1, 0.0), Design(466, 1, 3, 3)
    assert planning.power(population, 1 - planning.EDGE, design) < 0.8
    least = planning.detectable(population, design)
    assert least is not None and 0.505 < least < 0.56
    assert planning.power(population, least, design) == pytest.approx(0.8, abs=1e-3)


def test_a_run_of_which_nothing_was_measured_is_named(tmp_path):
    """Its record is whole, and all its measurements failed."""
    for path in (write_run(tmp_path, "none", toxicity=0.5), write_run(tmp_path, "contrastive", toxicity=0.3)):
        (own,) = [one for one in (path / "tasks").glob("*.json") if "toxic_fraction" in one.read_text()]
        told = read_json(own)
        for one in told["evidence"].values():
            if one["statistic"] == "mean" and path.name == "mini-none-s0":
                one.update({name: [] for name in ("cluster", "value")})
        write_json(own, told)
        alone = list_runs(tmp_path)
        with pytest.raises(MissingError, match=r"no measurement of .*toxic_fraction succeeded in run mini-none-s0"):
            plan(alone, Wanted())
