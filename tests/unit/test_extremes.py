"""What is told of systems of which hardly anything, or something beyond all numbers, was measured: no traceback."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import evidence, settle, write_run

from bench.errors import MissingError
from bench.stats.systems import Systems
from bench.store.files import read_json, write_json
from bench.store.runs import load_run
from reports.gate import decide, make_baseline
from reports.gate.writing import Plan


def seeds(*figures, statistic="mean"):
    """A system's seeds on a single prompt."""
    return [evidence([[one]], statistic, bounded=statistic == "mean") for one in figures]


@given(
    st.lists(st.lists(st.floats(0.1, 0.9), min_size=1, max_size=3), min_size=2, max_size=4),
    st.sampled_from(["mean", "exp_mean", "median"]),
    st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_one_prompt_in_common_gives_a_difference_without_an_interval(figures, statistic, relative):
    """On one prompt the spread of trainings cannot be separated from the noise of sampling."""
    systems = [seeds(*some, statistic=statistic) for some in figures]
    found = Systems(systems, trained=[True] * len(systems), resamples=20)
    gap = found.difference(0, 1, relative=relative)
    assert math.isfinite(gap.value)
    assert (gap.low, gap.high, gap.n_clusters) == (None, None, 1)
    assert found.significance(0, 1).p == 1


@given(st.lists(st.floats(0, 700), min_size=2, max_size=6), st.sampled_from([1, 2]))
@settings(max_examples=60, deadline=None)
def test_ends_of_perplexities_are_numbers(losses, count):
    """Ends lie as far beyond the figure as passages are apart, and so beyond what exp can say."""
    found = Systems(
        [
            [evidence([[one] for one in some], "exp_mean", bounded=False)] * count
            for some in (losses, [3.0] * len(losses))
        ],
        resamples=50,
    )
    gap, ends = found.difference(0, 1, relative=True), found.interval(0)
    told = [gap.value, gap.low, gap.high, *([ends.low, ends.high] if ends else [])]
    assert all(one is None or math.isfinite(one) for one in told)


def test_a_perplexity_beyond_all_numbers_has_no_difference():
    systems = [[evidence([[one], [one]], "exp_mean", bounded=False)] for one in (800.0, 3.0)]
    with pytest.raises(MissingError, match="beyond any number"):
        Systems(systems, resamples=20).difference(0, 1, relative=True)


def test_a_check_of_a_perplexity_of_hopeless_passages_ends_in_a_decision(tmp_path):
    """Of two seeds one may have lost a passage wholly: the upper end of the loss is beyond what expm1 can say."""

    def runs(name, nlls):
        found = []
        for seed, nll in enumerate(nlls):
            folder = write_run(tmp_path / name, "contrastive", seed, whole=True)
            path = folder / "tasks" / "heldout.json"
            record = read_json(path)
            behind = record["evidence"]["heldout/perplexity"]
            behind["value"] = [nll if place % 2 else 3.0 for place in range(len(behind["value"]))]
            write_json(path, record)
            settle(folder)
            found.append(load_run(folder))
        return found

    baseline = make_baseline(runs("old", (3.0, 3.1)), Plan({}))[0]
    outcome = decide(runs("new", (3.0, 1400.0)), baseline)
    decided = next(one for one in outcome.decisions if one.key == "heldout/perplexity")
    assert decided.status in ("failed", "inconclusive")
    assert math.isfinite(decided.high)
