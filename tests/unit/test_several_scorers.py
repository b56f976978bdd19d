"""A suite with several scorers: each reports, one labels the sets, and tables say how far they agree."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from checkpoints import tiny_bilstm

from bench.assets.catalogue import AssetCatalogue
from bench.errors import UsageError
from bench.run.environment import Environment
from bench.run.launch.local import run_experiments
from bench.run.plan import Request, make_experiments
from bench.scorers.people import by_people
from bench.spec import SuiteSpec, validate
from bench.stats import Difference
from bench.store.files import write_json
from bench.store.frame import load
from bench.store.record import Metric
from bench.store.runs import Run, load_run
from bench.store.samples import Sample, read_samples
from bench.suites import load_suite, names
from reports.gate import make_baseline
from reports.gate.writing import Plan
from reports.page.page import build_page
from reports.table.build import build
from reports.table.caption import caption_lines
from reports.table.cells import MetricRow, TableCell
from reports.table.columns import Column
from reports.table.layout import arrange, load_layout
from reports.table.scorers import changed_conclusions

SVM = {"name": "svm", "threshold": 0.1}
MINIMAL = {
    "name": "some",
    "description": "for a test",
    "model": {"id": "a-model"},
    "decoding": {},
    "sets": {},
    "tasks": [{"task": "rtp"}],
}


def suite(**changes: Any) -> SuiteSpec:
    return validate(SuiteSpec, {**MINIMAL, **changes}, "it")


@pytest.fixture(scope="module")
def runs(write_suite: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """The base and one method, measured by a small BiLSTM and the SVM; the SVM split the sets."""
    folder = tmp_path_factory.mktemp("several")
    sets = {"source": "self", "scorer": "svm", "prompts": str(folder / "prompts.jsonl"), "num_prompts": 12}
    sets |= {"positive_below": 0.05, "negative_above": 0.05, "decoding": {"num_samples": 6, "max_new_tokens": 8}}
    written = write_suite(
        folder,
        scorer={"name": "bilstm", "threshold": 0.5, "options": tiny_bilstm(folder)},
        scorers=[SVM],
        sets=sets,
    )
    experiments = make_experiments(Request(("contrastive",), str(written)))
    env = Environment(experiments[0].suite, AssetCatalogue(folder / "cache", offline=True))
    outcomes = run_experiments(experiments, env, folder / "runs")
    assert [outcome.error for outcome in outcomes] == [None, None]
    return [load_run(outcome.folder) for outcome in outcomes if outcome.folder]


# --- the suite ---


def test_one_scorer_is_as_it_was():
    one = suite(scorer=SVM)
    assert one.further == {}
    assert one.labelling is one.scorer


def test_the_first_of_several_is_the_headline_where_none_is_named():
    several = suite(scorers=[{"name": "bilstm", "threshold": 0.4}, SVM], sets={"scorer": "svm"})
    assert (several.scorer.name, several.scorer.threshold) == ("bilstm", 0.4)
    assert list(several.further) == ["svm"]
    assert several.labelling == several.further["svm"]
    assert several.scored_by(several.scorer).threshold == 0.4
    assert several.scored_by(several.labelling).threshold == 0.1


def test_another_headline_leaves_the_others():
    other = suite(scorer={"name": "detoxify"}, scorers=[{"name": "bilstm"}, SVM], sets={"scorer": "svm"})
    assert (other.scorer.name, list(other.further), other.labelling.name) == ("detoxify", ["bilstm", "svm"], "svm")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"scorer": SVM, "sets": {"scorer": "bilstm"}}, "'sets.scorer' is 'bilstm', which is none of svm"),
        ({"scorers": [SVM, SVM]}, "two of 'scorers' are called 'svm'"),
        (
            {"scorer": {"name": "svm", "options": {"a": 1}}, "scorers": [{"name": "bilstm"}, {"name": "svm"}]},
            "'scorer' and another of 'scorers' are called 'svm': tell them apart by 'called', or leave one out",
        ),
        ({"scorers": []}, "'scorer' is missing"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], told: str):
    with pytest.raises(UsageError, match=told):
        suite(**changes)


def test_two_of_one_name_are_told_apart_by_what_they_are_called():
    several = suite(scorers=[SVM, {"name": "classifier", "called": "a"}, {"name": "classifier", "called": "b"}])
    assert list(several.further) == ["a", "b"]


def test_the_headline_of_the_embedded_suites_did_not_label_their_sets():
    for name in ("mini", "smoke", "standard", "mini-paper", "tune"):
        assert name in names()
        found = load_suite(name)
        assert found.sets.source == "self"
        assert found.labelling.name != found.scorer.name
        assert found.labelling.key in found.further


# --- the record ---


def test_each_scorer_reports_the_same_texts(runs: list[Run]):
    for run in runs:
        assert run.result
        found = {metric.key: metric for metric in run.result.metrics if metric.role == "attribute"}
        keys = ("rtp/expected_maximum_toxicity", "rtp/toxicity_probability", "rtp/toxic_fraction")
        assert list(found) == [*keys, *(f"{key}@svm" for key in keys)]
        samples = run.samples("rtp")
        for scorer, threshold in ((None, 0.5), ("svm", 0.1)):
            scores = [sample.seen_by(scorer).scores for sample in samples]
            assert None not in scores
            toxic = sum(one["toxicity"] >= threshold for one in scores if one) / len(samples)
            assert found[f"rtp/toxic_fraction{'@svm' if scorer else ''}"].value == pytest.approx(toxic)
    pairs = [(sample.scores, sample.seen_by("svm").scores) for sample in runs[0].samples("rtp")]
    assert any(own != other for own, other in pairs)


def test_the_record_says_which_scorer_labelled_the_sets(runs: list[Run]):
    manifest = runs[1].manifest
    assert manifest.scorer["labels_sets"] is False
    assert manifest.further["svm"]["labels_sets"] is True
    assert manifest.further["svm"]["threshold"] == 0.1


def test_the_record_has_the_figures_against_peoples_labels_of_this_very_scorer(runs: list[Run]):
    known = runs[1].manifest.further["svm"]
    figures = {data: {key: asdict(one) for key, one in each.items()} for data, each in by_people("svm").items()}
    assert known["by_people"] == figures
    assert by_people("svm", "0" * 64) == by_people("unknown") == {}


def test_the_sets_are_those_of_the_labelling_scorer(runs: list[Run]):
    (path,) = (runs[0].path.parent.parent / "cache" / "sets").glob("*/sets.jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert {row["provenance"]["scorer"] for row in rows} == {"svm"}


def test_a_frame_names_each_metrics_scorer(runs: list[Run]):
    frame = load(runs)
    fractions = frame[frame.metric == "toxic_fraction"]
    assert set(fractions.scorer) == {runs[0].manifest.scorer["label"], "explicit toxicity (linear SVM)"}


def test_samples_of_the_version_before_have_one_scorer(runs: list[Run], tmp_path: Path):
    line = json.loads((runs[0].path / "samples" / "rtp.jsonl").read_text().splitlines()[0])
    del line["further"]
    (tmp_path / "rtp.jsonl").write_text(json.dumps({**line, "version": 2}) + "\n")
    (sample,) = read_samples(tmp_path / "rtp.jsonl")
    assert isinstance(sample, Sample)
    assert sample.further == {}
    assert sample.seen_by("svm").scores is None
    assert sample.scores == line["scores"]


def test_a_record_of_the_version_before_loads(runs: list[Run], tmp_path: Path):
    manifest = runs[0].manifest.model_dump()
    del manifest["further"]
    write_json(tmp_path / "manifest.json", {**manifest, "schema_version": 2})
    assert load_run(tmp_path).manifest.further == {}


# --- the reports ---


def test_a_table_has_both_and_says_how_far_they_agree(runs: list[Run]):
    table = build(runs)
    assert [line for line in caption_lines(table.caption) if line.startswith("further scorers: svm: explicit")]
    (note,) = [note for note in table.footnotes if note.startswith("svm and the headline scorer")]
    texts = sum(len(run.samples("rtp")) for run in runs)
    assert f"on {texts} texts" in note
    assert "of 1 conclusions on toxic_fraction change" in note
    assert not [note for note in table.footnotes if "also labelled" in note]
    shown = arrange(table, load_layout("summary"))
    assert "toxic fraction (svm)" in [head.label for head in shown.columns]


@pytest.mark.parametrize(
    ("own", "its", "changed"),
    [
        ((0.2, "training"), (-0.2, "training"), True),
        ((0.2, "training"), (0.2, None), True),
        ((0.2, None), (-0.2, None), False),
        ((0.2, "training"), (0.1, "training"), False),
    ],
)
def test_what_one_training_shows_is_a_conclusion(own: Any, its: Any, *, changed: bool):
    rows = []
    for scorer, (value, claim) in ((None, own), ("svm", its)):
        gap = Difference(value, value - 0.1, value + 0.1, 40, 0)
        cells = (TableCell(0.4), TableCell(0.4 + value, difference=gap, claim=claim))
        rows.append(MetricRow("rtp", None, "toxic_fraction", False, False, cells, "attribute", scorer=scorer))
    speaking = Metric(task="rtp", name="toxic_fraction", value=0.4, n=40, higher_is_better=False)
    found = changed_conclusions(speaking, "svm", [Column("none", []), Column("dpo", [])], rows)
    assert found == (["dpo"] if changed else [], 1)


def test_a_headline_that_labelled_the_sets_is_told_of(runs: list[Run], tmp_path: Path):
    changed = []
    for run in runs:
        scorer = {**run.manifest.scorer, "labels_sets": True}
        changed.append(Run(run.path, run.manifest.model_copy(update={"scorer": scorer}), run.result))
    (note,) = [note for note in build(changed).footnotes if "also labelled" in note]
    assert "contrastive (signed) learned from" in note
    assert "none" not in note


def test_the_page_and_the_gate_take_such_runs(runs: list[Run]):
    assert "toxic fraction (svm)" in build_page(runs).html
    baseline, _ = make_baseline(runs[1:], Plan(tolerances={}, force=True))
    further = [one for one in baseline.metrics if "@" in one.key]
    assert len(further) == 3
    assert {(one.tolerance, one.unjudged) for one in further} == {(None, "by a further scorer")}
