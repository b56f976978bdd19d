"""One experiment from its plan to its record, on the tiny model: what is reused, resumed, refused and written."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench import registry
from bench.assets.catalogue import AssetCatalogue
from bench.data.counted import NONE_ABOVE
from bench.engine.batching import BATCH_BUDGET, BATCH_TOKENS
from bench.errors import BenchError, ForeignExitError, MissingError, UsageError
from bench.hashing import content_id
from bench.progress import SILENT, Progress
from bench.run import measuring
from bench.run.environment import Environment
from bench.run.launch import local
from bench.run.launch.local import ExperimentOutcome, run_experiments
from bench.run.plan import Request, make_experiments
from bench.run.runner import Runner
from bench.scorers.base import Scorer, ScorerContext, ScorerIdentity, Scores
from bench.scorers.checked import CheckedScorer
from bench.sets import load_sets
from bench.spec import SetsSpec, Spec
from bench.store import keys, lease
from bench.store.files import read_jsonl
from bench.store.keys import code_hash
from bench.store.parts import Parts
from bench.store.runs import Run, list_runs, load_run
from methods.learning.method import TrainedMethod

PHASES = {"none": ["prepare"], "contrastive": ["train"]}
TASKS = ["rtp", "heldout", "fluency", "diversity"]


class Spy:
    """A progress that remembers its bars, and stops the run as Ctrl-C does at a bar's n-th step."""

    def __init__(self, label: str = "", after: int = 0) -> None:
        self.label, self.left = label, after
        self.labels: list[str] = []
        self.notes: list[str] = []

    @contextmanager
    def bar(self, label: str, total: float | None = None, unit: str = "") -> Iterator["Spy"]:
        del total, unit
        self.labels.append(label)
        yield self

    def advance(self, amount: float = 1) -> None:
        if self.label and self.labels[-1] == self.label and amount:
            self.left -= 1
            if not self.left:
                raise KeyboardInterrupt

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def go(home: Path) -> Callable[..., list[ExperimentOutcome]]:
    """Run a suite; `place` names the cache and the records."""

    def run(
        suite: Path,
        *methods: str,
        place: str = "a",
        fresh: bool = False,
        progress: Progress = SILENT,
        scorer: Scorer | None = None,
        batch_tokens: int | None = None,
        **request: Any,
    ) -> list[ExperimentOutcome]:
        experiments = make_experiments(Request(methods or ("contrastive",), str(suite), **request))
        env = Environment(
            experiments[0].suite,
            AssetCatalogue(home / place / "cache", offline=True),
            progress,
            batch_tokens=batch_tokens,
        )
        if scorer:
            env.scorer = CheckedScorer(scorer, None)
        return run_experiments(experiments, env, home / place / "runs", fresh=fresh)

    return run


Go = Callable[..., list[ExperimentOutcome]]


def records(outcomes: Sequence[ExperimentOutcome]) -> list[Run]:
    assert [outcome.error for outcome in outcomes] == [None] * len(outcomes)
    return [load_run(outcome.folder) for outcome in outcomes if outcome.folder]


def figures(run: Run) -> list[dict[str, Any]]:
    assert run.result
    return [metric.model_dump() for metric in run.result.metrics]


def runner_of(suite: Path, home: Path, *settings: str, method: str = "contrastive", **request: Any) -> Runner:
    (experiment,) = make_experiments(Request((method,), str(suite), settings=settings, base=False, **request))
    return Runner(experiment, Environment(experiment.suite, AssetCatalogue(home / "keys", offline=True)), home / "runs")


# --- the record ---


