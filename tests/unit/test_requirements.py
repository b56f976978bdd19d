"""Limits that a method's figures must keep: how they are written, and that nothing unsure or unfit passes."""

import io
import json
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import write_run

from bench.errors import UsageError
from bench.store.files import read_json, write_json
from bench.store.runs import list_runs, load_run
from reports.gate import check, decide, load_baseline, make_baseline, parse_requirement, save_baseline
from reports.gate.decision import to_json
from reports.gate.forms import annotations, junit, markdown
from reports.gate.requirements import NO_BASE, Requirement, hold
from reports.gate.terminal import print_outcome
from reports.gate.writing import Plan
from reports.table.build import build

FRACTION = "rtp/toxic/toxic_fraction"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The base (toxic fraction 0.99) and a method (0.06), three seeds each."""
    root = tmp_path_factory.mktemp("runs")
    made = [write_run(root, "none", seed, whole=True, toxicity=0.8) for seed in range(3)]
    made += [write_run(root, "contrastive", seed, whole=True, toxicity=0.35) for seed in range(3)]
    return [load_run(path) for path in made]


def held(runs, *texts):
    return check(runs, None, [parse_requirement(text) for text in texts], by_name=True)


def interval_of(runs, key, *, of_base=False):
    """Value, low and high as the table shows them."""
    row = next(row for row in build(runs).rows if row.key == key)
    found = row.cells[1].difference if of_base else row.cells[1]
    return found.value, found.low, found.high


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("toxic_fraction <= 0.05", ("toxic_fraction", True, 0.05, False, False)),
        ("rtp/toxic/acc>=1e-3", ("rtp/toxic/acc", False, 0.001, False, False)),
        ("x <= -2", ("x", True, -2.0, False, False)),
        ("x >= base", ("x", False, 0.0, True, False)),
        ("x >= base - 0.02", ("x", False, -0.02, True, False)),
        (" heldout/perplexity  <= base+10% ", ("heldout/perplexity", True, 0.1, True, True)),
        ("heldout/perplexity <= +5 %", ("heldout/perplexity", True, 0.05, True, True)),
        ("x >= - 2.5%", ("x", False, -0.025, True, True)),
        ("x@bilstm <= base - 50 %", ("x@bilstm", True, -0.5, True, True)),
    ],
)
def test_a_limit_is_read(text, wanted):
    assert parse_requirement(text) == Requirement(" ".join(text.split()), *wanted)


@pytest.mark.parametrize(
    "text",
    [
        *("", "toxic_fraction", "<= 0.05", "a < 0.05", "a == 1", "a <= b", "a <= 1 2", "a <= 5 %", "a <= base + x"),
        *("a <= base 0.1", "a <= nan", "a <= inf", "a <= 1e999", "a <= 1.2.3", "a <= .", "a b <= 1", "a <= base * 2"),
    ],
)
def test_what_is_no_limit_is_refused(text):
    with pytest.raises(UsageError, match=r"requirement '.*write 'toxic_fraction <= 0\.05'"):
        parse_requirement(text)


def test_a_number_with_a_plus_is_asked_about():
    said = r"'x <= \+0.05': is '\+0.05' a change to the base\?; write 'x <= base \+ 0.05', or the figure without a sign"
    with pytest.raises(UsageError, match=said):
        parse_requirement("x <= +0.05")


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text):
    try:
        found = parse_requirement(text)
    except UsageError:
        return
    assert "<=" in text or ">=" in text
    assert found.metric in text


@pytest.mark.parametrize(("of_base", "key"), [(False, FRACTION), (True, FRACTION), (True, "heldout/perplexity")])
def test_it_passes_within_fails_beyond_and_does_not_know_between(runs, of_base, key):
    value, low, high = interval_of(runs, key, of_base=of_base)

    def status(limit, sign="<="):
        text = f"{limit:.12f}"
        if of_base:
            share = " %" if key.endswith("perplexity") else ""
            text = f"base {'-' if limit < 0 else '+'} {abs(limit) * (100 if share else 1):.12f}{share}"
        outcome = held(runs, f"{key} {sign} {text}")
        (one,) = outcome.requirements
        assert (one.value, one.low, one.high) == (value, low, high)
        assert outcome.exit_code == (one.status != "passed")
        return one.status

    step = 1e-6
    assert [status(one) for one in (high + step, value, low - step)] == ["passed", "inconclusive", "failed"]
    assert [status(one, ">=") for one in (high + step, value, low - step)] == ["failed", "inconclusive", "passed"]


def test_all_must_be_kept_and_the_base_is_not_held(runs):
    outcome = held(runs, "toxic_fraction <= 0.5", "toxic_fraction <= base - 0.5", "toxic_fraction <= 0")
    assert [one.status for one in outcome.requirements] == ["passed", "passed", "failed"]
    assert {one.label for one in outcome.requirements} == {"contrastive"}
    assert (outcome.status, outcome.exit_code) == ("failed", 1)
    assert held(runs[:3], "toxic_fraction <= 0.5").requirements[0].label == "none"


def test_texts_that_are_no_answers_fail_what_the_suite_controls(runs):
    table = build(runs)
    systems = tuple(replace(one, flags=() if one.is_base else ("ignores the prompt",)) for one in table.systems)
    limits = [parse_requirement(text) for text in (f"{FRACTION} <= 1", "heldout/perplexity <= 99")]
    assert [one.status for one in hold(replace(table, systems=systems), limits)] == ["failed", "passed"]
    assert [one.status for one in hold(table, limits)] == ["passed", "passed"]


def flagged_by(folder):
    """The same run, of which a metric would flag texts that are no answers."""
    for path in (folder / "result.json", folder / "tasks" / "diversity.json"):
        record = read_json(path)
        for one in record["metrics"]:
            if one["name"] == "length":
                one["flag"] = {"text": "empty", "margin": 0.25}
        write_json(path, record)
    return load_run(folder)


def test_without_the_base_that_flags_are_found_by_no_limit_on_the_attribute_is_passed(tmp_path):
    base, edited = (
        flagged_by(write_run(tmp_path, name, whole=True, toxicity=toxicity))
        for name, toxicity in (("none", 0.8), ("contrastive", 0.35))
    )
    limits = ("toxic_fraction <= 0.5", "toxic_fraction <= 0", "heldout/perplexity <= 99")
    outcome = held([edited], *limits)
    assert [one.status for one in outcome.requirements] == ["invalid", "failed", "passed"]
    assert (outcome.exit_code, outcome.requirements[0].why) == (3, NO_BASE)
    assert [one.status for one in held([base, edited], *limits).requirements] == ["passed", "failed", "passed"]
    assert held([base], limits[0]).exit_code == 1  # it is held itself where there is nothing else


def test_one_training_is_told(runs):
    (one,) = held([runs[0], runs[3]], "toxic_fraction <= 0.5").requirements
    assert (one.status, one.why) == ("passed", "of this one training")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("toxic_fractio <= 1", r"no metric is called 'toxic_fractio'; did you mean 'toxic_fraction'"),
        ("perplexity <= 20", r"several metrics; say which: fluency/perplexity, heldout/perplexity"),
        ("heldout/perplexity <= base + 1", r"is held against the base by a share; write 'base \+ 10 %'"),
        ("toxic_fraction <= 5", r"is a share, and it lies between 0 and 1; write a share, as 0\.05"),
        ("toxic_fraction >= -0.1", r"is a share, and it lies between 0 and 1; write another limit"),
        ("toxic_fraction <= base + 5", r"a difference to the base's lies between -1 and 1; write a share, as 0\.05"),
        ("toxic_fraction <= base + 1 %", r"is held against the base by a difference; write 'base \+ 0\.05'"),
    ],
)
def test_what_cannot_be_held_is_refused(runs, text, said):
    with pytest.raises(UsageError, match=said):
        held(runs, text)


def test_without_the_base_nothing_is_held_against_it(runs):
    with pytest.raises(UsageError, match=r"needs the base, and no run of it is among these; name the base's runs"):
        held(runs[3:], "toxic_fraction <= base")


@pytest.mark.parametrize("change", [{"n_failed": 1}, {"finished": False}])
def test_an_unfit_run_never_passes(runs, tmp_path, change):
    unfit = load_run(write_run(tmp_path, "contrastive", 3, whole=True, toxicity=0.1, **change))
    outcome = held([*runs, unfit], "toxic_fraction <= 1")
    assert (outcome.status, outcome.exit_code) == ("invalid", 3)


@pytest.mark.parametrize("change", [{"n_failed": 1}, {"finished": False}])
def test_a_run_that_a_later_one_replaces_does_not_count_and_is_told(runs, tmp_path, change):
    """Repeating the experiment is what a failed run's message asks for."""
    old = {"created": "2020-01-01T00:00:00+00:00", "run_id": "old", **change}
    unfit = load_run(write_run(tmp_path, "contrastive", 2, whole=True, toxicity=0.1, **old))
    outcome = held([unfit, *runs], "toxic_fraction <= 1")
    assert (outcome.status, outcome.run_ids) == ("passed", tuple(run.id for run in runs[3:]))
    assert [note.startswith("Left out: run old") for note in outcome.notes] == [True]


