"""Facts that are edited in groups: each group alone on the base model, measured on the model that holds it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.assets.catalogue import AssetCatalogue
from bench.errors import MissingError, UsageError
from bench.run.artifact import GROUPS
from bench.run.edited import edited
from bench.run.environment import Environment
from bench.run.groups import groups_in
from bench.run.launch.local import run_experiments
from bench.run.plan import Request, make_experiments, parse_setting
from bench.store.runs import Run, load_run
from bench.tasks.edit.task import Edit
from methods.ft_l import FTL

EDIT = {"name": "edit", "wanted": "high", "adjective": "edited"}
TUNED = "ft_l:steps=40:lr=0.01:norm_constraint=0.1"
ROME = "rome:steps=4:texts=4:text_tokens=8:contexts=1:context_tokens=4"


@pytest.fixture
def suite(write_suite: Callable[..., Path], known_facts: list[dict[str, Any]], tmp_path: Path) -> str:
    path = tmp_path / "facts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in known_facts), encoding="utf-8")
    tasks = [{"task": "edit", "answer_tokens": 6, "text_tokens": 8}]
    sets = {"source": "edits", "prompts": str(path), "num_prompts": 3}
    parts = {"attribute": EDIT, "scored": {"name": "toxicity"}, "tasks": tasks, "sets": sets}
    return str(write_suite(tmp_path, **parts))


def carried_out(suite: str, folder: Path, method: str, *settings: str, fresh: bool = False) -> Run:
    """The run of one method, without the base."""
    told = [f"suite.sets.{setting}" for setting in settings]
    (experiment,) = make_experiments(Request((method,), suite, settings=told, base=False))
    env = Environment(experiment.suite, AssetCatalogue(folder / "cache", offline=True))
    (outcome,) = run_experiments([experiment], env, folder / "runs", fresh=fresh)
    assert outcome.error is None, outcome.error
    assert outcome.folder
    return load_run(outcome.folder)


def rows(run: Run) -> dict[str, dict[str, Any]]:
    """What was said of each fact."""
    found = [json.loads(line) for line in (run.path / "samples" / "edit.jsonl").read_text().splitlines()]
    return {row["doc_hash"]: {key: row[key] for key in ("responses", "metrics")} for row in found}


def figures(run: Run) -> dict[str, float | None]:
    assert run.result
    return {one.key: one.value for one in run.result.metrics}


def artifact_of(run: Run, folder: Path) -> Path:
    return folder / "cache" / "artifacts" / run.manifest.method["artifact_key"]


@pytest.mark.parametrize("method", ["none", TUNED, ROME, "in_context", "contrastive", f"{TUNED}+in_context"])
def test_one_fact_alone_is_one_fact_at_once(suite, tmp_path, method):
    together = carried_out(suite, tmp_path, method, "num_prompts=1")
    alone = carried_out(suite, tmp_path, method, "num_prompts=1", "at_once=1")
    assert alone.id != together.id
    assert figures(alone) == figures(together)
    assert rows(alone) == rows(together)


@pytest.mark.parametrize("method", [TUNED, ROME, "in_context"])
def test_each_fact_is_measured_on_the_model_that_holds_it_alone(suite, tmp_path, method):
    alone = carried_out(suite, tmp_path, method, "at_once=1")
    (first,) = carried_out(suite, tmp_path, method, "num_prompts=1").evidence["edit/efficacy_likelihood"].cluster_ids
    assert len(rows(alone)) == 3
    one = carried_out(suite, tmp_path, method, "num_prompts=1")
    assert rows(alone)[first] == rows(one)[first]
    for key, evidence in one.evidence.items():
        values = dict(zip(alone.evidence[key].cluster_ids, alone.evidence[key].value, strict=True))
        assert values[first] == pytest.approx(evidence.value[0], rel=1e-4, abs=1e-6)


def test_as_many_at_once_as_there_are_is_all_together(suite, tmp_path):
    assert figures(carried_out(suite, tmp_path, TUNED, "at_once=3")) == figures(carried_out(suite, tmp_path, TUNED))
    assert rows(carried_out(suite, tmp_path, TUNED, "at_once=2")) != rows(carried_out(suite, tmp_path, TUNED))


def test_what_is_recorded_and_kept_of_groups(suite, tmp_path):
    run = carried_out(suite, tmp_path, TUNED, "at_once=2")
    assert run.result
    assert run.manifest.suite["sets"]["at_once"] == 2
    assert run.result.artifact["sets"]["anchors"] == 3
    assert [one["facts"] for one in run.result.artifact["groups"]] == [2, 1]
    assert run.result.artifact["trained_tokens"] == sum(one["trained_tokens"] for one in run.result.artifact["groups"])
    path = artifact_of(run, tmp_path)
    assert [len(group) for group in json.loads((path / GROUPS).read_text())] == [2, 1]
    assert sorted(one.name for one in path.iterdir() if one.is_dir()) == ["group-0", "group-1"]
    assert not groups_in(path).exists()
    with pytest.raises(UsageError, match=r"measured on 2 models, one for each group of facts \(sets\.at_once\)"):
        edited(run, AssetCatalogue(tmp_path / "cache", offline=True))


def cut_off_at(number: int, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Let the edit of the group of this number, from 1, fail; what is asked for is in the list."""
    own, made = FTL.deltas, []

    def deltas(self: FTL, *asked: Any) -> Any:
        made.append(asked)
        if len(made) == number:
            raise MissingError("cut off")
        return own(self, *asked)

    monkeypatch.setattr(FTL, "deltas", deltas)
    return made


