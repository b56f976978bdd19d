"""Methods that read someone else's model or adapter: keys follow its content, and the record says what it was."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.assets.catalogue import AssetCatalogue
from bench.errors import MissingError, UsageError
from bench.run.edited import edited
from bench.run.environment import Environment
from bench.run.launch.local import run_experiments
from bench.run.plan import Request, make_experiments
from bench.run.runner import Runner
from bench.store.runs import Run, load_run

Go = Callable[..., list[Run]]


@pytest.fixture
def runners(tmp_path: Path) -> Callable[..., list[Runner]]:
    """The experiments of some methods, with one cache and one folder of records."""

    def make(suite: Path, *methods: str, **request: Any) -> list[Runner]:
        experiments = make_experiments(Request(methods, str(suite), **request))
        env = Environment(experiments[0].suite, AssetCatalogue(tmp_path / "cache", offline=True))
        return [Runner(experiment, env, tmp_path / "runs") for experiment in experiments]

    return make


@pytest.fixture
def go(tmp_path: Path) -> Go:
    """Run a suite and read the records."""

    def run(suite: Path, *methods: str, **request: Any) -> list[Run]:
        experiments = make_experiments(Request(methods, str(suite), **request))
        env = Environment(experiments[0].suite, AssetCatalogue(tmp_path / "cache", offline=True))
        outcomes = run_experiments(experiments, env, tmp_path / "runs")
        assert [one.error for one in outcomes] == [None] * len(experiments)
        return [load_run(one.folder) for one in outcomes if one.folder]

    return run


def figures(run: Run) -> list[dict[str, Any]]:
    assert run.result
    return [metric.model_dump() for metric in run.result.metrics]


def test_a_trained_adapter_by_its_path_has_the_figures_of_its_method(go, tiny_suite, tmp_path):
    suite = tiny_suite(methods={"contrastive": {"steps": 8, "lr": 5e-3}})
    base, trained, half = go(suite, "contrastive", "contrastive:scale=0.5")
    key = trained.manifest.method["artifact_key"]
    folder = tmp_path / "cache" / "artifacts" / key
    ours, ours_half = go(suite, f"adapter:path={folder}", f"adapter:path={folder}:scale=0.5", base=False)
    assert figures(ours) == figures(trained)
    assert figures(ours_half) == figures(half)
    assert figures(ours) != figures(base)
    assert ours.result.artifact["hash"] == ours_half.result.artifact["hash"]
    assert ours.result.artifact["adapter_parameters"] == trained.result.artifact["trainable_parameters"]


def test_the_record_says_what_was_read(go, runners, tiny_suite, other_model, tiny_adapter):
    suite = tiny_suite()
    for method, folder in (("checkpoint", other_model), ("adapter", tiny_adapter)):
        (run,) = go(suite, f"{method}:path={folder}", base=False)
        (runner,) = runners(suite, f"{method}:path={folder}", base=False)
        read = run.manifest.method["inputs"]["path"]
        assert read == {"id": str(folder), "sha256": runner.inputs["path"].sha256, "revision": None, "licence": None}
        assert len(read["sha256"]) == 64


def test_what_was_measured_is_found_at_its_commit_when_the_branch_has_moved(
    go, tiny_suite, other_model, tiny_adapter, tmp_path, monkeypatch
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))

    def push(name: str, commit: str, folder: Path) -> None:
        place = tmp_path / "hub" / f"models--some--{name}"
        (place / "refs").mkdir(parents=True, exist_ok=True)
        (place / "refs" / "main").write_text(commit)
        shutil.copytree(folder, place / "snapshots" / commit)

    push("model", "a" * 40, other_model)
    push("adapter", "b" * 40, tiny_adapter)
    (run,) = go(tiny_suite(model={"id": "some/model"}), "adapter:path=some/adapter@main", base=False)
    for name, folder, config in (
        ("model", other_model, "config.json"),
        ("adapter", tiny_adapter, "adapter_config.json"),
    ):
        changed = Path(shutil.copytree(folder, tmp_path / f"changed-{name}")) / config
        changed.write_text(changed.read_text() + " ")
        push(name, "c" * 40, changed.parent)
    found = edited(run, AssetCatalogue(tmp_path / "cache", offline=True))
    assert (found.model.revision, found.artifact.inputs["path"].name) == ("a" * 40, "b" * 40)


def test_a_changed_model_is_refused_with_the_remedy(go, tiny_suite, tiny_model, tmp_path):
    model = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    (run,) = go(tiny_suite(model={"id": str(model)}), "none")
    (model / "generation_config.json").write_text("{}")
    with pytest.raises(MissingError, match="another hash; bring back the files that it had then, or run the same"):
        edited(run, AssetCatalogue(tmp_path / "cache", offline=True))


def test_a_checkpoint_is_measured_and_the_base_restored(go, tiny_suite, tiny_model, other_model):
    first, other, again = go(tiny_suite(), f"checkpoint:path={other_model}", f"checkpoint:path={tiny_model}")
    assert figures(first) == figures(again)
    assert figures(other) != figures(first)


def test_the_keys_follow_the_content(runners, tiny_suite, tiny_adapter, tmp_path):
    suite = tiny_suite()
    folder = shutil.copytree(tiny_adapter, tmp_path / "adapter")

    def keys(*options: str) -> tuple[str, str]:
        (runner,) = runners(suite, f"adapter:path={folder}{''.join(options)}", base=False)
        return runner.key, runner.artifact_key

    before = keys()
    assert keys() == before
    (folder / "README.md").write_text("beside it")
    assert keys() == before
    assert keys(":scale=0.5")[0] != before[0]
    assert keys(":scale=0.5")[1] == before[1]
    config = folder / "adapter_config.json"
    config.write_text(config.read_text().replace('"lora_alpha": 8', '"lora_alpha": 16'))
    assert all(one != other for one, other in zip(keys(), before, strict=True))


def test_what_does_not_fit_is_refused_before_any_work(runners, tiny_suite, make_model, make_adapter, tmp_path):
    from peft import LoraConfig

    adapter = make_adapter(make_model("other", hidden_size=64), LoraConfig(target_modules=["q_proj"]))
    experiments = [runner.experiment for runner in runners(tiny_suite(), f"adapter:path={adapter}")]
    env = Environment(experiments[0].suite, AssetCatalogue(tmp_path / "cache", offline=True))
    with pytest.raises(UsageError, match="does not fit the base model"):
        run_experiments(experiments, env, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