def test_what_a_figure_rests_on_is_told(tmp_path):
    folder = write_run(tmp_path, "contrastive", whole=True, toxicity=0.35)
    for path in (folder / "result.json", folder / "tasks" / "rtp.json"):
        record = read_json(path)
        for one in record["metrics"]:
            one["n_empty"] = one["n"] // 2 if one["task"] == "rtp" else 0
        write_json(path, record)
    assert held([load_run(folder)], "toxic_fraction <= 1").notes == ("contrastive: up to 50% of the texts are blank.",)
    assert held([load_run(folder)], "heldout/perplexity <= 99").notes == ()


def test_nothing_is_within_a_budget_of_a_base_whose_measurements_failed(tmp_path):
    """A search holds its trials by this rule alone, without what else the gate looks at."""
    write_run(tmp_path, "none", whole=True, toxicity=0.8, n_failed=4)
    write_run(tmp_path, "contrastive", whole=True, toxicity=0.35)
    table = build(list_runs(tmp_path))
    decided = hold(table, [parse_requirement(text) for text in ("toxic_fraction <= base", "toxic_fraction <= 0.9")])
    found = {(one.text, one.label): (one.status, one.why) for one in decided}
    assert found["toxic_fraction <= base", "contrastive"] == ("invalid", "4 measurements of the base failed")
    assert found["toxic_fraction <= 0.9", "contrastive"][0] == "passed"


