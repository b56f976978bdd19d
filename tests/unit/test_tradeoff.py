"""From records to a trade-off: fronts and hypervolumes by brute force, best points within budgets, how it reads."""

import io
import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import stats
from bench.errors import MissingError
from bench.stats.hypervolume import hypervolume
from bench.store.files import write_json
from bench.store.record import Evidence, Manifest, Metric, Result, TaskResult
from bench.store.runs import Run, load_run
from reports.tradeoff.build import BUDGET, REFERENCE, Tradeoff, build, front, to_json
from reports.tradeoff.terminal import print_tradeoff

MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"
PROMPTS, QUESTIONS, PASSAGES = 20, 100, 12
COORDINATES = st.lists(st.tuples(*[st.integers(-2, 8).map(lambda n: n / 6)] * 2), max_size=8)

# --- geometry ---


def covered(points: list[tuple[float, float]]) -> float:
    """The area of the unit square that is dominated, cell by cell of the grid of all coordinates."""
    inside = [(max(x, 0.0), max(y, 0.0)) for x, y in points]
    xs, ys = (sorted({0.0, 1.0, *(point[axis] for point in inside if point[axis] < 1)}) for axis in (0, 1))
    return sum(
        (right - left) * (top - bottom)
        for left, right in pairwise(xs)
        for bottom, top in pairwise(ys)
        if any(x <= left and y <= bottom for x, y in inside)
    )


@given(COORDINATES)
def test_the_hypervolume_is_the_area_that_is_dominated(points):
    assert hypervolume(points) == pytest.approx(covered(points), abs=1e-12)


def test_the_hypervolume_of_known_shapes():
    assert hypervolume([]) == 0
    assert hypervolume([(0, 0)]) == hypervolume([(-3, -1), (0.5, 0.5)]) == 1
    assert hypervolume([(1, 0), (0, 1), (2, -1)]) == 0
    assert hypervolume([(0.5, 0.25)]) == pytest.approx(0.375)
    assert hypervolume([(0.5, 0.25), (0.25, 0.5)]) == pytest.approx(0.375 + 0.125)
    assert hypervolume([(0.5, 0.25), (0.6, 0.25), (0.5, 0.3), (0.5, 0.25)]) == pytest.approx(0.375)


def test_the_hypervolume_is_what_a_random_throw_hits():
    points = np.random.default_rng(0).uniform(0, 1.2, (6, 2))
    throws = np.random.default_rng(1).uniform(size=(200_000, 2))
    hit = (points[None] <= throws[:, None]).all(-1).any(-1).mean()
    assert hypervolume([(float(x), float(y)) for x, y in points]) == pytest.approx(hit, abs=0.005)


@given(COORDINATES)
def test_the_front_is_what_nothing_beats(points):
    found = front(points)
    for one, on_front in zip(points, found, strict=True):
        beaten = any(
            all(a <= b for a, b in zip(other, one, strict=True)) and any(a < b for a, b in zip(other, one, strict=True))
            for other in points
        )
        assert on_front == (not beaten)
    assert any(found) or not points
    kept = [point for point, on_front in zip(points, found, strict=True) if on_front]
    assert hypervolume(kept) == pytest.approx(hypervolume(points), abs=1e-12)


# --- records ---


def evidence(values: list[float], statistic: str = "mean", *, bounded: bool = True) -> Evidence:
    count = len(values)
    return Evidence(
        statistic=statistic,
        bounded=bounded,
        cluster_ids=[f"c{n}" for n in range(count)],
        cluster=list(range(count)),
        value=values,
    )


def shares(count: int, share: float) -> list[float]:
    """So many observations, of which this share is 1."""
    return [float(n < round(share * count)) for n in range(count)]


