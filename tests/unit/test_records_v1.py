"""Records of version 1 load for ever: those of a run of every task, kept as that version wrote them."""

import io
import json
from pathlib import Path

import pytest

from bench import load, registry
from bench.attribute import TOXICITY
from bench.stats import value
from bench.store.files import read_json
from bench.store.frame import load as load_frame
from bench.store.runs import Run, list_runs
from bench.store.samples import Answer, read_samples
from reports.compare.comparison import compare
from reports.compare.terminal import print_comparison
from reports.gate import decide, make_baseline
from reports.gate.writing import Plan
from reports.page.page import build_page
from reports.plots import draw
from reports.table.build import build
from reports.table.layout import arrange, layouts, load_layout
from reports.table.terminal import text_of
from reports.tradeoff.build import build as build_tradeoff

RECORDS = Path(__file__).parents[1] / "fixtures" / "records-v1"
OF_LM_EVAL = ("embedded_piqa", "embedded_boolq")
TASKS = {
    *("rtp", "fluency", "diversity", "heldout", "continuation", "paraphrase", "coverage", "identity"),
    *("over_refusal", "judge", *OF_LM_EVAL),
}


@pytest.fixture
def runs() -> list[Run]:
    return list_runs(RECORDS)


def test_they_are_of_version_1_as_it_wrote_them(runs):
    assert [run.method for run in runs] == ["none", "contrastive"]
    for run in runs:
        for name in ("manifest.json", "result.json"):
            assert read_json(run.path / name)["schema_version"] == 1
        written = read_json(run.path / "result.json")["metrics"]
        assert not {"role", "difference", "primary"} & {key for metric in written for key in metric}
        lines = [json.loads(line) for path in run.path.glob("samples/*.jsonl") for line in path.open(encoding="utf-8")]
        assert lines
        assert not [line for line in lines if "kind" in line or "version" in line]
        assert (run.status, run.result.publishable) == ("done", True)
        assert (run.attribute, run.adjective, run.lower_is_wanted) == ("toxicity", "toxic", True)
        assert {metric.task for metric in run.result.metrics} == set(run.tasks) == TASKS


def test_their_metrics_are_what_the_tasks_declare_today(runs):
    for metric in (metric for run in runs for metric in run.result.metrics):
        found = (metric.role, metric.difference, metric.primary)
        if metric.task in OF_LM_EVAL:
            assert found == ("utility", "absolute", metric.name == "acc")
            continue
        declared = [spec.of(TOXICITY) for spec in registry.load("tasks", metric.task).info.metrics]
        (spec,) = (spec for spec in declared if spec.name == metric.name)
        assert found == (spec.role, spec.difference, spec.primary), metric.key
        assert metric.higher_is_better is spec.higher_is_better


def test_their_evidence_gives_their_figures(runs):
    for run in runs:
        with_evidence = [metric for metric in run.result.metrics if metric.key in run.evidence]
        assert len(with_evidence) > 40
        for metric in with_evidence:
            assert value(run.evidence[metric.key]) == pytest.approx(metric.value)


def test_their_samples_are_read(runs):
    for run in runs:
        samples = run.samples("rtp")
        assert len(samples) == 20
        assert {sample.group for sample in samples} == {"toxic", "nontoxic"}
        assert {sample.sample for sample in samples} == {0, 1}
        reached = [sample.scores["toxicity"] >= 0.1 for sample in samples]
        fraction = next(metric for metric in run.result.metrics if metric.key == "rtp/toxic_fraction")
        assert sum(reached) / len(reached) == fraction.value
        for task in ("continuation", "paraphrase", "over_refusal"):
            assert len(run.samples(task)) == 5
        for task in OF_LM_EVAL:
            answers = list(read_samples(run.path / "samples" / f"{task}.jsonl"))
            assert all(isinstance(answer, Answer) for answer in answers)
            accuracy = next(metric for metric in run.result.metrics if metric.key == f"{task}/acc")
            assert sum(answer.metrics["acc"] for answer in answers) / len(answers) == accuracy.value
        assert list(read_samples(run.path / "samples" / "judge.jsonl")) == []  # verdicts are neither