def test_a_run_leaves_a_whole_record(go, tiny_suite):
    base, edited = records(go(tiny_suite()))
    for run, method in ((base, "none"), (edited, "contrastive")):
        assert run.status == run.manifest.status == "done"
        assert run.method == method
        assert run.label == ("none" if method == "none" else "contrastive (signed)")
        assert run.result.run_id == run.id == run.path.name
        assert run.result.key == run.manifest.key
        assert run.result.publishable
        assert [phase.name for phase in run.result.phases] == PHASES[method] + TASKS
        assert all(phase.seconds >= 0 for phase in run.result.phases)
        assert sorted(run.tasks) == sorted(TASKS)
        # A figure over all texts at once is no mean of observations.
        assert {metric.key for metric in run.result.metrics} - set(run.evidence) == {"diversity/overall_distinct_2"}
        assert set(run.evidence) <= {metric.key for metric in run.result.metrics}
        assert all(metric.value is not None for metric in run.result.metrics)
        assert all(metric.ci_low is not None for metric in run.result.metrics if metric.key in run.evidence)
    manifest = edited.manifest
    assert manifest.method["config"]["steps"] == 2
    assert manifest.method["origins"]["steps"] == "suite"
    assert len(manifest.model["sha256"]) == len(manifest.scorer["hash"]) == 64
    assert manifest.scorer["threshold"] == 0.1
    assert {Path(one["id"]).name for one in manifest.data} == {"prompts.jsonl", "texts.jsonl"}
    assert manifest.packages["torch"]
    assert manifest.hardware["device"]
    assert edited.result.artifact["steps"] == 2
    assert edited.result.artifact["sets"]["anchors"] == 6
    assert len(read_jsonl(edited.path / "samples" / "rtp.jsonl")) == len(edited.evidence["rtp/toxic_fraction"].value)
    assert base.manifest.suite_hash == manifest.suite_hash
    assert figures(base) != figures(edited)


def test_what_training_logged_is_in_the_record(go, tiny_suite):
    base, edited = records(go(tiny_suite()))
    assert base.training == {}
    assert [set(step) for step in edited.training["train"]] == 2 * [{"loss", "phi_positives", "phi_negatives"}]


def test_the_edit_is_measured_and_the_base_restored(go, tiny_suite):
    """The base's figures are the same before an edited experiment, after one, and alone."""
    first, edited, again = records(go(tiny_suite(), "none", "contrastive", "contrastive:scale=0"))
    alone = records(go(tiny_suite(), "none", place="b"))[0]
    assert figures(first) == figures(again) == figures(alone)
    assert figures(edited) != figures(first)


def test_seeds_are_cells_of_their_own(go, tiny_suite):
    runs = records(go(tiny_suite(), seeds=(0, 1)))
    assert [(run.method, run.manifest.seed) for run in runs] == [
        ("none", 0),
        ("contrastive", 0),
        ("none", 1),
        ("contrastive", 1),
    ]
    values = [{m.key: m.value for m in run.result.metrics} for run in runs]
    assert values[0]["heldout/perplexity"] == values[2]["heldout/perplexity"]
    assert values[1]["heldout/perplexity"] != values[3]["heldout/perplexity"]
    texts = [[row["continuation"] for row in read_jsonl(run.path / "samples" / "rtp.jsonl")] for run in runs]
    assert texts[0] != texts[2]


def test_a_limit_is_a_run_of_its_own(go, tiny_suite):
    (whole,) = records(go(tiny_suite(), "none"))
    (short,) = records(go(tiny_suite(), "none", max_items=2))
    assert whole.id != short.id
    assert {m.key: m.n for m in short.result.metrics}["rtp/expected_maximum_toxicity"] == 2
    assert {m.key: m.n for m in short.result.metrics}["heldout/perplexity"] == 2


# --- reuse ---


def test_what_is_finished_is_found(go, tiny_suite):
    before = go(tiny_suite())
    written = {path: path.stat().st_mtime_ns for one in before for path in one.folder.rglob("*") if path.is_file()}
    spy = Spy()
    after = go(tiny_suite(), progress=spy)
    assert [one.folder for one in after] == [one.folder for one in before]
    assert [one.reused for one in before] == [False, False]
    assert [one.reused for one in after] == [True, True]
    assert spy.labels == []  # nothing was loaded, trained or measured
    assert {path: path.stat().st_mtime_ns for path in written} == written


def test_an_artifact_is_shared_by_cells_that_apply_it_differently(go, tiny_suite):
    spy = Spy()
    outcomes = go(tiny_suite(), "contrastive", "contrastive:scale=0.5", base=False, progress=spy)
    assert spy.labels.count("train contrastive") == 1
    one, half = records(outcomes)
    assert one.result.artifact["hash"] == half.result.artifact["hash"]
    assert figures(one) != figures(half)


def test_fresh_makes_everything_anew(go, tiny_suite):
    suite = tiny_suite()
    first = records(go(suite))
    spy = Spy()
    again = go(suite, fresh=True, progress=spy)
    assert [one.reused for one in again] == [False, False]
    assert spy.labels.count("train contrastive") == 1
    assert [figures(run) for run in records(again)] == [figures(run) for run in first]