def test_a_baseline_and_limits_are_held_together(runs, tmp_path):
    save_baseline(tmp_path / "b.json", make_baseline(runs[3:], Plan({}))[0])
    baseline = load_baseline(tmp_path / "b.json")
    for text, code in (("toxic_fraction <= 0.5", 0), ("toxic_fraction <= 0", 1)):
        outcome = check(runs, baseline, [parse_requirement(text)], by_name=True)
        assert {one.status for one in outcome.decisions} == {"passed", "unjudged"}
        assert outcome.exit_code == code


def test_every_form_says_what_was_found(runs):
    outcome = held(runs, "toxic_fraction <= 0.5", "heldout/perplexity <= base - 90 %")
    drawn = io.StringIO()
    print_outcome(outcome, drawn)
    assert "ok   toxic_fraction <= 0.5\n" in drawn.getvalue()
    assert "FAIL heldout/perplexity <= base - 90 %\n" in drawn.getvalue()
    root = ElementTree.fromstring(junit(outcome))  # noqa: S314 - our own
    assert (root.get("tests"), root.get("failures")) == ("3", "1")
    assert "| FAILED | contrastive | heldout/perplexity &lt;= base - 90 % |" in markdown(outcome)
    assert [line[:20] for line in annotations(outcome)] == ["::error title=bench "]
    value = json.loads(json.dumps(to_json(outcome)))
    assert [one["status"] for one in value["requirements"]] == ["passed", "failed"]


def test_systems_whose_labels_begin_alike_are_told_apart_in_every_form(tmp_path):
    """Which of them failed is what a check is for."""
    write_run(tmp_path, "none", whole=True, toxicity=0.8)
    for place, toxicity in enumerate((0.35, 0.79)):
        label = f"contrastive ({', '.join(f'option_{n}=0.12345' for n in range(4))}, last={place})"
        write_run(tmp_path, "contrastive", whole=True, toxicity=toxicity, config={"last": place}, label=label)
    runs = list_runs(tmp_path)
    labels = [system.label for system in build(runs).systems if not system.is_base]
    assert min(map(len, labels)) > 90
    asked = ["toxic_fraction <= 0.5", "rtp/toxic/expected_maximum_toxicity <= 0.7"]
    outcome = held(runs, *asked)
    assert [one.status for one in outcome.requirements] == ["passed", "failed"] * 2
    drawn = io.StringIO()
    print_outcome(outcome, drawn)
    shown = " ".join(drawn.getvalue().split())
    failed = [line for line in annotations(outcome) if line.startswith("::error")]
    cases = ElementTree.fromstring(junit(outcome)).findall("testsuite/testcase")[1:]  # noqa: S314 - our own
    assert {case.get("name") for case in cases} == {f"{label}: {text}" for label in labels for text in asked}
    for label in labels:
        assert f"{label}: " in shown
        assert sum(label in line for line in failed) == (2 if label == labels[1] else 0)
        assert label in markdown(outcome).replace("\\", "")


@pytest.mark.parametrize("length", [60, 120, 240])
def test_metrics_whose_keys_begin_alike_have_cases_of_their_own(runs, length):
    baseline = make_baseline([run for run in runs if run.method != "none"], Plan({}))[0]
    outcome = decide([run for run in runs if run.method != "none"], baseline)
    first, *_ = outcome.decisions
    keys = [f"{length * 'x'}/{place}" for place in "ab"]
    outcome = replace(outcome, decisions=tuple(replace(first, key=key, status="failed") for key in keys))
    cases = ElementTree.fromstring(junit(outcome)).findall("testsuite/testcase")  # noqa: S314 - our own
    assert {case.get("name") for case in cases[1:]} == set(keys)
    for key in keys:
        assert sum(f"{key}: " in line for line in annotations(outcome)) == 1
        assert f"{key} " in markdown(outcome)
