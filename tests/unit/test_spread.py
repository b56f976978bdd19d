"""`bench.stats.spread`: what seeds add does not depend on the unit, however small its squares are."""

from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.stats.spread import Component, degrees, exceeded, stretched, tail

SEEDS = [Component(3e-4, 1e-4, 2), Component(1e-5, 2e-5, 6)]


@given(st.integers(-170, 100))
def test_a_tail_and_what_is_exceeded_do_not_depend_on_the_unit(power):
    """Variances of 1e-170 have squares that are 0 in floating point; met on figures that all seeds share but one."""
    unit = 10.0**power
    small = [Component(one.crude * unit, one.noise * unit, one.degrees) for one in SEEDS]
    root = unit**0.5
    assert tail(0.03 * root, 1e-4 * unit, small) == pytest.approx(tail(0.03, 1e-4, SEEDS), rel=1e-6)
    assert exceeded(1e-4 * unit, small, 0.025) == pytest.approx(exceeded(1e-4, SEEDS, 0.025) * root, rel=1e-6)
    assert degrees(1e-4 * unit, 20, small) == pytest.approx(degrees(1e-4, 20, SEEDS), rel=1e-9)


@given(st.floats(1e-6, 1e6), st.floats(0.001, 0.4), st.integers(0, 3))
def test_where_seeds_add_nothing_it_is_the_normal_tail(prompts, surprise, count):
    """`bench plan` divided by an empty sum where its records' trainings agree."""
    seeds = [Component()] * count
    distance = exceeded(prompts, seeds, surprise)
    assert distance == pytest.approx(-NormalDist().inv_cdf(surprise) * prompts**0.5, rel=1e-6)
    assert tail(distance, prompts, seeds) == pytest.approx(surprise, rel=1e-6)
    assert exceeded(0.0, seeds, surprise) == 0
    ends = (-distance, distance)
    assert stretched(0.0, ends, prompts, 9, seeds, 0.95) == stretched(0.0, ends, prompts, 9, [], 0.95)
