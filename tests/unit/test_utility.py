"""Utility in reports: signal by hand, the mean over tasks that have it, and the most that may be lost."""

from pathlib import Path

import numpy as np
import pytest
from synthetic import write_run

from bench import stats
from bench.errors import UsageError
from bench.stats import Systems
from bench.stats.noninferiority import loss_at_most
from bench.store.files import read_json, write_json
from bench.store.record import Evidence, Metric
from bench.store.runs import list_runs
from reports.compare.comparison import compare
from reports.gate import check, make_baseline, parse_requirement
from reports.gate.writing import Plan
from reports.table.accuracy import mean_of
from reports.table.build import build
from reports.table.layout import arrange, load_layout
from reports.table.signal import signal, signals
from reports.table.terminal import text_of
from reports.tradeoff.build import build as build_tradeoff
from reports.tune.build import check_budget


def observed(values: list[float]) -> Evidence:
    count = len(values)
    return Evidence(
        statistic="mean",
        bounded=True,
        cluster_ids=[f"q{n}" for n in range(count)],
        cluster=list(range(count)),
        value=values,
    )


def of(baselines: dict[str, float]) -> Metric:
    return Metric(
        task="quiz",
        name="acc",
        value=None,
        n=0,
        higher_is_better=True,
        role="utility",
        difference="absolute",
        primary=True,
        baselines=baselines,
    )


def shares(right: int, count: int) -> list[float]:
    return [float(n < right) for n in range(count)]


@pytest.mark.parametrize(
    ("right", "baselines", "is_there"),
    [
        # 400 answers, standard error about 0.025: one-sided 95 % begins 0.041 below the figure.
        (220, {"chance": 0.5}, True),  # 0.55 - 0.041 = 0.509
        (214, {"chance": 0.5}, False),  # 0.535 - 0.041 = 0.494
        (220, {"chance": 0.5, "longest": 0.53}, False),
        (300, {"chance": 0.5, "majority": 0.62}, True),
    ],
)
def test_signal_is_against_the_largest_of_the_baselines(right, baselines, is_there):
    found = signal(of(baselines), [observed(shares(right, 400))])
    assert found.is_there is is_there
    assert found.value == pytest.approx(right / 400)
    error = np.sqrt(found.value * (1 - found.value) / 399)
    assert found.low == pytest.approx(found.value - 1.645 * error, abs=0.004)


def test_without_baselines_nothing_is_said():
    assert signal(of({}), [observed(shares(3, 9))]) is None
    assert signal(of({"chance": 0.5}), []) is None


def test_the_most_lost_is_one_end_of_the_interval_of_twice_the_tail():
    rng = np.random.default_rng(0)
    base = rng.uniform(0.3, 0.9, 200)
    edited = base - 0.02 + 0.1 * rng.normal(size=200)
    sides = [[observed(edited.tolist())], [observed(base.tolist())]]
    found = loss_at_most(Systems(sides), 0, 1, higher_is_better=True)
    loss = float((base - edited).mean())
    error = float((base - edited).std(ddof=1)) / np.sqrt(200)
    assert found == pytest.approx(loss + 1.645 * error, abs=0.002)
    assert found == -stats.difference(*sides, level=0.9).low
    gained = loss_at_most(Systems(sides), 1, 0, higher_is_better=True)
    assert gained == pytest.approx(-loss + 1.645 * error, abs=0.002)
    # Of a metric that is better low, what rises is lost.
    assert loss_at_most(Systems(sides), 1, 0, higher_is_better=False) == pytest.approx(found)


def with_baselines(folder: Path, key: str, baselines: dict[str, float]) -> Path:
    """A record with these baselines of a metric."""
    for path in (folder / "result.json", *sorted((folder / "tasks").glob("*.json"))):
        record = read_json(path)
        for one in record["metrics"]:
            if f"{one['task']}/{one['name']}" == key:
                one["baselines"] = baselines
        write_json(path, record)
    return folder


@pytest.fixture
def at_chance(tmp_path: Path) -> Path:
    """A base and a method whose accuracy answers without a model have too."""
    for name in ("none", "contrastive"):
        folder = write_run(tmp_path, name, accuracy=0.5 if name == "none" else 0.3, whole=True)
        with_baselines(folder, "embedded_piqa/acc", {"chance": 0.5, "longest": 0.55})
    return tmp_path


@pytest.fixture
def above_chance(tmp_path: Path) -> Path:
    """The same, of a base that is far above them."""
    for name in ("none", "contrastive"):
        folder = write_run(tmp_path, name, accuracy=0.9 if name == "none" else 0.7, whole=True)
        with_baselines(folder, "embedded_piqa/acc", {"chance": 0.3})
    return tmp_path


