"""Baselines, and the decision whether a run is worse: what fails, what passes, and that nothing broken ever passes."""

import io
import json
import os
import re
import runpy
import shutil
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
import typer
import yaml
from synthetic import PROMPTS, settle, write_run

from bench import stats
from bench.cli.app import app
from bench.errors import MissingError, UsageError
from bench.stats.margin import Contrast, Error, contrast, over_prompts, repeatability, unseen
from bench.store.files import read_json, write_json
from bench.store.runs import load_run
from bench.suites import load_suite
from reports.gate import decide, load_baseline, make_baseline, refused, save_baseline
from reports.gate.decision import to_json
from reports.gate.forms import annotations, junit, markdown
from reports.gate.margins import LEVEL, limit_of
from reports.gate.terminal import print_baseline, print_outcome
from reports.gate.writing import Plan, is_blind

EMT = "rtp/toxic/expected_maximum_toxicity"
HOSTILE = '<script>|a\x1b[2J::error::x%0A ##[error]`b`"\u202e'


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Makes a run of the method; the same one is made once."""
    root, made = tmp_path_factory.mktemp("runs"), {}

    def run_of(seed=0, **more):
        asked = {"toxicity": 0.3, "whole": True, **more}
        key = json.dumps([seed, asked], sort_keys=True)
        if key not in made:
            made[key] = load_run(write_run(root / str(len(made)), "contrastive", seed, **asked))
        return made[key]

    return run_of


@pytest.fixture
def runs(make):
    """The method over three seeds."""
    return [make(seed) for seed in range(3)]


@pytest.fixture(scope="module")
def baseline(make):
    return make_baseline([make(seed) for seed in range(3)], Plan({}, bench="0"))[0]


@pytest.fixture
def again(make):
    """The same method under the same seeds, measured once more; keywords change it."""
    return lambda seeds=range(3), **more: [make(seed, **{"nll": 3.0001, **more}) for seed in seeds]


def edit(run, root, change, part="result"):
    """A copy of a run of which a file was changed."""
    folder = root / "edited"
    shutil.copytree(run.path, folder)
    path = folder / f"{part}.json"
    value = read_json(path)
    change(value)
    write_json(path, value)
    return load_run(folder)


def decision_of(outcome, key):
    return next(one for one in outcome.decisions if one.key == key)


def of(baseline, key):
    return next(one for one in baseline.metrics if one.key == key)


# --- the baseline ---


def test_a_baseline_holds_figures_and_comes_back_as_it_was(runs, baseline, tmp_path):
    path = tmp_path / "b.json"
    save_baseline(path, baseline)
    assert load_baseline(path) == baseline
    metric = of(baseline, EMT)
    evidences = [run.evidence[EMT] for run in runs]
    assert metric.value == pytest.approx(stats.average(evidences))
    assert (metric.ci_low, metric.ci_high) == (stats.interval(evidences).low, stats.interval(evidences).high)
    assert stats.average(baseline.evidence(metric)) == pytest.approx(metric.value, abs=1e-5)
    assert (baseline.primary, baseline.seeds, baseline.check_seeds) == (EMT, [0, 1, 2], 3)
    assert of(baseline, "diversity/length").unjudged == "no direction"


def test_the_file_has_no_texts_sorted_keys_and_a_line_a_list(runs, baseline, tmp_path):
    path = tmp_path / "b.json"
    save_baseline(path, baseline)
    text = path.read_text(encoding="utf-8")
    assert "Prompt 1" not in text
    assert '"p1"' not in text
    assert list(json.loads(text)) == sorted(json.loads(text))
    assert len(text.splitlines()) < 300
    assert text == path.read_text(encoding="utf-8")
    other = make_baseline(runs, Plan({}, bench="0"))[0]
    assert other.model_copy(update={"created": ""}) == baseline.model_copy(update={"created": ""})


def test_a_list_of_strings_with_brackets_and_breaks_survives_the_file(runs, tmp_path, make):
    config = {"targets": ["a ]\n  b", "[ c,\n d ]", "  e  "], "empty": []}
    runs = [make(seed, config=config) for seed in (0, 1)]
    made = make_baseline(runs, Plan({}))[0]
    save_baseline(tmp_path / "b.json", made)
    assert load_baseline(tmp_path / "b.json").method.config == config


def test_tolerances_are_by_kind_and_can_be_given(runs, baseline):
    assert of(baseline, EMT).tolerance == 0.03
    assert of(baseline, "embedded_piqa/acc").tolerance == 0.02
    assert of(baseline, "heldout/perplexity").tolerance == 0.05
    assert all(one.limit >= 2 * one.tolerance for one in baseline.metrics if one.tolerance)
    given = make_baseline(runs, Plan({EMT: 0.1}))[0]
    assert of(given, EMT).tolerance == 0.1
    assert of(given, EMT).limit == pytest.approx(max(0.2, of(baseline, EMT).limit + 0.07), abs=1e-3)
    with pytest.raises(UsageError, match="did you mean 'embedded_piqa/acc'"):
        make_baseline(runs, Plan({"embedded_piqa/ac": 0.1}))
    with pytest.raises(UsageError, match="no judged metric"):
        make_baseline(runs, Plan({}, primary="diversity/length"))
    with pytest.raises(UsageError, match="not planned for"):
        make_baseline(runs, Plan({}, check_seeds=4))


def test_more_seeds_see_smaller_losses(runs, baseline):
    few = make_baseline(runs, Plan({}, check_seeds=1))[0]
    assert of(few, EMT).limit > of(baseline, EMT).limit
    single, notes = make_baseline(runs[:1], Plan({}))
    assert any("one seed" in note for note in notes)
    assert decide(runs[:1], single).exit_code == 0


def test_a_metric_that_cannot_fail_is_told(runs, baseline):
    rare = of(baseline, "embedded_piqa/acc").model_copy(update={"value": 0.01, "limit": 0.2})
    assert is_blind(rare)
    assert not is_blind(of(baseline, EMT))


def test_a_baseline_that_sees_nothing_is_refused(runs):
    perplexity = next(one for one in make_baseline(runs, Plan({}))[0].metrics if one.relative)
    assert not is_blind(perplexity)
    assert is_blind(perplexity.model_copy(update={"limit": 18.39}))
    with pytest.raises(MissingError, match=r"no check could see any loss of rtp/.*; take more prompts or seeds"):
        make_baseline(runs, Plan({EMT: 1.0}))
    forced = make_baseline(runs, Plan({EMT: 1.0}, force=True))[0]
    assert decide(runs, forced).exit_code == 3, "what sees nothing passes nothing"


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"finished": False}, MissingError, "has not finished"),
        ({"n_failed": 1}, MissingError, "failed"),
        ({"scorer__threshold": 0.7}, MissingError, "scorer.threshold"),
        ({"config": {"steps": 4}}, UsageError, "method.config.steps"),
        ({"suite": {"name": "mini", "sets": {"seed": 1}}}, UsageError, "method.sets.seed"),
        ({"whole": False}, MissingError, "distinct_1"),
    ],
)
def test_no_baseline_is_made_of_unfit_runs(runs, make, change, error, said):
    other = make(3, **change)
    with pytest.raises(error, match=said):
        make_baseline([*runs, other], Plan({}))


def test_no_baseline_is_made_of_runs_that_have_not_measured_the_same(runs, make, tmp_path):
    def without(record):
        record["metrics"] = [one for one in record["metrics"] if one["name"] != "perplexity_median"]
        record.get("evidence", {}).pop("fluency/perplexity_median", None)

    folder = edit(make(3), tmp_path, without).path
    task = read_json(folder / "tasks" / "fluency.json")
    without(task)
    write_json(folder / "tasks" / "fluency.json", task)
    for lacking in ([*runs, load_run(folder)], [load_run(folder), *runs]):
        with pytest.raises(MissingError, match="have not measured the same: fluency/perplexity_median"):
            make_baseline(lacking, Plan({}))


def test_no_baseline_without_a_hash_or_of_other_seeds_twice(runs, make):
    lacking = make(model={"id": "m", "sha256": None})
    with pytest.raises(MissingError, match=r"has no model\.sha256"):
        make_baseline([lacking], Plan({}))
    later = make(created="2026-03-01", run_id="later")
    made, notes = make_baseline([*runs, later], Plan({}))
    assert made.run_ids[0] == "later"
    assert any("replaced by the later later" in note for note in notes)


@pytest.mark.parametrize(
    "change",
    [
        lambda b: b.update(schema_version=2),
        lambda b: b.pop("facts"),
        lambda b: b.update(more=1),
        lambda b: b.update(metrics=[]),
        lambda b: b.update(primary="nothing"),
        lambda b: b["metrics"].append(b["metrics"][0]),
        lambda b: b["metrics"][-1].update(value=0.9),
        lambda b: b["metrics"][-1].update(limit=0.0),
        lambda b: b["metrics"][-1].update(tolerance=float("nan")),
        lambda b: b["metrics"][-1].update(tolerance="0.1"),
        lambda b: b["metrics"][-1].update(tolerance=-1.0),
        lambda b: b["metrics"][-1].update(seeds=[]),
        lambda b: b["metrics"][-1]["seeds"][0]["value"].pop(),
        lambda b: b["metrics"][-1].update(clusters=99),
        lambda b: b["metrics"][-1].update(tolerance=None, limit=None),
        lambda b: b["seeds"].append(7),
    ],
)
def test_a_damaged_baseline_is_refused(baseline, tmp_path, change):
    path = tmp_path / "b.json"
    value = baseline.model_dump()
    change(value)
    path.write_text(json.dumps(value), encoding="utf-8")
    with pytest.raises(MissingError, match=r"damaged|version 2"):
        load_baseline(path)


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "null", "\x00", "[" * 100_000, "[" * 500 + "]" * 500, '{"schema_version": 1}'),
        *('{"schema_version": NaN}', f'{{"schema_version": {"9" * 4000}}}', '{"created": "\\ud800"}'),
    ],
)
def test_a_file_that_is_no_baseline_is_refused(tmp_path, text):
    path = tmp_path / "b.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(MissingError, match=r"b\.json"):
        load_baseline(path)
    with pytest.raises(MissingError, match="no baseline"):
        load_baseline(tmp_path / "none.json")


def test_a_pipe_is_no_baseline(tmp_path):
    os.mkfifo(tmp_path / "b.json")
    with pytest.raises(MissingError, match=r"b\.json cannot be read"):
        load_baseline(tmp_path / "b.json")


# --- the decision ---


def test_the_same_runs_have_lost_exactly_nothing(runs, baseline):
    outcome = decide(runs, baseline)
    assert (outcome.status, outcome.exit_code, outcome.problems) == ("passed", 0, ())
    assert {one.loss for one in outcome.decisions if one.tolerance is not None} == {0.0}
    assert decision_of(outcome, "diversity/length").status == "unjudged"


def test_a_method_that_has_stopped_working_fails(baseline, again):
    outcome = decide(again(toxicity=0.6), baseline)
    assert (outcome.status, outcome.exit_code) == ("failed", 1)
    failed = {one.key for one in outcome.decisions if one.status == "failed"}
    assert EMT in failed
    assert all(key.startswith("rtp/") for key in failed)
    one = decision_of(outcome, EMT)
    assert one.p_corrected == pytest.approx(min(1, 2 * one.p))
    assert one.low > one.tolerance


@pytest.mark.parametrize(
    ("change", "key"), [({"nll": 3.4}, "heldout/perplexity"), ({"accuracy": 0.3}, "embedded_piqa/acc")]
)
def test_other_losses_fail_as_well(baseline, change, key, again):
    outcome = decide(again(**change), baseline)
    assert outcome.exit_code == 1
    assert decision_of(outcome, key).status == "failed"
    assert decision_of(outcome, EMT).status == "passed"


def test_what_is_better_passes_and_says_so(baseline, again):
    outcome = decide(again(toxicity=0.1), baseline)
    assert outcome.exit_code == 0
    assert decision_of(outcome, EMT).why == "better: renew the baseline"


def test_a_loss_within_the_tolerance_passes(baseline, again):
    outcome = decide(again(nll=3.03), baseline)
    one = decision_of(outcome, "heldout/perplexity")
    assert one.loss == pytest.approx(0.03, abs=0.01)
    assert outcome.exit_code == 0


def test_prompts_that_are_gone_do_not_pass_for_one_blank_text(baseline, runs):
    for run in runs:
        path = run.path / "tasks" / "rtp.json"
        record = read_json(path)
        for one in record["metrics"]:
            one["n_empty"] = 1
        for one in record["evidence"].values():
            kept = [n for n, place in enumerate(one["cluster"]) if place < 4]
            for name in ("cluster", "value"):
                one[name] = [one[name][n] for n in kept]
        write_json(path, record)
        settle(run.path)
    outcome = decide([load_run(run.path) for run in runs], baseline)
    assert outcome.problems == ()
    assert outcome.exit_code == 3
    assert decision_of(outcome, EMT).why == "105 of the baseline's prompts or questions are missing"


@pytest.mark.parametrize("key", ["fluency/perplexity", "embedded_piqa/acc"])
@pytest.mark.parametrize("side", ["both", "baseline", "run"])
def test_a_prompt_whose_text_is_blank_is_not_missing(again, tmp_path, side, key):
    """A perplexity or a self-BLEU of one seed may lack a prompt that the other seeds have."""

    def blank(value):
        if behind := value["evidence"].get(key):
            behind.update({name: behind[name][1:] for name in ("cluster", "value")})
            next(one for one in value["metrics"] if one["name"] == key.partition("/")[2])["n_empty"] = 1

    runs = again()
    part = "tasks/fluency" if key.startswith("fluency") else "tasks/harness"
    path = edit(runs[0], tmp_path, blank, part).path
    blanked = [load_run(settle(path)), *runs[1:]]
    made = make_baseline(runs if side == "run" else blanked, Plan({}))[0]
    outcome = decide(runs if side == "baseline" else blanked, made)
    assert (outcome.status, outcome.problems) == ("passed", ())
    assert decision_of(outcome, key).n_clusters == PROMPTS - 1


@pytest.mark.parametrize("n_clusters", [5, 40, 96, 400])
def test_nothing_is_tolerated_of_what_repeats_exactly_and_the_same_runs_pass(n_clusters):
    """The limit is what the same runs may be sure of, whatever it is rounded to."""
    limit = limit_of(0.0, Error(0.0, n_clusters - 1), n_clusters, 0.05, relative=False)
    assert 0 <= limit - unseen(LEVEL, n_clusters) < 1e-3 * limit


def test_other_seeds_than_the_baseline_s_are_refused(baseline, again):
    for seeds in (range(5, 8), (0, 1, 9)):
        outcome = decide(again(seeds), baseline)
        assert outcome.exit_code == 3
        assert "is not the baseline's" in outcome.problems[0]


def test_too_few_seeds_do_not_pass(runs, again):
    single = make_baseline(runs[:1], Plan({}))[0]
    outcome = decide(again([5]), single)
    assert outcome.exit_code == 3
    assert "is not the baseline's" in outcome.problems[0]
    fewer = make_baseline(runs, Plan({}, check_seeds=1))[0]
    assert decide(runs[1:2], fewer).exit_code == 0
    assert {one.loss for one in decide(runs[1:2], fewer).decisions if one.loss is not None} == {0.0}


def test_a_check_noisier_than_planned_is_inconclusive(runs, baseline, again):
    """The limit is what the baseline was told that a check sees: where a check sees less, it does not pass."""
    strict = baseline.model_copy(
        update={"metrics": [one.model_copy(update={"limit": one.tolerance}) for one in baseline.metrics]}
    )
    outcome = decide(again(), strict)
    assert (outcome.status, outcome.exit_code) == ("inconclusive", 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"scorer__threshold": 0.7}, "scorer.threshold"),
        ({"scorer__hash": "e" * 64}, "scorer.hash"),
        ({"model__sha256": "b" * 64}, "model.sha256"),
        ({"suite_hash": "6" * 64}, "suite_hash"),
        ({"data": []}, "data.rtp"),
        ({"decoding__top_p": 1.0}, "decoding.top_p"),
        ({"config": {"steps": 4}}, "method.config.steps"),
        ({"n_failed": 1}, "failed"),
        ({"finished": False}, "has not finished"),
    ],
)
def test_an_unfit_run_never_passes(runs, baseline, change, said, make):
    outcome = decide([*runs[:2], make(2, **change)], baseline)
    assert outcome.exit_code == 3
    assert any(said in problem for problem in outcome.problems)


def test_another_configuration_can_be_allowed_and_is_told(baseline, again):
    outcome = decide(again(config={"steps": 4}), baseline, allow_config=True)
    assert outcome.exit_code == 0
    assert any("method.config.steps" in note for note in outcome.notes)


def _drop_metric(value):
    value["metrics"] = [one for one in value["metrics"] if one["name"] != "expected_maximum_toxicity"]


def _null_metric(value):
    value["metrics"][0]["value"] = None


def _other_value(value):
    value["metrics"][0]["value"] += 0.2


def _drop_prompt(value):
    one = value["evidence"][EMT]
    one["cluster"], one["value"] = one["cluster"][1:], one["value"][1:]


def _drop_evidence(value):
    del value["evidence"][EMT]


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("result", _drop_metric),
        ("result", _null_metric),
        ("result", _other_value),
        ("result", lambda value: value.update(publishable=False)),
        ("result", lambda value: value["metrics"][0].update(higher_is_better=True)),
        ("tasks/rtp", _drop_evidence),
        ("tasks/rtp", _drop_prompt),
        ("tasks/rtp", lambda value: value["evidence"][EMT].update(statistic="median")),
        ("tasks/rtp", lambda value: value.update(schema_version=9)),
        ("tasks/rtp", lambda value: value["evidence"][EMT].update(cluster=[999] * PROMPTS)),
    ],
)
def test_a_broken_record_never_passes(baseline, tmp_path, part, change, again):
    runs = again()
    runs[1] = edit(runs[1], tmp_path, change, part)
    outcome = decide(runs, baseline)
    assert outcome.exit_code == 3
    assert outcome.status == "invalid"


def test_no_run_and_too_few_runs_never_pass(runs, baseline):
    assert decide([], baseline).exit_code == 3
    outcome = decide(runs[:2], baseline)
    assert outcome.exit_code == 3
    assert "2 seed(s) given where the baseline asks for 3" in outcome.problems


def test_nothing_judged_is_not_passed(runs, baseline):
    outcome = decide(runs, baseline)
    assert replace(outcome, decisions=()).exit_code == 3
    unjudged = tuple(one for one in outcome.decisions if one.status == "unjudged")
    assert replace(outcome, decisions=unjudged).exit_code == 3
    assert refused(MissingError("x")).exit_code == 3


def test_metrics_that_the_baseline_does_not_know_are_told(runs, baseline):
    fewer = baseline.model_copy(update={"metrics": [one for one in baseline.metrics if one.task != "heldout"]})
    assert any("heldout/perplexity" in note for note in decide(runs, fewer).notes)


# --- the statistics under it ---


def test_a_contrast_is_students_t(runs):
    scipy = pytest.importorskip("scipy.stats")
    a, b = (runs[n].evidence[EMT] for n in (0, 1))
    found = contrast([a], [b], resamples=20_000)
    gaps = [x - y for x, y in zip(a.value, b.value, strict=True)]
    expected = scipy.ttest_1samp(gaps, 0.01, alternative="greater")
    assert found.p_above(0.01) == pytest.approx(expected.pvalue, rel=0.03)
    interval = scipy.ttest_1samp(gaps, 0, alternative="less").confidence_interval(0.95)
    assert found.value + found.reach(0.95) == pytest.approx(interval.high, abs=2e-3)


def test_repeats_differ_less_than_prompts(runs):
    evidences = [run.evidence[EMT] for run in runs]
    found = repeatability(evidences)
    assert 0 < found < over_prompts(evidences[0])  # prompts differ more than repeats of one do
    assert repeatability(evidences[:1]) is None


def test_where_nothing_differs_a_bound_stands_in():
    none = Contrast(0.0, Error(0.0, 15), 16, 0, bounded=True)
    assert none.p_above(0.02) == 1
    assert none.reach(0.95) == pytest.approx(1 - 0.05 ** (1 / 16))
    all_lost = replace(none, value=1.0)
    assert all_lost.p_above(0.0) == pytest.approx(0.5**16)


# --- forms ---


def parse(text):
    return ElementTree.fromstring(text)  # noqa: S314 - our own


@pytest.fixture
def hostile(make):
    """An outcome of which every text was made up to do harm, with one metric of each status."""
    made = [make(seed, label=HOSTILE, run_id=f"r{seed}") for seed in range(2)]
    baseline = make_baseline(made, Plan({}))[0]
    outcome = decide(made, baseline)
    statuses = ["failed", "inconclusive", "invalid", "unjudged", "passed"]
    decisions = tuple(
        replace(one, key=f"{HOSTILE}/{HOSTILE}{n}", status=statuses[n % 5], why=HOSTILE)
        for n, one in enumerate(outcome.decisions)
    )
    return replace(
        outcome, decisions=decisions, suite=HOSTILE, problems=(HOSTILE,), notes=(HOSTILE,), run_ids=(HOSTILE,)
    )


def text_of(outcome):
    buffer = io.StringIO()
    print_outcome(outcome, buffer)
    return buffer.getvalue()


def test_the_terminal_form_fits_and_is_inert(hostile, runs, baseline, tmp_path, again):
    text = text_of(hostile)
    assert not set("\x1b\u202e\x9b") & set(text)
    assert max(map(len, text.splitlines())) <= 80
    text = text_of(decide(again(toxicity=0.6), baseline))
    assert max(map(len, text.splitlines())) <= 80
    assert text.splitlines()[0].startswith("bench check: contrastive on mini: FAILED (")
    assert "FAIL expected maximum toxicity* ↓   0.4" in text
    buffer = io.StringIO()
    print_baseline(baseline, tmp_path / "b.json", ["a note"], buffer)
    assert "note: a note" in buffer.getvalue()


def test_metrics_of_one_task_have_rows_of_their_own(runs, baseline, tmp_path):
    keys = [f"rtp/{30 * 'x'}_{end}" for end in "ab"]
    outcome, buffer = decide(runs, baseline), io.StringIO()
    first, *_ = outcome.decisions
    drawn = text_of(replace(outcome, decisions=tuple(replace(first, key=key) for key in keys)))
    metrics = [of(baseline, EMT).model_copy(update={"name": key.removeprefix("rtp/")}) for key in keys]
    print_baseline(baseline.model_copy(update={"metrics": metrics}), tmp_path / "b.json", [], buffer)
    for text in (drawn, buffer.getvalue()):
        assert len({line[5:33] for line in text.splitlines() if "xxx" in line}) == 2


def test_junit_is_read_by_a_parser_and_counts(hostile, runs, baseline):
    root = parse(junit(hostile))
    cases = root.findall("testsuite/testcase")
    assert len(cases) == len(hostile.decisions) + 1 == int(root.get("tests"))
    assert len(root.findall(".//failure")) == int(root.get("failures")) > 0
    assert len(root.findall(".//error")) == int(root.get("errors")) > 0
    assert len(root.findall(".//skipped")) == int(root.get("skipped")) > 0
    assert "<script>" in cases[1].get("name")  # escaped in the file, and back again
    assert "<script>" not in junit(hostile)
    root = parse(junit(decide(runs, baseline)))
    assert (root.get("failures"), root.get("errors")) == ("0", "0")
    root = parse(junit(refused(MissingError("there is no baseline"))))
    assert (root.get("tests"), root.get("errors")) == ("1", "1")


def test_markdown_is_a_table_and_inert(hostile, baseline, again):
    text = markdown(hostile)
    assert "<script>" not in text
    assert not set("\x1b\u202e") & set(text)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in rows} == {10}
    text = markdown(decide(again(toxicity=0.6), baseline))
    assert text.startswith("### ❌ contrastive on mini: FAILED")
    assert "| FAILED | **primary** rtp/toxic/expected\\_maximum\\_toxicity ↓ |" in text


def test_annotations_are_commands_and_nothing_in_them_is_one(hostile, runs, baseline):
    lines = annotations(hostile)
    assert all(line.startswith(("::error title=bench check", "::notice title=bench check")) for line in lines)
    for line in lines:
        title, message = line.removeprefix("::").split("::", 1)
        assert "," not in title
        assert "%0A" not in message.replace("%250A", "")
        assert "\n" not in line
    assert [line.split(" ")[0] for line in annotations(decide(runs, baseline))] == ["::notice"]
    assert annotations(refused(MissingError("a, b: 5 %")))[0] == "::error title=bench check::a, b: 5 %25"


def test_json_is_json(hostile, runs, baseline):
    value = json.loads(json.dumps(to_json(decide(runs, baseline)), allow_nan=False))
    assert (value["status"], value["exit_code"], value["alpha"]) == ("passed", 0, 0.05)
    assert json.loads(json.dumps(to_json(hostile)))["exit_code"] == 3


# --- how often it is wrong ---


@pytest.fixture
def alarms(monkeypatch):
    """The simulation of tests/benchmarks/gate_alarms.py."""
    folder = Path(__file__).parents[1] / "benchmarks"
    monkeypatch.syspath_prepend(str(folder))
    return runpy.run_path(str(folder / "gate_alarms.py"))["alarms"]


def test_an_unchanged_method_seldom_raises_an_alarm(alarms):
    failed, inconclusive, refused, _ = alarms("smoke", 2, 2, 0.3, "same seeds", (0.0, 0.0, 0.0), 12)
    assert failed + inconclusive + refused <= 0.1


def test_a_method_that_stops_working_is_caught(alarms):
    failed, inconclusive, _, primary = alarms("smoke", 4, 4, 0.3, "same seeds", (1.0, 0.0, 0.0), 6)
    assert failed + inconclusive >= 0.8
    assert primary >= 0.8


# --- the workflow that docs/ci.md gives to users ---


def test_the_workflow_is_valid_and_its_commands_are_on_the_page():
    page = (Path(__file__).parents[2] / "docs" / "ci.md").read_text(encoding="utf-8")
    text = re.search(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)[1]
    value = yaml.safe_load(text)
    assert set(value) == {"name", True, "permissions", "jobs"}  # YAML 1.1 reads `on` as a truth value
    (job,) = value["jobs"].values()
    steps = [step["run"] for step in job["steps"] if "run" in step]
    assert all(
        set(step) <= {"uses", "with", "run", "if"} and ("uses" in step) != ("run" in step) for step in job["steps"]
    )
    commands = [step for step in steps if step.startswith("bench ")]
    assert [command.split()[1] for command in commands] == ["run", "check"]
    assert all(command.split(" --github")[0] in page.replace(text, "") for command in commands)
    command = typer.main.get_command(app).commands["check"]
    context = command.make_context("check", commands[1].split()[2:])
    assert context.params["github"]
    assert (context.params["suite"], str(context.params["junit"])) == ("smoke", "check.xml")


def test_the_repository_s_own_baseline_can_be_read():
    kept = load_baseline(Path(__file__).parents[2] / "baselines" / "smoke-contrastive.json")
    assert kept.method.name == "contrastive"
    assert kept.primary == "rtp/expected_maximum_toxicity"
    primary = of(kept, kept.primary)
    assert not is_blind(primary)


def test_the_committed_baseline_speaks_of_the_suite_as_it_is():
    """A setting that is added later is absent in what knew nothing of it, and so in baselines of users."""
    kept = read_json(Path(__file__).parents[2] / "baselines" / "smoke-contrastive.json")["method"]["sets"]
    today = load_suite("smoke").sets.model_dump(mode="json")
    said = {name: value for name, value in (today | {"scorer": kept["scorer"]}).items() if value is not None}
    assert said == kept
