"""A method measured along one training: every point is what it is alone, and none is trained twice."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.assets.catalogue import AssetCatalogue
from bench.errors import MissingError, UsageError
from bench.hashing import hash_file
from bench.progress import SILENT, Progress
from bench.run.environment import Environment
from bench.run.launch.local import ExperimentOutcome, run_experiments
from bench.run.plan import Request, make_experiments
from bench.run.preparation import share_trainings
from bench.run.runner import Runner
from bench.run.sweep import Sweep, make_along
from bench.store.lock import HeldError, alone
from bench.store.runs import Run, load_run
from methods.contrastive import ContrastivePerplexity
from reports.plots.sweep import options_of
from reports.table.build import build as build_table
from reports.table.layout import arrange, load_layout
from reports.tradeoff.build import build

STEPS = 4
ADAPTER = ("adapter_config.json", "adapter_model.safetensors", "training.json")
Go = Callable[..., list[ExperimentOutcome]]


class Steps:
    """A progress that counts trainings and their steps, and may stop at one as Ctrl-C does."""

    def __init__(self, stop: int = 0) -> None:
        self.stop, self.trainings, self.steps, self.notes = stop, 0, 0, list[str]()
        self._trains = False

    @contextmanager
    def bar(self, label: str, total: float | None = None, unit: str = "") -> Iterator["Steps"]:
        del total, unit
        self._trains = label.startswith("train")
        self.trainings += self._trains
        yield self

    def advance(self, amount: float = 1) -> None:
        self.steps += bool(self._trains and amount)
        if self._trains and self.steps == self.stop:
            raise KeyboardInterrupt

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def go(tmp_path: Path, tiny_suite: Any) -> Go:
    """Carry out a request on a small suite; `place` names the cache and the records."""
    task = {"task": "rtp", "data": str(tmp_path / "prompts.jsonl")}
    suite = tiny_suite(methods={"contrastive": {"steps": STEPS}}, tasks=[task], decoding={"num_samples": 1})

    def run(*methods: str, place: str = "a", along: int = 0, progress: Progress = SILENT, **more: Any) -> Any:
        fresh = more.pop("fresh", False)
        request = Request(methods or ("contrastive",), str(suite), max_items=4, **more)
        experiments = make_experiments(make_along(request, along).request if along else request)
        env = Environment(experiments[0].suite, AssetCatalogue(tmp_path / place / "cache", offline=True), progress)
        return run_experiments(experiments, env, tmp_path / place / "runs", fresh=fresh)

    return run


def records(outcomes: list[ExperimentOutcome]) -> list[Run]:
    assert [outcome.error for outcome in outcomes] == [None] * len(outcomes)
    return [load_run(outcome.folder) for outcome in outcomes if outcome.folder]


def figures(run: Run) -> list[dict[str, Any]]:
    assert run.result
    return [metric.model_dump() for metric in run.result.metrics]


def adapter(tmp_path: Path, place: str, run: Run) -> list[str]:
    """Hashes of what a run's training left."""
    folder = tmp_path / place / "cache" / "artifacts" / run.manifest.method["artifact_key"]
    return [hash_file(folder / name) for name in ADAPTER]


def test_one_training_leaves_every_point_as_it_is_alone(go, tmp_path):
    progress = Steps()
    base, *points = records(go(along=STEPS, progress=progress))
    assert (progress.trainings, progress.steps) == (1, STEPS)
    assert base.method == "none"
    assert [run.label for run in points] == [
        *(f"contrastive (signed, until={step})" for step in (1, 2, 3)),
        "contrastive (signed)",
    ]
    assert [run.result.artifact["steps"] for run in points] == [1, 2, 3, 4]
    assert [len(run.training["train"]) for run in points] == [1, 2, 3, 4]
    tokens = [run.result.artifact["trained_tokens"] for run in points]
    seconds = [run.result.artifact["seconds"] for run in points]
    assert tokens == sorted(set(tokens))
    assert seconds == sorted(seconds)
    assert len({run.result.artifact["hash"] for run in points}) == STEPS
    assert len({run.manifest.key for run in points}) == STEPS
    alone = records(go("contrastive:until=2", place="b", base=False)) + records(go(place="b", base=False))
    for run, other in ((points[1], alone[0]), (points[3], alone[1])):
        assert run.id == other.id
        assert figures(run) == figures(other)
        assert adapter(tmp_path, "a", run) == adapter(tmp_path, "b", other)


def test_the_plain_runs_record_is_the_last_point_and_only_what_lacks_is_trained(go):
    (plain,) = records(go(base=False))
    progress = Steps()
    outcomes = go(along=2, progress=progress)
    assert [one.reused for one in outcomes] == [False, False, True]
    assert records(outcomes)[-1].path == plain.path
    assert (progress.trainings, progress.steps) == (1, 2)
    again = Steps()
    assert all(one.reused for one in go(along=2, progress=again))
    assert again.trainings == 0


def test_all_seeds_strengths_and_methods_have_trainings_of_their_own(go):
    progress = Steps()
    runs = records(go("contrastive", "contrastive:scale=0.5", along=2, seeds=(0, 1), progress=progress))
    assert len(runs) == 2 * (1 + 4)
    assert progress.trainings == 2, "the strength matters only where an adapter is applied"


def test_interrupted_in_the_training_it_begins_again_and_leaves_the_same(go):
    with pytest.raises(KeyboardInterrupt):
        go(along=2, progress=Steps(stop=3))
    progress = Steps()
    found = records(go(along=2, progress=progress))
    assert (progress.trainings, progress.steps) == (1, STEPS)
    assert [figures(run) for run in found] == [figures(run) for run in records(go(along=2, place="b"))]