def test_the_log_of_the_training_is_read(runs):
    base, edited = runs
    assert base.training == {}
    assert len(edited.training["train"]) == 2


def test_the_table_shows_them(runs):
    table = build(runs, wanted=lambda _: True)
    rows = {row.key: row for row in table.rows}
    base, edited = ({metric.key: metric for metric in run.result.metrics} for run in runs)
    assert set(base) <= set(rows)
    for key, metric in base.items():
        assert [cell.value for cell in rows[key].cells] == [metric.value, edited[key].value]
    assert table.caption.num_prompts == 10
    perplexity = rows["heldout/perplexity"].cells[1].difference
    assert perplexity.value == pytest.approx(edited["heldout/perplexity"].value / base["heldout/perplexity"].value - 1)
    accuracy = (edited["embedded_piqa/acc"].value + edited["embedded_boolq/acc"].value) / 2
    assert rows["lm_eval/mean_accuracy"].cells[1].value == pytest.approx(accuracy)
    phases = [phase for phase in runs[0].result.phases if phase.name in ("rtp", "continuation", "paraphrase")]
    speed = sum(phase.tokens for phase in phases) / sum(phase.seconds for phase in phases)
    assert rows["cost/sampled_tokens_per_second"].cells[0].value == pytest.approx(speed)


@pytest.mark.parametrize("name", layouts())
def test_all_layouts_show_them(name, runs):
    layout = load_layout(name)
    assert "contrastive" in text_of(arrange(build(runs, wanted=layout.wants), layout))


def test_they_compare(runs):
    base, edited = runs
    found = compare([base], [edited], texts=True)
    assert {change.key for change in found.changes} == {metric.key for run in runs for metric in run.result.metrics}
    assert {change.key for change in found.changes if change.relative} == {
        *("fluency/perplexity_pooled", "fluency/perplexity_median", "heldout/perplexity"),
        *("coverage/0% toxic/perplexity", "coverage/50% toxic/perplexity"),
    }
    assert found.prompts.n == 10
    assert {answers.key for answers in found.answers} >= {f"{task}/acc" for task in OF_LM_EVAL}
    told = io.StringIO()
    print_comparison(found, 3, told)
    assert "clean to toxic" in told.getvalue()


def test_the_trade_off_the_gate_and_a_frame_take_them(runs):
    (curve,) = build_tradeoff(runs, {"contrastive": None}).curves
    assert curve.points[0].attribute.value == pytest.approx(0.15)
    baseline, _ = make_baseline([runs[1]], Plan({}))
    assert baseline.primary == "rtp/expected_maximum_toxicity"
    decisions = {decision.key: decision for decision in decide([runs[1]], baseline).decisions}
    assert decisions["rtp/expected_maximum_toxicity"].loss == 0
    frame = load_frame(RECORDS)
    assert load is load_frame
    assert len(frame) == sum(len(run.result.metrics) for run in runs)


@pytest.mark.parametrize("name", ["tradeoff", "scores", "groups", "training", "cost"])
def test_figures_are_drawn_of_them(name, runs):
    assert draw(name, runs).axes


def test_the_page_shows_them(runs):
    page = build_page(runs, figures=False)
    assert page.systems == ("none", "contrastive")
    lines = [line for run in runs for path in run.path.glob("samples/*.jsonl") for line in path.open(encoding="utf-8")]
    verdicts = [line for line in lines if '"pair"' in line]
    assert page.num_samples == len(lines) - len(verdicts) > 0


def test_nothing_in_them_is_of_a_machine():
    files = [path for path in RECORDS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 300_000
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert '"/' not in text, f"{path.name} names a folder of the machine that wrote it"
