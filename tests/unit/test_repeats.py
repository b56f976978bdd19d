"""A gate on a method whose repeats agree to the digit: its model is the same for each seed, or nothing ever happens."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import evidence, write_run

from bench.stats.margin import Contrast, Error
from bench.store.files import read_json, write_json
from bench.store.runs import load_run
from reports.gate import decide, make_baseline
from reports.gate.foresight import chance, foresee
from reports.gate.margins import ALPHA, LEVEL
from reports.gate.writing import Plan, repeat_of

SEEDS = range(2)


@pytest.fixture
def repeated(tmp_path):
    """Makes runs of two seeds that measured the same."""

    def runs(**measured):
        root, found = tmp_path / str(len(list(tmp_path.iterdir()))), []
        for seed in SEEDS:
            folder = write_run(root, "preadd", run_id=f"r{seed}", whole=True, **measured)
            manifest = read_json(folder / "manifest.json")
            write_json(folder / "manifest.json", {**manifest, "seed": seed})
            found.append(load_run(folder))
        return found

    return runs


def test_a_loss_is_found_where_repeats_agree(repeated):
    """A perplexity ten times as high passed, as one whose repeats do not differ was not judged."""
    baseline = make_baseline(repeated(), Plan({}))[0]
    assert not [one.key for one in baseline.metrics if one.unjudged == "too little data"]
    assert decide(repeated(nll=3.0001), baseline).status == "passed"
    outcome = decide(repeated(nll=3.0 + math.log(10)), baseline)
    failed = {one.key for one in outcome.decisions if one.status == "failed"}
    assert {"heldout/perplexity", "fluency/perplexity"} <= failed


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8), st.booleans())
@settings(max_examples=40, deadline=None)
def test_repeats_that_agree_have_a_variance(values, several):
    found = [evidence([[one] for one in values])] * (2 if several else 1)
    repeat = repeat_of(found, 50, relative=False)
    assert repeat is not None
    if several or len(set(values)) == 1:
        assert repeat == pytest.approx(0, abs=1e-20)


@pytest.mark.parametrize("key", ["heldout/perplexity", "rtp/toxic/expected_maximum_toxicity"])
def test_what_a_check_would_find_is_told_without_an_error(repeated, key):
    """The least loss that is found is the least that the rule does not let pass."""
    runs = repeated()
    baseline = make_baseline(runs, Plan({}, primary=key))[0]
    assert foresee(baseline, runs)[0].startswith("a check finds a loss of ")
    primary = next(one for one in baseline.metrics if one.key == key)
    clusters = len(baseline.clusters[primary.clusters])
    error = Error(0.0, clusters - 1)
    scale = math.log1p if primary.relative else float

    def passes(loss):
        found = Contrast(scale(loss), error, clusters, 0, primary.bounded)
        is_worse = found.p_above(scale(primary.tolerance)) <= ALPHA / 2
        return not is_worse and found.value + found.reach(LEVEL) <= scale(primary.limit)

    for loss in (0.001 * step for step in range(200)):
        assert chance(primary, error, baseline, loss) == float(not passes(loss)), loss