def write_run(root: Path, method: str, *, tasks: dict[str, float] | None = None, **more: Any) -> Run:
    """A record with given toxicity, held-out perplexity and accuracies; an option of the configuration is `scale`."""
    toxic, perplexity, seed = more.get("toxic", 0.4), more.get("perplexity", 20.0), more.get("seed", 0)
    config = {} if method == "none" else {"lr": 0.1, "scale": 1.0, **more.get("config", {})}
    jitter = np.random.default_rng(0).normal(0, 0.2, PASSAGES)
    nll = (np.log(perplexity) + jitter - jitter.mean()).tolist()
    found = [
        ("rtp", None, "expected_maximum_toxicity", evidence(shares(PROMPTS, toxic)), False),
        ("rtp", None, "toxic_fraction", evidence(shares(PROMPTS, toxic)), False),
        ("rtp", "toxic", "toxic_fraction", evidence(shares(PROMPTS, 1.0)), False),
        ("heldout", None, "perplexity", evidence(nll, "exp_mean", bounded=False), False),
    ]
    for task, accuracy in (tasks if tasks is not None else {"piqa": 0.6, "boolq": 0.5}).items():
        found.append((task, None, "acc", evidence(shares(QUESTIONS, accuracy)), True))
        found.append((task, None, "acc_norm", evidence(shares(QUESTIONS, 0.9)), True))
    metrics = [
        Metric(
            task=task,
            group=group,
            name=name,
            value=stats.value(one),
            n=len(one.value),
            n_failed=more.get("n_failed", 0) if task == "rtp" else 0,
            ci_low=0.0,
            ci_high=1.0 if one.bounded else 2 * stats.value(one),
            higher_is_better=higher,
        )
        for task, group, name, one, higher in found
    ]
    name = f"mini-{method}-{'-'.join(map(str, config.values()))}-s{seed}"
    manifest = Manifest(
        run_id=name,
        key=name,
        status="done",
        created=f"2026-01-01T10:00:{len(list(root.iterdir())):02d}+00:00",
        suite={"name": "mini"},
        suite_hash="5",
        method={
            "name": method,
            "label": method,
            "config": config,
            "variant": more.get("variant"),
            "sets_key": more.get("sets"),
        },
        seed=seed,
        model={"id": "m", "sha256": "a"},
        data=[],
        scorer={"name": "svm", "label": "svm", "hash": "c", "threshold": 0.5},
        decoding={"num_samples": 5, "max_new_tokens": 20, "top_p": 0.9},
        engine={"dtype": "float32"},
        code={},
        packages={},
        hardware={},
    )
    folder = root / name
    write_json(folder / "manifest.json", manifest.model_dump())
    result = Result(
        run_id=name, key=name, metrics=metrics, phases=[], artifact={}, publishable=not more.get("n_failed", 0)
    )
    write_json(folder / "result.json", result.model_dump())
    behind = {metric.key: one[3] for metric, one in zip(metrics, found, strict=True)}
    write_json(folder / "tasks" / "all.json", TaskResult(metrics=metrics, evidence=behind).model_dump())
    return load_run(folder)


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    """A base, a method at four strengths, one at two, and one without a strength."""
    (tmp_path / "runs").mkdir()
    points = [
        ("none", {}),
        ("gentle", {"config": {"scale": 2.0}, "toxic": 0.15, "perplexity": 21.8}),
        ("gentle", {"config": {"scale": 0.5}, "toxic": 0.3, "perplexity": 20.2}),
        ("gentle", {"config": {"scale": 1.0}, "toxic": 0.2, "perplexity": 20.8, "tasks": {"piqa": 0.58, "boolq": 0.5}}),
        ("gentle", {"config": {"scale": 4.0}, "toxic": 0.1, "perplexity": 40.0, "tasks": {"piqa": 0.3, "boolq": 0.3}}),
        ("harsh", {"config": {"scale": 1.0}, "toxic": 0.2, "perplexity": 22.0, "tasks": {"piqa": 0.59, "boolq": 0.5}}),
        ("harsh", {"config": {"scale": 0.5}, "toxic": 0.35, "perplexity": 21.5}),
        ("fixed", {"toxic": 0.0, "perplexity": 30.0, "tasks": {"piqa": 0.62, "boolq": 0.5}}),
    ]
    return [write_run(tmp_path / "runs", method, **more) for method, more in points]


OVER = {"fixed": None, "gentle": "scale", "harsh": "scale"}


@pytest.fixture
def found(runs: list[Run]) -> Tradeoff:
    return build(runs, OVER)


def test_points_are_in_order_and_compared_with_the_base(found):
    assert [curve.label for curve in found.curves] == ["fixed", "gentle", "harsh"]
    fixed, gentle, harsh = found.curves
    assert [point.setting for point in gentle.points] == [0.5, 1.0, 2.0, 4.0]
    assert [point.setting for point in harsh.points] == [0.5, 1.0]
    assert (fixed.over, len(fixed.points), fixed.points[0].setting) == (None, 1, None)
    assert found.base.attribute.value == pytest.approx(0.4)
    assert found.base.costs["perplexity"].value == found.base.costs["accuracy"].value == 0
    one = gentle.points[1]
    assert one.attribute.value == pytest.approx(0.2)
    assert one.costs["perplexity"].value == pytest.approx(0.04)
    assert one.costs["accuracy"].value == pytest.approx(0.01)  # 2 points of one task of two
    assert one.accuracy.value == pytest.approx(0.54)
    assert one.costs["accuracy"].low < 0.01 < one.costs["accuracy"].high
    assert one.costs["perplexity"].low <= 0.04 + 1e-9
    assert found.accuracies == ("piqa/acc", "boolq/acc")
    assert fixed.points[0].costs["accuracy"].value == pytest.approx(-0.01)  # better than the base


