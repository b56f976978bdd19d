"""What there is to choose from."""

import json
from typing import Literal

import pytest
import yaml
from pydantic import Field

from bench import suites
from bench.cli import show
from bench.cli.app import app
from bench.cli.show import options
from bench.errors import MissingError, UsageError
from bench.spec import Decoding, Spec, SuiteSpec


class Knobs(Spec):
    must: str
    kind: Literal["a", "b"] = Field("a", description="which of them")
    rate: float = Field(1e-4, gt=0, le=1)
    steps: int | None = Field(None, ge=1)
    many: list[str] = Field([])
    decoding: Decoding = Decoding()


def test_options_say_type_bounds_default_and_description():
    rows = {row["name"]: row for row in options(Knobs)}
    assert list(rows) == ["must", "kind", "rate", "steps", "many", "decoding"]
    assert rows["must"] == {"name": "must", "type": "string", "required": True, "default": None, "description": None}
    assert (rows["kind"]["type"], rows["kind"]["default"]) == ("a | b", "a")
    assert rows["kind"]["description"] == "which of them"
    assert rows["rate"]["type"] == "number > 0, <= 1"
    assert (rows["steps"]["type"], rows["steps"]["default"]) == ("integer >= 1 | null", None)
    assert rows["many"]["type"] == "list of string"
    assert rows["decoding"]["type"] == "object"


@pytest.fixture
def call(capsys, monkeypatch):
    """Run a verb in this process, where its modules are loaded already, and return its stdout."""
    monkeypatch.setenv("COLUMNS", "80")

    def run(*args: str) -> str:
        app(list(args), prog_name="bench", standalone_mode=False)
        return capsys.readouterr().out

    return run


def test_on_a_narrow_terminal_what_is_said_of_a_name_stands_below_it(call, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    lines = call("methods").splitlines()
    place = next(n for n, line in enumerate(lines) if line.startswith("contrastive  "))
    assert lines[place] == "contrastive  fine-tuning  scale"
    assert lines[place + 1].startswith("    contrastive perplexity")
    assert max(len(line) for line in lines if line.startswith(" ")) <= 40, "names stay whole"


INSTALLED = {
    "methods": {"none", "contrastive"},
    "tasks": {"rtp", "fluency", "heldout", "diversity", "lm_eval"},
    "scorers": {"svm", "detoxify", "classifier"},
    "suites": {
        "smoke",
        "mini",
        "mini-paper",
        "tune",
        "standard",
        "paper",
        "paper-safenlp",
        "paper-safenlp-llama-2-7b",
        "paper-safenlp-falcon-7b",
    },
}


@pytest.mark.parametrize("kind", INSTALLED)
def test_the_list_holds_what_is_installed(call, kind):
    rows = json.loads(call(kind, "--json"))
    assert rows == json.loads(call(kind, "ls", "--json"))
    names = {row["name"] for row in rows}
    assert INSTALLED[kind] <= names
    assert [row for row in rows if row.get("broken")] == []
    assert all(row.get("summary") or row.get("description") for row in rows)
    listed = call(kind)
    assert all(name in listed for name in names)
    assert max(map(len, listed.splitlines())) <= 80


def test_the_installed_command_lists_methods(bench):
    done = bench("methods")
    assert done.returncode == 0
    assert {line.split()[0] for line in done.stdout.splitlines() if line[0] != " "} >= INSTALLED["methods"]


def test_a_method_shows_every_option(call):
    facts = json.loads(call("methods", "show", "contrastive", "--json"))
    assert facts["needs_sets"] is True
    assert "2401.08491" in facts["paper"]
    assert facts["strength"] in {option["name"] for option in facts["options"]}
    page = call("methods", "show", "contrastive")
    assert all(f"  {option['name']}  " in page for option in facts["options"])
    assert all(option["description"] for option in facts["options"])
    assert max(map(len, page.splitlines())) <= 80


def test_a_method_shows_where_it_departs_from_what_was_published(call):
    facts = json.loads(call("methods", "show", "gedi", "--json"))
    assert all(set(one) == {"published", "here", "why"} for one in facts["departures"])
    page = " ".join(call("methods", "show", "gedi").split())
    assert facts["departures"]
    assert all(one[key] in page for one in facts["departures"] for key in one)
    assert "departs" not in call("methods", "show", "none")


def test_stacked_methods_show_the_options_of_each(call):
    facts = json.loads(call("methods", "show", "contrastive+steering", "--json"))
    assert {"contrastive.steps", "steering.multiplier"} <= {one["name"] for one in facts["options"]}
    assert facts["kind"] == "representation"
    with pytest.raises(UsageError, match="say contrastive\\+steering"):
        call("methods", "show", "steering+contrastive")


def test_a_task_shows_its_options(call):
    facts = json.loads(call("tasks", "show", "rtp", "--json"))
    assert facts["options"]
    assert "Options (keys of its entry in a suite's tasks):" in call("tasks", "show", "rtp")


def test_a_scorer_is_shown(call):
    assert json.loads(call("scorers", "show", "svm", "--json"))["name"] == "svm"
    assert call("scorers", "show", "svm").startswith("svm  ")


@pytest.mark.parametrize("name", suites.names())
def test_a_suite_is_shown_with_its_defaults(call, name):
    shown = yaml.safe_load(call("suites", "show", name))
    assert shown == json.loads(call("suites", "show", name, "--json"))
    assert set(shown) == set(SuiteSpec.model_fields)
    assert shown["name"] == name


def test_a_suite_in_a_file_is_shown_or_refused(call, tmp_path):
    shown = call("suites", "show", "smoke")
    own = tmp_path / "own.yaml"
    own.write_text(shown)
    assert call("suites", "show", str(own)) == shown
    own.write_text(shown.replace("decoding:", "decodng:", 1))
    with pytest.raises(UsageError, match=r"own.yaml: .*unknown key 'decodng', did you mean 'decoding'\?"):
        call("suites", "show", str(own))


def test_what_cannot_be_loaded_is_listed_with_the_reason(monkeypatch):
    def load(kind, name):
        raise MissingError(f"{kind} '{name}' cannot be loaded (no module)")

    monkeypatch.setattr(show.registry, "load", load)
    row = next(row for row in show._rows("scorers", show._scorer) if row["name"] == "svm")
    assert row["broken"]
    assert "cannot be loaded" in row["summary"]