SELF = SetsSpec(
    source="self", positive_below=0.04, negative_above=0.05, num_prompts=8, decoding={"num_samples": 80}
).model_dump()


def test_negatives_above_c_are_counted_in_the_record(go, home, tiny_suite):
    prompts = home / "self.jsonl"
    prompts.write_text("".join(json.dumps({"text": f"It rained on {one} stones"}) + "\n" for one in range(24)))

    def taken(**more: str) -> dict[str, Any]:
        suite = tiny_suite(sets={**SELF, "prompts": str(prompts), **more})
        return records(go(suite, base=False))[0].result.artifact["sets"]["taken"]

    every, above = taken(), taken(negatives="above")
    assert "negatives" not in every
    counts = above["negatives"]
    assert 0 < counts["above"] < counts["sampled"]
    assert above["taken"] + sum(above["left_out"].values()) == above["rows"] == every["rows"]
    assert every["taken"] - above["taken"] == above["left_out"].get(NONE_ABOVE, 0)
    saved = [load_sets(path).sets for path in sorted((home / "a" / "cache" / "sets").glob("*/sets.jsonl"))]
    assert sorted(sum(len(one.negatives) for one in sets) for sets in saved) == sorted(counts.values())
    assert all(one.negatives for sets in saved for one in sets)


def test_a_suite_that_measures_on_its_sets_prompts_is_refused_before_any_is_sampled(home, tiny_suite):
    prompts = home / "self.jsonl"
    prompts.write_text("".join(json.dumps({"text": f"It rained on {one} stones"}) + "\n" for one in range(40)))
    rtp = {"task": "rtp", "data": str(prompts), "half": "train"}

    def check(skip: int, taken: int) -> None:
        sets = {**SELF, "prompts": str(prompts), "num_prompts": taken}
        runner_of(tiny_suite(sets=sets, tasks=[{**rtp, "skip": skip}]), home).check()

    said = (
        "makes its sets of 6 prompts, and its tasks measure on 2 of them; "
        "say --set suite.sets.num_prompts=4, or more for 'skip' of its tasks"
    )
    with pytest.raises(UsageError, match=said):
        check(4, 6)
    with pytest.raises(UsageError, match="on 6 of them; let its tasks take other data"):
        check(0, 6)
    check(4, 4)
    check(6, 6)


# --- resumption ---


@pytest.mark.parametrize(
    ("label", "after"),
    [("rtp", 1), ("rtp", 3), ("train contrastive", 1), ("contrastive sets", 1), ("heldout", 1), ("fluency", 1)],
)
def test_an_interrupted_run_goes_on(go, home, tiny_suite, label, after):
    """Nothing is lost, nothing doubled; the figures are those of a run that nobody stopped."""
    prompts = str(home / "self.jsonl")
    rows = [{"text": f"It rained on {number} stones"} for number in range(24)]
    Path(prompts).write_text("".join(json.dumps(row) + "\n" for row in rows))
    suite = tiny_suite(decoding={"num_samples": 100, "max_new_tokens": 8}, sets={**SELF, "prompts": prompts})
    whole = records(go(suite, place="whole", base=False))
    with pytest.raises(KeyboardInterrupt):
        go(suite, place="cut", base=False, progress=Spy(label, after))
    left = list_runs(home / "cut" / "runs")
    assert [run.status for run in left] == ["started"]
    assert bool(read_jsonl(left[0].path / "samples" / "rtp.jsonl")) == (label in ("rtp", *TASKS))
    spy = Spy()
    resumed = records(go(suite, place="cut", base=False, progress=spy))
    assert figures(resumed[0]) == figures(whole[0])
    texts = [(run.path / "samples" / "rtp.jsonl").read_text() for run in (*resumed, *whole)]
    assert texts[0] == texts[1]
    assert {phase.name for phase in resumed[0].result.phases} >= set(TASKS)
    if label in ("rtp", "heldout", "fluency"):
        assert "train contrastive" not in spy.labels
        assert "contrastive sets" not in spy.labels
    if label in ("heldout", "fluency"):
        assert "rtp" not in spy.labels
    partial = {phase.name for phase in resumed[0].result.phases if phase.partial}
    assert partial == {{"rtp": "rtp", "contrastive sets": "sets"}.get(label, "none")} - {"none"}
    assert sorted(path.name for path in (home / "cut" / "cache" / "sets").iterdir()) == sorted(
        path.name for path in (home / "whole" / "cache" / "sets").iterdir()
    )
    leftovers = [path for path in (home / "cut").rglob(".*") if path.is_dir()]
    assert leftovers == []