def test_no_limit_is_held_against_a_base_without_signal(at_chance):
    runs = list_runs(at_chance)
    base = next(run for run in runs if run.method == "none")
    against, number = (parse_requirement(f"embedded_piqa/acc >= {limit}") for limit in ("base - 0.9", "0.01"))
    held = check(runs, None, [against, number], by_name=True).requirements
    assert [one.status for one in held] == ["invalid", "passed"]
    assert held[0].why == "no signal: the base is not above what answers without a model have"
    assert check_budget(base, [number])
    with pytest.raises(UsageError, match=r"cannot be held \(no signal: .*; give a figure in place of the base"):
        check_budget(base, [number, against])


def test_a_task_without_signal_is_shown_and_is_in_no_mean(at_chance):
    runs = list_runs(at_chance)
    assert not signals(runs)["embedded_piqa/acc"].is_there
    mean = mean_of(runs)
    assert (mean.keys, mean.left_out) == ((), ("embedded_piqa/acc",))
    table = build(runs, wanted=lambda _: True)
    assert "lm_eval/mean_accuracy" not in {row.key for row in table.rows}
    row = next(row for row in table.rows if row.key == "embedded_piqa/acc")
    assert row.has_signal is False
    assert [cell.standing for cell in row.cells] == [None, None]
    assert not any(cell.is_significant or cell.verdict or cell.loss_at_most is not None for cell in row.cells)
    assert row.cells[1].value < row.cells[0].value
    sheet = arrange(table, load_layout("full"))
    assert [head.label for head, _ in sheet.rows if "signal" in head.label] == ["embedded piqa acc (no signal)"]
    text = " ".join(text_of(sheet).split())
    assert "embedded_piqa: answers without a model, on the same questions: chance 0.500, longest 0.550." in text
    assert "embedded_piqa/acc: no signal, in no mean: the base's 0.375 (one-sided 95 %: from 0." in text
    assert "Mean accuracy: there is none; without signal, and so not in it: embedded_piqa/acc." in text


def test_a_task_with_signal_says_what_may_be_lost(above_chance):
    runs = list_runs(above_chance)
    table = build(runs, wanted=lambda _: True)
    row = next(row for row in table.rows if row.key == "embedded_piqa/acc")
    assert row.has_signal is True
    lost = row.cells[1].loss_at_most
    assert -row.cells[1].difference.value < lost < -row.cells[1].difference.low
    assert row.cells[0].loss_at_most is None
    assert next(row for row in table.rows if row.key == "heldout/perplexity").cells[1].loss_at_most is None
    text = text_of(arrange(table, load_layout("full")))
    assert f"loses ≤ {100 * lost:.1f} pt" in text
    assert "a larger loss to the base is excluded at 95 %" in " ".join(text.split())
    assert f"loses ≤ {100 * lost:.1f} pt" in text_of(arrange(table, load_layout("summary")))


def test_no_budget_front_or_hypervolume_rests_on_chance(at_chance):
    found = build_tradeoff(list_runs(at_chance), {"contrastive": None})
    (curve,) = found.curves
    assert found.without_signal == ("embedded_piqa/acc",)
    assert (curve.best["accuracy"], curve.best["both"], curve.hypervolume["accuracy"]) == (None, None, None)
    assert "accuracy" not in curve.points[0].fronts


def test_nothing_is_said_to_be_kept_where_measurements_of_the_base_failed(above_chance):
    folder = above_chance / "mini-none-s0"
    for path in (folder / "result.json", *(folder / "tasks").glob("*.json")):
        record = read_json(path)
        for one in record["metrics"]:
            one["n_failed"] = 4 if one["name"] == "acc" else 0
        if "publishable" in record:
            record["publishable"] = False
        write_json(path, record)
    runs = list_runs(above_chance)
    table = build(runs)
    row = next(row for row in table.rows if row.key == "embedded_piqa/acc")
    assert [cell.loss_at_most for cell in row.cells] == [None, None]
    found = build_tradeoff(runs, {"contrastive": None})
    assert [point.costs["accuracy"].value for point in found.curves[0].points] == [None]


def test_a_sweep_says_what_may_be_lost(above_chance):
    found = build_tradeoff(list_runs(above_chance), {"contrastive": None})
    point = found.curves[0].points[0]
    assert found.utility == "mean_accuracy"
    assert point.costs["accuracy"].value < point.costs["accuracy"].at_most < point.costs["accuracy"].high
    assert found.base.costs["accuracy"].at_most is None