def test_best_points_keep_within_their_budgets(found):
    fixed, gentle, harsh = found.curves
    assert gentle.best == {"perplexity": 1, "accuracy": 2, "both": 1}
    assert harsh.best == {"perplexity": None, "accuracy": 1, "both": None}
    assert fixed.best == {"perplexity": None, "accuracy": 0, "both": None}
    assert dict(BUDGET) == {"perplexity": 0.05, "accuracy": 0.01}


def test_fronts_are_over_all_methods_and_the_base(found):
    fixed, gentle, harsh = found.curves
    assert found.base.fronts == ("perplexity",)  # with accuracy, `fixed` beats it in both
    assert [point.fronts for point in gentle.points] == [("perplexity",), ("perplexity",), ("perplexity",), ()]
    assert [point.fronts for point in harsh.points] == [(), ()]
    assert fixed.points[0].fronts == ("perplexity", "accuracy")


def test_hypervolumes_are_those_of_the_scaled_points(found):
    fixed, gentle, _ = found.curves
    assert dict(REFERENCE) == {"perplexity": pytest.approx(0.25), "accuracy": pytest.approx(0.05)}
    scaled = [(0.75, 0.04), (0.5, 0.16), (0.375, 0.36), (0.25, 4.0)]
    assert gentle.hypervolume["perplexity"].apparent == pytest.approx(covered(scaled))
    assert gentle.hypervolume["accuracy"].apparent == pytest.approx(covered([(0.75, 0), (0.5, 0.2), (0.375, 0)]))
    assert {plane: volume.apparent for plane, volume in fixed.hypervolume.items()} == {"perplexity": 0, "accuracy": 1}


@pytest.mark.parametrize("toxic", [0.05, 0.2])
def test_a_base_of_few_events_leaves_a_hypervolume_apparent(toxic, tmp_path):
    """Of 20 prompts with one toxic text, the next one may as well have two or none: no share of that says much."""
    (tmp_path / "runs").mkdir()
    some = [("none", toxic), ("gentle", 0.0), ("harsh", toxic)]
    found = build([write_run(tmp_path / "runs", method, toxic=share) for method, share in some], OVER)
    for curve, apparent in zip(found.curves, (1, 0), strict=True):
        one = curve.hypervolume["perplexity"]
        assert (one.apparent, one.value, one.low, one.high) == (apparent, None, None, None)
    file = io.StringIO()
    print_tradeoff(found, file)
    assert re.search(r"gentle +1(\.0+)? apparent", file.getvalue())
    assert "the base's error is a third of its figure" in file.getvalue()


def test_a_hypervolume_that_no_half_chose_has_no_certain_interval(found):
    fixed = found.curves[0].hypervolume["perplexity"]  # half as much perplexity again, on every half
    assert (fixed.value, fixed.low, fixed.high) == (0, None, None)
    file = io.StringIO()
    print_tradeoff(found, file)
    assert "HV without an interval" in file.getvalue()
    assert "0 [0, 0]" not in file.getvalue()


def test_a_failed_measurement_is_never_good(runs, tmp_path):
    bad = write_run(tmp_path / "runs", "harsh", config={"scale": 3.0}, toxic=0.0, n_failed=1)
    found = build([*runs, bad], OVER)
    harsh = found.curves[2]
    assert harsh.points[2].setting == 3.0
    assert not harsh.points[2].counts
    assert harsh.points[2].fronts == ()
    assert 2 not in harsh.best.values()
    assert harsh.hypervolume == build(runs, OVER).curves[2].hypervolume
    assert any("failed" in note for note in found.footnotes)


def test_without_tasks_there_is_no_accuracy(tmp_path):
    (tmp_path / "runs").mkdir()
    some = [
        write_run(tmp_path / "runs", method, tasks={}, toxic=toxic)
        for method, toxic in (("none", 0.4), ("gentle", 0.2))
    ]
    found = build(some, OVER)
    point = found.curves[0].points[0]
    assert found.accuracies == ()
    assert point.costs["accuracy"].value is None
    assert point.fronts == ("perplexity",)
    assert found.curves[0].best == {"perplexity": 0, "accuracy": None, "both": None}
    assert found.curves[0].hypervolume["perplexity"].apparent == 0.5
    assert found.curves[0].hypervolume["accuracy"] is None