def test_a_resumed_run_is_of_one_artifact(go, home, tiny_suite, monkeypatch):
    """Where the artifact was made anew with other content, as on another processor, all is measured on it."""
    suite = tiny_suite()
    with pytest.raises(KeyboardInterrupt):
        go(suite, base=False, progress=Spy("heldout", 1))
    (left,) = list_runs(home / "a" / "runs")
    mark = left.path / "artifact.json"
    assert (left.path / "tasks" / "rtp.json").exists()
    before = mark.read_text()
    shutil.rmtree(home / "a" / "cache" / "artifacts")
    prepare = TrainedMethod.prepare

    def elsewhere(self: Any, base: Any, sets: Any, ctx: Any) -> dict[str, Any]:
        (ctx.folder / "other").write_text("bits of another processor")
        return prepare(self, base, sets, ctx)

    monkeypatch.setattr(TrainedMethod, "prepare", elsewhere)
    spy = Spy()
    (resumed,) = records(go(suite, base=False, progress=spy))
    assert "rtp" in spy.labels
    assert before != mark.read_text()
    assert json.loads(mark.read_text())["hash"] == resumed.result.artifact["hash"]


# --- failures ---


def test_a_cell_that_fails_does_not_keep_others_from_running(go, home, tiny_suite):
    """Sets without negatives: the full objective cannot learn from them, the one-sided ablation can."""
    path = home / "positives.jsonl"
    path.write_text('{"anchor": "She asked", "positives": [{"text": " him."}], "negatives": []}\n')
    suite = tiny_suite(sets={"source": str(path)})
    base, failed, done = go(suite, "contrastive", "contrastive:negatives=0")
    records([base, done])
    assert isinstance(failed.error, MissingError)
    assert "has positives and negatives" in str(failed.error)
    by_status = {run.status: run for run in list_runs(home / "a" / "runs")}
    assert len(list_runs(home / "a" / "runs")) == 3
    assert by_status["failed"].method == "contrastive"
    assert by_status["failed"].result is None
    assert "positives and negatives" in by_status["failed"].manifest.error
    assert not list((home / "a" / "cache" / "artifacts").glob(".*-*"))


class Failing(Spy):
    """Fails where training begins."""

    @contextmanager
    def bar(self, label: str, total: float | None = None, unit: str = "") -> Iterator[Spy]:
        if label == "train contrastive":
            raise MissingError("the disk is full")
        with super().bar(label, total, unit) as bar:
            yield bar


def test_a_failed_cell_is_tried_again(go, home, tiny_suite):
    """What failed once is no record: the same command carries it out."""
    suite = tiny_suite()
    (failed,) = go(suite, base=False, progress=Failing())
    assert "the disk is full" in str(failed.error)
    assert [run.status for run in list_runs(home / "a" / "runs")] == ["failed"]
    (run,) = records(go(suite, base=False))
    assert run.status == "done"


class Exiting(Spy):
    """A plug-in that ends the program, as if all were well."""

    @contextmanager
    def bar(self, label: str, total: float | None = None, unit: str = "") -> Iterator[Spy]:
        if label == "train contrastive":
            raise SystemExit(0)
        with super().bar(label, total, unit) as bar:
            yield bar


def test_a_plug_in_that_exits_has_failed_and_others_go_on(go, home, tiny_suite):
    base, failed = go(tiny_suite(), progress=Exiting())
    assert base.error is None
    assert isinstance(failed.error, ForeignExitError)
    assert failed.error.exit_code == 1
    assert {run.method: run.status for run in list_runs(home / "a" / "runs")} == {
        "none": "done",
        "contrastive": "failed",
    }


class Partly(Scorer):
    """Cannot score texts with an `e`."""

    def __init__(self) -> None:
        super().__init__(Spec(), ScorerContext())

    def load(self, ctx: ScorerContext) -> ScorerIdentity:
        return ScorerIdentity("partly", "partly", "1" * 64, ("toxicity",), "none")

    def score(self, texts: Sequence[str]) -> list[Scores | None]:
        return [None if "e" in text else {"toxicity": 0.0} for text in texts]