def test_made_anew_it_is_one_training_too(go):
    go(along=2)
    progress = Steps()
    outcomes = go(along=2, fresh=True, progress=progress)
    records(outcomes)
    assert not any(one.reused for one in outcomes)
    assert progress.trainings == 1


def test_a_training_that_breaks_leaves_the_points_before(go, monkeypatch):
    loss, calls = ContrastivePerplexity.loss, list[int]()

    def breaks(self: ContrastivePerplexity, likelihoods: Any) -> torch.Tensor:
        calls.append(1)
        return loss(self, likelihoods) * (float("nan") if len(calls) % STEPS == 0 else 1)

    monkeypatch.setattr(ContrastivePerplexity, "loss", breaks)
    progress = Steps()
    *found, last = go(along=2, progress=progress)
    assert [outcome.error for outcome in found] == [None, None]
    assert isinstance(last.error, MissingError)
    assert "the loss is not a number at step 4" in last.error.what
    assert any("the training broke later: the loss is not a number at step 4" in note for note in progress.notes)


def test_while_one_process_trains_the_points_are_held(go, tmp_path, tiny_suite):
    suite = str(tmp_path / "tiny.yaml")
    experiments = make_experiments(make_along(Request(("contrastive",), suite, max_items=4), 2).request)
    env = Environment(experiments[0].suite, AssetCatalogue(tmp_path / "c" / "cache", offline=True), SILENT)
    base, half, whole = (Runner(experiment, env, tmp_path / "c" / "runs") for experiment in experiments)
    share_trainings([runner.preparation for runner in (base, half, whole)])
    with alone(half.preparation._training):
        assert [runner.is_held for runner in (base, half, whole)] == [False, True, True]
        with pytest.raises(HeldError):
            half.run(wait=False)
    assert not half.is_held


def test_reports_say_the_step_of_every_point(go):
    runs = records(go(along=2))
    assert [run.setting("until") for run in runs] == [None, 2, 4]
    assert options_of(runs, None) == {"contrastive": "until"}
    (curve,) = build(runs, {"contrastive": "until"}).curves
    assert [point.setting for point in curve.points] == [2, 4]
    sheet = arrange(build_table(runs), load_layout("sweep"))
    assert "until" in str(sheet)


def along(*methods: str, count: int = 4, **more: Any) -> Sweep:
    return make_along(Request(methods, "smoke", **more), count)


@pytest.mark.parametrize(
    ("steps", "count", "ends"),
    [
        (40, 4, [10, 20, 30]),
        (40, 3, [13, 27]),
        (5, 5, [1, 2, 3, 4]),
        (7, 2, [4]),
        (1000, 8, [125 * n for n in range(1, 8)]),
    ],
)
def test_points_are_evenly_spaced_and_the_last_is_the_plain_run(steps, count, ends):
    found = along("contrastive", count=count, settings=(f"contrastive.steps={steps}",))
    assert found.request.methods == [*(f"contrastive:until={end}" for end in ends), "contrastive"]
    assert found.over == {"contrastive": "until"}


def test_a_training_that_is_to_end_early_has_its_points_before_that():
    found = along("contrastive", count=3, settings=("contrastive.steps=40", "until=20"))
    assert found.request.methods == ["contrastive:until=7", "contrastive:until=13", "contrastive"]
    assert [one.config.until for one in make_experiments(found.request)[1:]] == [7, 13, 20]
    whole = along("contrastive", count=4, settings=("contrastive.steps=40", "until=20"))
    assert len(make_experiments(whole.request)) == 1 + 4


def test_a_method_that_says_itself_where_it_ends_is_one_point():
    found = along("none", "contrastive:until=5", "dpo")
    assert found.request.methods[:2] == ["none", "contrastive:until=5"]
    assert found.over == {"none": None, "contrastive": "until", "dpo": "until"}
    assert len(found.request.methods) == 2 + 4


@pytest.mark.parametrize(
    ("methods", "more", "said"),
    [
        (("steering",), {}, r"method 'steering' has no training .* several steps; those that have: contrastive, contr"),
        (("contrastive+steering",), {}, "are stacked methods, not one training; name one of them"),
        (("contrastive_printed",), {}, r"passes over the sets.*--set contrastive_printed.epochs=null --set contr"),
        (("contrastive:epochs=1",), {}, "passes over the sets.*; say --method contrastive:epochs=null:steps=N"),
        (("sft:steps=1",), {}, "'sft' trains for 1 step; say --method sft:steps=N"),
        (("sft",), {"settings": ("until=1",)}, "'sft' trains for 1 step; say --set sft.until=N"),
        (("sft",), {"settings": ("steps=3",)}, "--along 4: 'sft' trains for 3 steps; say --along 3 or less"),
        (("sft",), {"settings": ("steps=1",)}, "--along 4: 'sft' trains for 1 step; say --set sft.steps=N"),
        (("sft:until=40",), {"settings": ("steps=40",)}, "until = 40 is not before the last of 40 steps"),
    ],
)
def test_what_has_no_such_points_is_refused(methods, more, said):
    with pytest.raises(UsageError, match=said):
        along(*methods, **more)


def test_passes_over_the_sets_end_early_too_but_not_beyond(go):
    (run,) = records(go("contrastive:epochs=1:until=2", base=False))
    assert run.result.artifact["steps"] == 2
    (outcome,) = go("contrastive:epochs=1:until=3", base=False)
    assert "until = 3 is not before the last of 3 steps" in str(outcome.error)
