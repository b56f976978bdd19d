"""What every task does, installed ones included: it resumes, counts what failed, and its evidence gives its figures.

Each runs with its default options, or those of `TaskInfo.example`, on the tiny model and on small harmless files that
stand in for the embedded data. A task of another package is covered by being installed.
"""

import contextlib
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bench import registry
from bench.assets.catalogue import AssetCatalogue
from bench.assets.resolved import Resolved
from bench.attribute import TOXICITY
from bench.engine import batching
from bench.policy import HFPolicy, LoadedModel
from bench.progress import SILENT
from bench.scorers.base import Scores
from bench.spec import Decoding, GeneratorSpec, validate
from bench.stats import interval, value
from bench.store.record import TaskResult
from bench.tasks.base import Task
from bench.tasks.context import TaskContext

NOUNS = ["river", "stone", "train", "weather", "capital", "friend", "town", "sea", "desk", "hill", "feather", "digit"]
ROWS: dict[str, list[dict[str, Any]]] = {
    "rtp": [
        {"text": f"The {noun} that women like {end}", "toxicity": 0.6}
        for noun in NOUNS
        for end in ("was late", "is here", "said")
    ],
    "boolq": [
        {"question": f"is the {noun} late", "passage": f"The {noun} was late again, and he said so.", "answer": "True"}
        for noun in NOUNS
    ],
    "siqa": [
        {
            "passage": f"She asked whether the {noun} was late at {place} o'clock.",
            "question": "What will she do?",
            "options": "A. ask again\nB. go home\nC. wait",
            "answer": "A. ask again",
        }
        for noun in NOUNS
        for place in range(12)
    ],
    "nq_open": [
        {
            "question": f"where is the {noun}",
            "answer": ["Here and now", f"the {noun}"],
            "def_correct_predictions": ["not here"],
            "def_incorrect_predictions": ["There and then", "by now", "late", "Far from here by train"],
        }
        for noun in NOUNS
    ],
    "stereoset": [
        {
            "type": kind,
            "target": noun,
            "bias_type": "thing",
            "context": f"Here is the {noun}.",
            "stereotype": f"The {noun} was late.",
            "anti-stereotype": f"The {noun} was here.",
            "unrelated": f"The {noun} was digit.",
        }
        for noun in NOUNS
        for kind in ("intrasentence", "intersentence")
    ],
    "crows_pairs": [
        {"bias_type": "thing", "sentence": "The [MASK] was late again.", "mask1": noun, "mask2": f"old {noun}"}
        for noun in NOUNS
    ],
    "refusal_pairs_50": [
        {"text": f"Where is the {noun}?\n\nIt is here.", "harmful_version": f"Where was the {noun}?\n\nIt was there."}
        for noun in NOUNS
    ],
    "refusal_pairs_100": [{"text": "Is it late?\n\nNo.", "harmful_version": "Is it here?\n\nYes."}],
    "edgy_questions_80": [{"text": f"How do I stop the {noun}?"} for noun in NOUNS],
    "edgy_questions_70": [{"text": "How do I go home?"}],
    "piqa": [
        {"question": f"Find the {noun}", "options": "A. look\nB. sleep for a week", "answer": "A. look"}
        for noun in NOUNS
    ],
}


class SmallAssets(AssetCatalogue):
    """Small files and models in the place of the embedded ones."""

    def __init__(self, folder: Path, model: Path, encoder: Path, facts: Sequence[dict[str, Any]]) -> None:
        super().__init__(folder / "cache", offline=True)
        self.facts = facts
        self.folder, self.small_model, self.small_encoder = folder, model, encoder

    def data(self, name: str) -> Resolved:
        rows = {**ROWS, "countryinfo": self.facts}
        if name not in rows:
            return super().data(name)
        path = self.folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows[name]), encoding="utf-8")
        return super().data(str(path))

    def encoder(self, name: str) -> Resolved:
        return super().encoder(str(self.small_encoder) if name == "all-minilm-l6-v2" else name)

    def model(self, name: str, revision: str | None = None) -> Resolved:
        return super().model(str(self.small_model) if name == "smollm2-135m-instruct" else name, revision)

    def generator(self, spec: GeneratorSpec) -> Resolved | None:
        return self.model(spec.model)


class ByLength:
    """Scores a text by its length; `fails` says which texts have no score."""

    def __init__(self, fails: Callable[[str], bool] = lambda _: False) -> None:
        self.fails = fails

    def score(self, texts: Sequence[str]) -> list[Scores | None]:
        return [None if self.fails(text) else {"toxicity": (len(text) % 11) / 10} for text in texts]


def is_ours(kind: type[Task[Any]]) -> bool:
    """Whether a task comes with this project."""
    return kind.__module__.startswith("bench.")


WITHOUT_SAMPLES = {"coverage", "crows_pairs", "divergence", "heldout", "identity", "stereoset"}
"""Tasks that read texts and keep no row of them."""
Measure = Callable[..., tuple[TaskResult, Path]]


@pytest.fixture(params=registry.names("tasks"))
def kind(request: pytest.FixtureRequest) -> type[Task[Any]]:
    """Each installed task."""
    return registry.load("tasks", request.param)


def tasks_of(name: str) -> list[Task[Any]]:
    """A task as a suite's entry makes it, after those that it needs."""
    kind = registry.load("tasks", name)
    made = kind.from_config(validate(kind.Config, {"task": name, **kind.info.example}, name))
    return [task for needed in made[0].needs for task in tasks_of(needed)] + made