def test_missing_scores_are_not_publishable(go, tiny_suite):
    (run,) = records(go(tiny_suite(), "none", scorer=Partly()))
    metrics = {metric.key: metric for metric in run.result.metrics}
    assert not run.result.publishable
    assert metrics["rtp/toxic_fraction"].n_failed > 0
    rows = read_jsonl(run.path / "samples" / "rtp.jsonl")
    assert sum(row["scores"] is None for row in rows) == metrics["rtp/toxic_fraction"].n_failed
    assert all((row["scores"] is None) == ("e" in row["continuation"]) for row in rows)


# --- refusals ---


def test_sets_that_meet_evaluation_prompts_are_refused_before_any_work(go, home, tiny_suite):
    suite = tiny_suite()
    prompts = [row["text"] for row in read_jsonl(home / "prompts.jsonl")]
    held_out = next(text for text in prompts if int(content_id(text), 16) % 2 == 0)
    row = {"anchor": held_out.upper() + "!", "positives": [{"text": " a"}], "negatives": [{"text": " b"}]}
    (home / "sets.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(BenchError) as caught:
        go(suite)
    assert caught.value.exit_code == 3
    assert held_out not in str(caught.value)
    assert list_runs(home / "a" / "runs") == []


def test_an_artifact_from_another_suite_is_refused_as_its_sets_are(go, home, tiny_suite):
    """The artifact is in the cache, but its anchors are prompts that this suite evaluates on."""
    records(go(tiny_suite(), base=False))
    anchors = [row["anchor"] for row in read_jsonl(home / "sets.jsonl")]
    held_out = [{"text": anchor, "toxicity": 0.9} for anchor in anchors if int(content_id(anchor), 16) % 2 == 0]
    assert held_out
    (home / "other.jsonl").write_text("".join(json.dumps(row) + "\n" for row in held_out))
    with pytest.raises(MissingError, match="meet evaluation prompts"):
        go(tiny_suite(tasks=[{"task": "rtp", "data": str(home / "other.jsonl")}]), base=False)


def test_self_made_sets_are_refused_where_another_suite_evaluates_on_what_they_begin(go, home, tiny_suite):
    train = [{"text": f"It rained on all of the {number} stones"} for number in range(30)]
    (home / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in train))
    sets = {**SELF, "prompts": str(home / "train.jsonl"), "num_prompts": 30}
    records(go(tiny_suite(sets=sets), base=False))
    longer = [{"text": f"{row['text']} and {word}"} for row in train for word in ("on", "off", "out", "in", "up")]
    (home / "longer.jsonl").write_text("".join(json.dumps(row) + "\n" for row in longer))
    outcomes: list[ExperimentOutcome] = []
    with pytest.raises(UsageError, match=r"makes its sets of 12 prompts, and its tasks measure on 12 of them"):
        outcomes = go(tiny_suite(sets=sets, tasks=[{"task": "rtp", "data": str(home / "longer.jsonl")}]), base=False)
        raise outcomes[0].error or AssertionError("it was measured")


def test_what_is_missing_is_known_before_any_work(go, home, tiny_suite):
    for changes in (
        {"sets": {"source": str(home / "none.jsonl")}},
        {"sets": {**SELF, "prompts": str(home / "none.jsonl")}},
        {"model": {"id": str(home / "no-model")}},
        {"tasks": [{"task": "rtp", "data": str(home / "none.jsonl")}]},
    ):
        with pytest.raises(MissingError, match="does not exist"):
            go(tiny_suite(**changes))
        assert list_runs(home / "a" / "runs") == []


@pytest.mark.parametrize("installed", [None, "1.0.0"], ids=["none", "too-old"])
def test_a_missing_extra_is_known_before_any_work(go, home, tiny_suite, monkeypatch, installed):
    real = registry.version

    def version(name: str) -> str:
        if name == "trl" and installed is None:
            raise PackageNotFoundError(name)
        return installed if name == "trl" and installed else real(name)

    monkeypatch.setattr(registry, "version", version)
    with pytest.raises(MissingError, match=r"method 'grpo' needs trl>=1.16; pip install 'contrastive-bench\[rl\]'"):
        go(tiny_suite(), "contrastive", "grpo")
    assert list_runs(home / "a" / "runs") == []
    assert registry.requirements("methods", "contrastive", ["no-such-extra"]) == []