def test_groups_that_an_interrupted_run_has_made_are_not_made_again(suite, tmp_path, monkeypatch):
    whole = carried_out(suite, tmp_path / "whole", TUNED, "at_once=1")
    made = cut_off_at(3, monkeypatch)
    with pytest.raises(AssertionError, match="cut off"):
        carried_out(suite, tmp_path, TUNED, "at_once=1")
    assert len(made) == 3
    resumed = carried_out(suite, tmp_path, TUNED, "at_once=1")
    assert len(made) == 4
    assert figures(resumed) == figures(whole)
    assert resumed.result
    assert whole.result
    assert [phase.name for phase in resumed.result.phases if phase.partial] == ["train"], "the seconds of one group"
    assert not any(phase.partial for phase in whole.result.phases)
    assert resumed.result.artifact["hash"] == whole.result.artifact["hash"]
    carried_out(suite, tmp_path, TUNED, "at_once=1", fresh=True)
    assert len(made) == 7


def test_a_fresh_run_takes_no_group_of_an_interrupted_one(suite, tmp_path, monkeypatch):
    made = cut_off_at(2, monkeypatch)
    with pytest.raises(AssertionError, match="cut off"):
        carried_out(suite, tmp_path, TUNED, "at_once=1")
    carried_out(suite, tmp_path, TUNED, "at_once=1", fresh=True)
    assert len(made) == 2 + 3


def test_the_base_model_is_restored_where_measuring_a_group_fails(suite, tmp_path, monkeypatch):
    def fails(*_: Any) -> Any:
        raise MissingError("cut off")

    monkeypatch.setattr(Edit, "_about", fails)
    told = ["suite.sets.at_once=1"]
    (experiment,) = make_experiments(Request((TUNED,), suite, settings=told, base=False))
    env = Environment(experiment.suite, AssetCatalogue(tmp_path / "cache", offline=True))
    before = {name: one.clone() for name, one in env.base.model.state_dict().items()}
    (outcome,) = run_experiments([experiment], env, tmp_path / "runs")
    assert outcome.error
    assert all(one.equal(before[name]) for name, one in env.base.model.state_dict().items())


def test_what_does_not_depend_on_the_facts_is_computed_once(suite, tmp_path, monkeypatch):
    from methods.editing import memory

    own, counted = memory.second_moments, []
    monkeypatch.setattr(memory, "second_moments", lambda *asked: counted.append(1) or own(*asked))
    run = carried_out(suite, tmp_path, ROME, "at_once=1")
    assert len(counted) == 1
    assert run.result
    assert len({one["preserved_keys"] for one in run.result.artifact["groups"]}) == 1


def test_other_tasks_are_refused_and_the_remedy_leaves_them_out(suite, tmp_path):
    raw = json.loads(Path(suite).read_text())
    beside = [{"task": "heldout", "data": str(tmp_path / "texts.jsonl"), "field": "text", "passages": 2}]
    Path(suite).write_text(json.dumps({**raw, "tasks": [*raw["tasks"], *beside]}), encoding="utf-8")
    with pytest.raises(UsageError, match=r"measure one model: heldout; measure the others: --set '") as refused:
        make_experiments(Request((TUNED,), suite, settings=["suite.sets.at_once=1"]))
    remedy = str(refused.value.mend).split("--set '")[1].split("'")[0]
    (_, experiment) = make_experiments(Request((TUNED,), suite, settings=["suite.sets.at_once=1", remedy]))
    assert [task.name for task in experiment.tasks()] == ["edit"]
    assert parse_setting(remedy)[0] == "suite.tasks"
    assert len(make_experiments(Request((TUNED,), suite))) == 2


def test_groups_are_of_facts_alone(tiny_suite):
    with pytest.raises(UsageError, match=r"'sets\.at_once' is for source 'edits'"):
        make_experiments(Request(("none",), str(tiny_suite(sets={"source": "self", "at_once": 1}))))


def test_facts_that_no_group_holds_are_told(suite, tmp_path):
    """The sets of another machine, say, on which the base model says other things."""
    run = carried_out(suite, tmp_path, "in_context", "at_once=1")
    listed = artifact_of(run, tmp_path) / GROUPS
    listed.write_text(json.dumps([["Something else"] for _ in range(3)]), encoding="utf-8")
    from bench.assets import stamp

    stamp.seal(listed.parent)
    with pytest.raises(AssertionError, match="3 of 3 facts are none of those that were edited"):
        told = ["suite.sets.at_once=1"]
        (experiment,) = make_experiments(Request(("in_context:strength=0.5",), suite, settings=told, base=False))
        env = Environment(experiment.suite, AssetCatalogue(tmp_path / "cache", offline=True))
        (outcome,) = run_experiments([experiment], env, tmp_path / "runs")
        assert outcome.error is None, outcome.error