@pytest.fixture(scope="session")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where data lie, and what `whole` keeps."""
    return tmp_path_factory.mktemp("tasks")


@pytest.fixture(scope="session")
def wholes() -> dict[str, tuple[TaskResult, Path]]:
    """What `whole` keeps, by task."""
    return {}


@pytest.fixture
def whole(kind, measure: Measure, places: Path, wholes: dict[str, tuple[TaskResult, Path]]) -> tuple[TaskResult, Path]:
    """What measuring the task gives where nothing disturbs it, measured once: tests read it and its folder alone."""
    name = kind.info.name
    if name not in wholes:
        wholes[name] = measure(places / "whole" / name)
    return wholes[name]


@pytest.fixture
def assets(places: Path, tiny_model: Path, tiny_encoder: Path, known_facts: list[dict[str, Any]]) -> SmallAssets:
    """What tasks fetch."""
    return SmallAssets(places, tiny_model, tiny_encoder, known_facts)


@pytest.fixture
def measure(kind, tiny_base: LoadedModel, assets: SmallAssets, tmp_path: Path) -> Measure:
    """Measures the task in a folder of samples, after the tasks that it needs."""
    tasks = tasks_of(kind.info.name)
    policy = HFPolicy(tiny_base.model, tiny_base.tokenizer)

    def run(place: str | Path, **changes: Any) -> tuple[TaskResult, Path]:
        parts: dict[str, Any] = {
            "folder": tmp_path / place,
            "assets": assets,
            "scorer": ByLength(),
            "attribute": TOXICITY,
            "decoding": Decoding(num_samples=2, max_new_tokens=6),
            "seed": 0,
            "base": tiny_base,
            "progress": SILENT,
            "max_items": 4,
            "tasks": {task.name: task for task in tasks},
        }
        context = TaskContext(**{**parts, **changes})
        with contextlib.ExitStack() as held:
            for task in tasks:
                context.beside[task.name] = held.enter_context(task.beside(policy, context))
            results = [task.measure(policy, context) for task in tasks]
        return results[-1], context.folder

    return run


def samples_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.jsonl"))}


def test_it_records_what_it_declares(kind, whole):
    result, _ = whole
    assert result.metrics
    declared = {spec.of(TOXICITY).name: spec.of(TOXICITY) for spec in kind.info.metrics}
    for metric in result.metrics:
        assert metric.role in ("attribute", "fluency", "relevance", "diversity", "utility", "safety", "cost")
        if declared:
            spec = declared[metric.name]
            facts = (metric.higher_is_better, metric.role, metric.difference, metric.primary)
            assert facts == (spec.higher_is_better, spec.role, spec.difference, spec.primary), metric.key
    assert len({metric.key for metric in result.metrics}) == len(result.metrics)


def test_the_evidence_gives_the_figures(whole):
    result, _ = whole
    judged = 0
    for metric in result.metrics:
        evidence = result.evidence.get(metric.key)
        if evidence is None or not evidence.value:
            assert evidence is None or metric.value is None
            continue
        ends = interval([evidence])
        assert metric.value == value(evidence)
        assert (metric.ci_low, metric.ci_high) == ((ends.low, ends.high) if ends else (None, None))
        assert metric.n == len(evidence.value)
        judged += 1
    assert judged


def test_it_resumes_at_any_point_with_the_same_rows(kind, whole, measure, tmp_path):
    undisturbed, folder = whole
    samples = samples_in(folder)
    assert samples or kind.info.name in WITHOUT_SAMPLES or not is_ours(kind)  # a third party's task may keep none
    for name, content in samples.items():
        ends = [place for place, byte in enumerate(content) if byte == ord("\n")]
        cuts = [0, *ends[:: max(1, len(ends) // 4)], *([ends[-1] - 3] if ends else [])]  # the last amid a line
        for number, cut in enumerate(cuts):
            place = f"{name}-{number}"
            shutil.copytree(folder, tmp_path / place)
            (tmp_path / place / name).write_bytes(content[: cut + 1] if cut else b"")
            again, resumed = measure(place)
            assert samples_in(resumed) == samples, f"{name} cut at byte {cut}"
            assert again == undisturbed


def test_a_failing_scorer_is_counted_and_never_clean(measure):
    sound, _ = measure("sound")
    failing, _ = measure("failing", scorer=ByLength(lambda _: True))
    before = {metric.key: metric for metric in sound.metrics}
    for metric in failing.metrics:
        if metric.role == "attribute":
            assert metric.value is None
            assert metric.n_failed > 0
        if not metric.n_failed and metric.key in before:
            assert metric.value == before[metric.key].value, f"{metric.key} rests on scores and counts no failure"


def test_the_batches_do_not_change_the_figures(measure, monkeypatch):
    wide, folder = measure("wide")
    monkeypatch.setattr(batching.BATCH_BUDGET, "tokens", 40)
    narrow, others = measure("narrow")
    assert samples_in(others).keys() == samples_in(folder).keys()
    for one, other in zip(wide.metrics, narrow.metrics, strict=True):
        assert one.key == other.key
        assert other.value == pytest.approx(one.value, rel=1e-4)
        assert other.n == one.n


def test_the_limit_is_kept(measure):
    few, folder = measure("few", max_items=2)
    more, others = measure("more", max_items=5)
    for name, content in samples_in(folder).items():
        rows = [json.loads(line) for line in content.splitlines()]
        owners = {row.get("prompt_id") or row.get("doc_hash") or row.get("id") for row in rows} - {None}
        assert len(owners) <= 2, name
        assert owners or not rows, f"{name}: nothing says whose its rows are"
    size = {key: len(set(evidence.cluster)) for key, evidence in more.evidence.items()}
    for key, evidence in few.evidence.items():
        assert len(set(evidence.cluster)) <= size.get(key, len(evidence.cluster))
    assert sum(map(len, samples_in(folder).values())) <= sum(map(len, samples_in(others).values()))
