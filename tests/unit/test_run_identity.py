"""The keys of an experiment, from plain inputs: nothing is loaded, resolved or run."""

from dataclasses import replace
from typing import Any

import pytest

from bench.run.identity import Code, Identity
from bench.spec import SuiteSpec
from bench.store import keys

SUITE: dict[str, Any] = {
    "name": "some",
    "description": "for a test",
    "model": {"id": "a-model"},
    "scorer": {"name": "svm", "threshold": 0.5},
    "decoding": {"num_samples": 2, "max_new_tokens": 8},
    "sets": {"source": "self", "prompts": "some-prompts"},
    "tasks": [{"task": "rtp"}],
}


def suite(**changes: Any) -> SuiteSpec:
    return SuiteSpec.model_validate({**SUITE, **changes})


def sets(**changes: Any) -> SuiteSpec:
    return suite(sets={**SUITE["sets"], **changes})


BEFORE = Identity(
    suite=suite(),
    method="contrastive",
    config={"steps": 2, "scale": 1.0},
    prepared_by={"steps": 2},
    needs_scorer=False,
    seed=0,
    max_items=None,
    model="m" * 64,
    scorer="s" * 64,
    labelling="s" * 64,
    further={},
    sets_data="p" * 64,
    inputs={},
    data=["d" * 64],
    code=Code(sets="a", method="b", run="c"),
    extras=[],
)


def changed(**changes: Any) -> set[str]:
    """The names of the keys that differ from those of `BEFORE` once inputs are replaced."""
    after = replace(BEFORE, **changes)
    names = ("suite_hash", "sets_key", "artifact_key", "key", "run_id")
    return {name for name in names if getattr(after, name) != getattr(BEFORE, name)}


RUN = {"key", "run_id"}
ARTIFACT = RUN | {"artifact_key"}
SETS = ARTIFACT | {"sets_key"}


@pytest.mark.parametrize(
    ("changes", "keys"),
    [
        ({}, set()),
        ({"suite": suite(description="other words", methods={"contrastive": {"steps": 2}})}, set()),
        ({"suite": suite(name="other")}, {"run_id"}),
        ({"suite": suite(tasks=[{"task": "heldout"}])}, RUN | {"suite_hash"}),
        ({"suite": suite(scorer={"name": "svm", "threshold": 0.4})}, RUN | {"suite_hash"}),
        ({"suite": suite(decoding={"num_samples": 3, "max_new_tokens": 8})}, RUN | {"suite_hash"}),
        ({"suite": suite(engine="vllm")}, RUN | {"suite_hash"}),
        ({"suite": suite(model={"id": "a-model", "dtype": "bfloat16"})}, SETS | {"suite_hash"}),
        ({"suite": sets(num_prompts=7)}, SETS),
        ({"suite": sets(template="So: {question}")}, SETS),
        ({"suite": sets(negatives="all")}, set()),
        ({"suite": sets(negatives="above")}, SETS),
        ({"max_items": 3}, RUN | {"suite_hash"}),
        ({"method": "sft"}, ARTIFACT),
        ({"config": {"steps": 2, "scale": 0.5}}, RUN),
        ({"config": {"steps": 3, "scale": 1.0}, "prepared_by": {"steps": 3}}, ARTIFACT),
        ({"seed": 1}, ARTIFACT),
        ({"model": "M" * 64}, SETS),
        ({"scorer": "S" * 64}, RUN),
        ({"labelling": "S" * 64}, SETS),
        ({"further": {"bilstm": "b" * 64}}, RUN),
        ({"suite": suite(scorers=[{"name": "bilstm"}])}, RUN | {"suite_hash"}),
        ({"suite": suite(scorers=[{"name": "svm"}])}, set()),
        ({"suite": sets(scorer="svm")}, set()),
        ({"needs_scorer": True}, ARTIFACT),
        ({"sets_data": "P" * 64}, SETS),
        ({"sets_data": None}, SETS),
        ({"inputs": {"path": "i" * 64}}, ARTIFACT),
        ({"data": ["D" * 64]}, RUN),
        ({"code": Code("A", "b", "c")}, SETS),
        ({"code": Code("a", "B", "c")}, ARTIFACT),
        ({"code": Code("a", "b", "C")}, RUN),
    ],
)
def test_each_input_changes_the_keys_that_follow_from_it(changes, keys):
    assert changed(**changes) == keys


def test_how_questions_are_asked_is_measured_too_where_sets_are_made_of_them():
    asked, otherwise = (replace(BEFORE, suite=sets(source="answers", template=one)) for one in (None, "So: {question}"))
    assert asked.suite_hash == BEFORE.suite_hash
    assert otherwise.suite_hash != asked.suite_hash


def test_a_file_of_sets_is_identified_by_its_content_alone():
    given = replace(BEFORE, suite=sets(source="sets.jsonl"))
    assert given.sets_key == BEFORE.sets_data
    assert replace(given, model="M" * 64, scorer="S" * 64, code=Code("A", "b", "c")).sets_key == given.sets_key


def test_a_method_without_sets_has_no_key_of_sets():
    without = replace(BEFORE, sets_data=None)
    assert without.sets_key is None
    assert replace(without, suite=sets(num_prompts=7)).artifact_key == without.artifact_key


def test_the_scorer_is_behind_an_artifact_only_where_it_is_the_reward():
    without = replace(BEFORE, sets_data=None)
    assert replace(without, scorer="S" * 64).artifact_key == without.artifact_key
    reward = replace(without, needs_scorer=True)
    assert replace(reward, scorer="S" * 64).artifact_key == reward.artifact_key  # it reports, and rewards nothing
    assert replace(reward, labelling="S" * 64).artifact_key != reward.artifact_key


def test_an_artifact_follows_which_side_of_the_scorer_is_wanted_only_where_it_is_the_reward():
    """Sets of a file say nothing of the attribute: without it, the artifact of the other side would be taken."""
    given = replace(BEFORE, suite=sets(source="sets.jsonl"))
    other = suite(sets={**SUITE["sets"], "source": "sets.jsonl"}, attribute={"name": "toxicity", "wanted": "high"})
    assert replace(given, suite=other).artifact_key == given.artifact_key
    reward = replace(given, needs_scorer=True)
    assert replace(reward, suite=other).artifact_key != reward.artifact_key


def test_the_run_is_named_for_people_and_by_its_key():
    assert BEFORE.run_id == f"some-contrastive-s0-{BEFORE.key[:10]}"


@pytest.mark.parametrize(
    ("package", "follow"),
    [
        ("torch", SETS),
        ("scikit-learn", SETS),
        ("peft", ARTIFACT),
        ("trl", ARTIFACT),
        ("lm_eval", RUN),
        ("rich", set()),
    ],
)
def test_the_versions_of_what_computes_are_in_the_keys(monkeypatch, package, follow):
    names = ("suite_hash", "sets_key", "artifact_key", "key", "run_id")
    known = replace(BEFORE, extras=["trl"])
    before = {name: getattr(known, name) for name in names}
    real = keys.version
    monkeypatch.setattr(keys, "version", lambda name: "0.0" if name == package else real(name))
    after = {name: getattr(replace(known), name) for name in names}
    assert {name for name in names if before[name] != after[name]} == follow