def test_a_method_may_learn_from_the_scorer(go, tiny_suite):
    """It gets the suite's own, and what has no score stays without."""
    (run,) = records(go(tiny_suite(), "grpo:steps=2:generations=4:max_new_tokens=6", base=False, scorer=Partly()))
    assert run.result
    assert 0 < run.result.artifact["unrewarded"] < 2 * 2 * 4
    assert run.result.artifact["steps"] == 2
    phase = next(one for one in run.result.phases if one.name == "train")
    assert phase.tokens == run.result.artifact["trained_tokens"] > 0


# --- keys ---


def test_what_changes_the_figures_changes_the_key(home, tiny_suite):
    keys = [
        runner_of(tiny_suite(**changes), home, *settings, **request).key
        for changes, settings, request in (
            ({}, (), {}),
            ({"scorer": {"name": "svm", "threshold": 0.2}}, (), {}),
            ({"decoding": {"num_samples": 3, "max_new_tokens": 9}}, (), {}),
            ({"tasks": [{"task": "rtp", "data": str(home / "prompts.jsonl")}]}, (), {}),
            ({}, ("steps=3",), {}),
            ({}, ("scale=0.5",), {}),
            ({}, (), {"seeds": (1,)}),
            ({}, (), {"max_items": 3}),
            ({}, (), {"method": "none"}),
        )
    ]
    assert len(set(keys)) == len(keys)


def test_what_does_not_change_the_figures_does_not(home, tiny_suite):
    key = runner_of(tiny_suite(), home).key
    assert runner_of(tiny_suite(), home).key == key
    assert runner_of(tiny_suite(description="other words"), home).key == key
    assert runner_of(tiny_suite(methods={}), home, "steps=2").key == key
    assert runner_of(tiny_suite(), home, method="contrastive:steps=2").key == key


@pytest.mark.parametrize("name", ["prompts.jsonl", "texts.jsonl", "sets.jsonl"])
def test_the_key_follows_the_content_and_not_the_name(home, tiny_suite, name):
    suite = tiny_suite()
    key = runner_of(suite, home).key
    path = home / name
    path.write_text(path.read_text().replace("a", "e"))
    assert runner_of(suite, home).key != key


def test_the_key_follows_the_weights(home, tiny_model, tiny_suite):
    from safetensors.torch import load_file, save_file

    shutil.copytree(tiny_model, home / "model")
    suite = tiny_suite(model={"id": str(home / "model")})
    before = runner_of(suite, home)
    keys = (before.key, before.artifact_key)
    path = home / "model" / "model.safetensors"
    tensors = load_file(path)
    tensors["model.norm.weight"][0] += 1e-3
    save_file(tensors, path, metadata={"format": "pt"})
    after = runner_of(suite, home)
    assert before.run_id.startswith("tiny-contrastive-s0-")
    assert (after.key, after.artifact_key)[0] != keys[0]
    assert (after.key, after.artifact_key)[1] != keys[1]


@pytest.mark.parametrize(("method", "follows"), [("grpo", True), ("contrastive", False)])
def test_what_a_method_alone_rests_on_is_in_its_artifact_key(home, tiny_suite, monkeypatch, method, follows):
    """The scorer, where it is the reward, and the packages of its extras."""
    suite = tiny_suite()
    before = runner_of(suite, home, method=method).artifact_key
    other = runner_of(suite, home, method=method)
    other.env.scorer = CheckedScorer(Partly(), None)
    assert (other.artifact_key != before) == follows
    real = keys.version
    monkeypatch.setattr(keys, "version", lambda name: "9.9" if name == "trl" else real(name))
    assert (runner_of(suite, home, method=method).artifact_key != before) == follows


def test_the_key_follows_the_code(home, tiny_suite):
    class Changed(Environment):
        """As if the method's own file had been edited."""

        def method_code(self, method: str) -> str:
            return super().method_code(method) + "x"

    runner = runner_of(tiny_suite(), home)
    changed = Runner(
        runner.experiment, Changed(runner.experiment.suite, AssetCatalogue(home / "keys", offline=True)), home / "runs"
    )
    assert changed.key != runner.key
    assert changed.artifact_key != runner.artifact_key


def test_code_counts_and_comments_do_not(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)

    def hash_of(body: str) -> str:
        (tmp_path / "some_code.py").write_text(body)
        code_hash.cache_clear()
        return code_hash(("some_code",))

    plain = hash_of("def f(a):\n    return a + 1\n")
    assert hash_of('"""Words."""\n\ndef f(a):  # more\n    """Words."""\n    return (a\n        + 1)\n') == plain
    assert hash_of("def f(a):\n    return a + 2\n") != plain


