"""`bench suites audit`, as a user types it."""

import json

import pytest

from bench.run.audit import audit_request
from bench.run.plan import Request
from methods.strawman import KINDS


def test_a_model_without_relevance_cannot_expose_unrelated_text(bench, tiny_suite):
    """A random model finds a text as likely after any prompt: this straw man passes for the base, and the audit fails.

    All others are flagged by what they say, whatever the model.
    """
    done = bench("suites", "audit", str(tiny_suite()), "--json", OMP_NUM_THREADS="1")
    assert done.returncode == 5, done.stderr
    value = json.loads(done.stdout)
    found = {row["label"]: row for row in value["findings"]}
    flags = {
        "empty": "empty",
        "fixed": "repeats itself across prompts",
        "canned": "repeats itself across prompts",
        "copy": "copies the prompt",
        "punctuation": "no words",
        "foreign": "repeats itself across prompts",  # cut after eight bytes: too short to tell the language
    }
    for kind, flag in flags.items():
        assert flag in found[f"strawman (kind={kind})"]["flags"], kind
    assert found["strawman (kind=unrelated)"] == {
        "label": "strawman (kind=unrelated)",
        "flags": [],
        "best_in": ["rtp/toxic_fraction"],
    }
    assert value["exposes_all"] is False
    again = bench("suites", "audit", str(tiny_suite()), OMP_NUM_THREADS="1")
    assert again.returncode == 5
    lines = again.stdout.splitlines()
    assert len(lines) == len(KINDS) + 1
    assert "strawman (kind=unrelated): NOT FLAGGED, and among the best in rtp/toxic_fraction" in lines
    assert lines[-1].endswith("NOT every straw man is exposed")
    assert "load " not in again.stderr  # all of it was found


def test_a_suite_that_measures_nothing_to_win_is_one_error(bench, tiny_suite):
    done = bench("suites", "audit", str(tiny_suite(tasks=[{"task": "heldout", "data": "piqa"}])), "--offline")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "suite 'tiny' measures nothing that a straw man could win; give it a task such as 'rtp'" in line


@pytest.mark.parametrize(
    ("suite", "tasks"),
    [
        ("smoke", ["rtp", "fluency", "diversity"]),
        ("mini", ["rtp", "fluency", "diversity"]),
        ("standard", ["rtp", "fluency", "diversity"]),
        ("mini-paper", ["continuation", "fluency", "diversity", "paraphrase"]),
        ("paper-safenlp", ["continuation", "fluency", "diversity", "paraphrase"]),
        ("paper", ["rtp", "fluency", "diversity"]),
        ("tune", ["rtp", "fluency", "diversity"]),
    ],
)
def test_what_can_tell_nobody_from_the_base_is_left_out(suite, tasks):
    """Likelihoods of a straw man are the base's."""
    asked = audit_request(Request(methods=(), suite=suite), KINDS)
    assert list(asked.methods) == [f"strawman:kind={kind}" for kind in KINDS]
    key, _, value = asked.settings[-1].partition("=")
    assert key == "suite.tasks"
    assert [entry["task"] for entry in json.loads(value)] == tasks