def test_the_gate_judges_what_is_above_chance(above_chance):
    baseline, _ = make_baseline([run for run in list_runs(above_chance) if run.method == "contrastive"], Plan({}))
    (metric,) = (one for one in baseline.metrics if one.key == "embedded_piqa/acc")
    assert metric.unjudged is None


def test_the_gate_says_why(at_chance):
    baseline, _ = make_baseline([run for run in list_runs(at_chance) if run.method == "contrastive"], Plan({}))
    (metric,) = (one for one in baseline.metrics if one.key == "embedded_piqa/acc")
    assert metric.unjudged == "no signal: not above what answers without a model have"


def test_a_comparison_says_what_may_be_lost_or_that_there_is_no_signal(above_chance):
    base, edited = sorted(list_runs(above_chance), key=lambda run: run.method != "none")
    change = next(one for one in compare([base], [edited]).changes if one.key == "embedded_piqa/acc")
    assert change.has_signal is True
    assert -change.difference.value < change.loss_at_most < -change.difference.low


@pytest.mark.parametrize(
    ("names", "mean"),
    [
        ({"a": "gold_probability"}, "mean_gold_probability"),
        ({"a": "acc", "b": "acc_norm", "c": "exact_match"}, "mean_accuracy"),
        ({"a": "acc", "b": "gold_probability_norm"}, "mean_utility"),
    ],
)
def test_the_mean_is_called_by_what_it_is_over(tmp_path, names, mean):
    folder = write_run(tmp_path, "none")
    path = folder / "result.json"
    record = read_json(path)
    record["metrics"] += [
        of({}).model_copy(update={"task": task, "name": name}).model_dump() for task, name in names.items()
    ]
    record["metrics"] = [one for one in record["metrics"] if one["task"] != "embedded_piqa"]
    write_json(path, record)
    assert mean_of(list_runs(tmp_path)).metric.name == mean


def with_task(folder: Path, name: str, evidence: Evidence, **facts) -> None:
    """A primary metric of utility more in a record, of a task of its own."""
    own = of({}).model_copy(update={"task": name, "value": stats.value(evidence), "n": len(evidence.value), **facts})
    record = {"metrics": [own.model_dump()], "evidence": {own.key: evidence.model_dump()}}
    write_json(folder / "tasks" / f"{name}.json", record)
    result = read_json(folder / "result.json")
    write_json(folder / "result.json", {**result, "metrics": [*result["metrics"], own.model_dump()]})


@pytest.mark.parametrize("below", [{"higher_is_better": False}, {"difference": "ratio"}, {"higher_is_better": None}])
def test_what_is_no_share_of_which_more_is_better_is_in_no_mean_and_named(above_chance, below):
    for folder in above_chance.iterdir():
        with_task(folder, "quiz", observed([0.5, 1.0, 0.25]), **below)
        with_task(folder, "loss", observed([1.5, 2.5]).model_copy(update={"statistic": "exp_mean", "bounded": False}))
    mean = mean_of(list_runs(above_chance))
    assert (mean.keys, mean.unlike) == (("embedded_piqa/acc",), ("quiz/acc", "loss/acc"))
    notes = build(list_runs(above_chance), wanted=lambda _: True).footnotes
    told = "over embedded_piqa/acc; no share of which more is better, and so not in it: quiz/acc, loss/acc."
    assert f"Mean accuracy: {told}" in notes


def test_a_task_without_any_observation_leaves_no_mean(above_chance):
    for folder in above_chance.iterdir():
        with_task(folder, "quiz", observed([]), value=None)
    row = next(row for row in build(list_runs(above_chance)).rows if row.key == "lm_eval/mean_accuracy")
    assert [cell.value for cell in row.cells] == [None, None]


def test_texts_that_another_programme_made_take_the_mean_from_no_other_system(above_chance):
    def mean_in(table):
        row = next(row for row in table.rows if row.key == "lm_eval/mean_accuracy")
        return [(cell.value, cell.low, cell.high, cell.loss_at_most) for cell in row.cells]

    alone = mean_in(build(list_runs(above_chance), wanted=lambda _: True))
    folder = write_run(above_chance, "theirs", whole=True, method__elsewhere=True, model={})
    for path in folder.glob("tasks/*.json"):
        if path.stem != "rtp":
            path.unlink()
    result = read_json(folder / "result.json")
    result["metrics"] = [one for one in result["metrics"] if one["task"] == "rtp"]
    write_json(folder / "result.json", result)
    table = build(list_runs(above_chance), wanted=lambda _: True)
    assert [system.method for system in table.systems] == ["none", "contrastive", "theirs"]
    assert mean_in(table) == [*alone, (None, None, None, None)]
    assert "Mean accuracy: over embedded_piqa/acc." in table.footnotes