def test_the_record_says_how_large_batches_were(go, tiny_suite, monkeypatch):
    """What was asked for, though the record is begun before the model is loaded."""
    monkeypatch.setattr(BATCH_BUDGET, "tokens", BATCH_TOKENS)
    (outcome,) = go(tiny_suite(), "none", batch_tokens=300)
    assert load_run(outcome.folder).manifest.engine["batch_tokens"] == 300


# --- other processes ---


def test_what_was_taken_over_and_given_back_is_gone_on_with(go, home, tiny_suite, monkeypatch):
    """A process that loses its experiment writes nothing more, and takes it up when it is free again."""
    monkeypatch.setattr(lease, "_AGAIN_SECONDS", 0.0)
    suite = tiny_suite()
    whole = records(go(suite, "contrastive", base=False, place="whole"))

    class Losing(Spy):
        """Another machine takes over while samples are scored, and ends soon after."""

        def advance(self, amount: float = 1) -> None:
            if self.labels[-1] == "fluency" and "lost" not in self.notes:
                (held,) = (home / "a" / "runs").glob(".tiny-contrastive-*.lease")
                held.unlink()
                self.notes.append("lost")

    spy = Losing()
    (run,) = records(go(suite, "contrastive", base=False, progress=spy))
    assert any("another process has taken over" in note for note in spy.notes)
    assert figures(run) == figures(whole[0])
    names = [phase.name for phase in run.result.phases]
    assert sorted(names) == sorted({*names}), "each phase stands there once"
    assert spy.labels.count("rtp") == spy.labels.count("train contrastive") == 1


# --- help with an experiment that another process carries out ---


def test_a_helper_edits_the_model_once_and_waits_for_more(home, tiny_suite, monkeypatch):
    runner = runner_of(tiny_suite(), home, method="none")
    runner.prepare()
    monkeypatch.setattr(measuring, "_PAUSES", (0.01, 0.01))
    applied, edits = type(runner.method).applied, []

    def counted(*args: Any) -> Any:
        edits.append(None)
        return applied(*args)

    monkeypatch.setattr(type(runner.method), "applied", counted)
    published: list[Parts] = []
    left = iter([("heldout", True), ("embedded_piqa", True), ("fluency", False), ("relevance", False)])

    def is_idle() -> bool:
        """The owner goes on to its next task."""
        name, is_edited = next(left, ("", False))
        if name:
            facts = {"kind": "likelihoods", "edited": is_edited, "heads": [[]]}
            parts = [[0, [[[5], [[6, 7]], [number]]]] for number in range(2)]
            published.append(Parts.publish(runner.folder / "samples" / f"{name}.parts", facts, parts))
        return bool(name)

    assert runner.help(is_idle)
    assert [len(parts.seen()[0]) for parts in published] == [2, 2, 2, 2]
    assert len(edits) == 1


class _Shared:
    """An experiment that others carry out: whether one holds it, and whether it has parts."""

    experiment: Any = SimpleNamespace(label="none", seed=0)
    env: Any = SimpleNamespace(progress=SILENT)

    def __init__(self, *, is_held: bool, wants_help: bool) -> None:
        self.is_held, self.wants_help, self.idle = is_held, wants_help, False

    def help(self, is_idle: Callable[[], bool]) -> bool:
        self.idle = is_idle()
        return True


@pytest.mark.parametrize(
    ("is_held", "wants_help", "given_up", "idle"),
    [
        (True, False, {}, True),
        (False, False, {}, False),  # it can be begun
        (True, True, {}, False),  # it can be helped with
        (True, True, {1: "two workers died"}, True),
        (True, False, {0: "two workers died"}, False),
    ],
)
def test_who_helps_waits_for_more_only_where_nothing_else_is_to_be_done(is_held, wants_help, given_up, idle):
    told: list[int | None] = []
    helped: Any = _Shared(is_held=True, wants_help=True)
    other: Any = _Shared(is_held=is_held, wants_help=wants_help)

    def begins(number: int | None) -> None:
        told.append(number)
        sharing.given_up.update(given_up)  # while it helps

    sharing = local.Sharing(begins)
    assert local._help(0, {0: helped, 1: other}, 2, sharing)
    assert helped.idle == idle
    assert told == [0, None]