def test_a_base_without_toxicity_leaves_nothing_to_gain(tmp_path):
    (tmp_path / "runs").mkdir()
    some = [write_run(tmp_path / "runs", method, toxic=0.0) for method in ("none", "gentle")]
    assert build(some, OVER).curves[0].hypervolume == {"perplexity": None, "accuracy": None}


def test_seeds_are_averaged(tmp_path):
    (tmp_path / "runs").mkdir()
    some = [
        write_run(tmp_path / "runs", method, seed=seed, toxic=toxic)
        for method, seed, toxic in (("none", 0, 0.4), ("none", 1, 0.5), ("gentle", 0, 0.1), ("gentle", 1, 0.2))
    ]
    found = build(some, OVER)
    (point,) = found.curves[0].points
    assert point.seeds == (0, 1)
    assert point.attribute.value == pytest.approx(0.15)
    assert found.base.attribute.value == pytest.approx(0.45)


@pytest.mark.parametrize(
    ("scales", "order"),
    [((2.0, 0.5), [0.5, 2.0]), ((-2.0, -0.5, -1.0), [-0.5, -1.0, -2.0]), ((1.0, -1.0), [-1.0, 1.0])],
)
def test_points_lead_away_from_the_base(scales, order, tmp_path):
    (tmp_path / "runs").mkdir()
    base = write_run(tmp_path / "runs", "none")
    points = [write_run(tmp_path / "runs", "gentle", config={"scale": scale}) for scale in scales]
    (curve,) = build([base, *points], OVER).curves
    assert [point.setting for point in curve.points] == order


def test_variants_and_sets_are_curves_of_their_own(runs, tmp_path):
    more = [
        write_run(tmp_path / "runs", "harsh", config={"lr": 0.2, "scale": scale}, toxic=0.3) for scale in (1.0, 2.0)
    ]
    labels = [curve.label for curve in build([*runs, *more], OVER).curves]
    assert labels == ["fixed", "gentle", "harsh (lr=0.1)", "harsh (lr=0.2)"]


def test_a_curve_says_the_form_of_its_method(runs, tmp_path):
    more = [
        write_run(tmp_path / "runs", "soft", config={"form": form, "scale": scale}, variant={"form": form})
        for form in ("round", "square")
        for scale in (1.0, 2.0)
    ]
    labels = [curve.label for curve in build([*runs, *more], {**OVER, "soft": "scale"}).curves]
    assert labels == ["fixed", "gentle", "harsh", "soft (round)", "soft (square)"]


def test_what_cannot_be_compared_is_refused(runs, tmp_path):
    with pytest.raises(MissingError, match="no run of the base"):
        build(runs[1:], OVER)
    with pytest.raises(MissingError, match="have not measured toxicity"):
        build([], OVER)


def test_it_is_json(found):
    value = json.loads(json.dumps(to_json(found), allow_nan=False))
    assert value["budget"] == {"perplexity": 0.05, "accuracy": 0.01}
    assert value["curves"][1]["points"][1]["costs"]["perplexity"]["value"] == pytest.approx(0.04)
    assert value["curves"][0]["best"]["perplexity"] is None


def test_it_reads_well_at_80_columns(found):
    file = io.StringIO()
    print_tradeoff(found, file)
    text = file.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert any(line.startswith("scale 1 P 0.200 [") and "+4.0 [" in line and f"{MINUS}1.0 [" in line for line in lines)
    assert all(line.count("[") == line.count("]") for line in lines if line.startswith(("none", "scale 1", "scale 2")))
    assert any(line.startswith("hypervolume HV P HV A") for line in lines)
    volumes = [found.curves[1].hypervolume[plane] for plane in ("perplexity", "accuracy")]
    told = " ".join(f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}]" for one in volumes)
    assert f"gentle {told}" in lines
    assert any(line.startswith("gentle 0.200 at 1 0.150 at 2 0.200 at 1") for line in lines)
    assert any(line.startswith("one point PA 0 [") for line in lines)
    assert any(line.startswith(f"harsh {DASH} 0.200 at 1 {DASH}") for line in lines)
    assert "by point estimates" in text
    assert "mean over piqa, boolq" in text
