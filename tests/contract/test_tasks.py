"""What holds for every task, installed ones included."""

import pytest

from bench import registry
from bench.errors import UsageError
from bench.spec import validate
from bench.tasks.base import Task, TaskConfig


@pytest.fixture(params=registry.names("tasks"))
def kind(request: pytest.FixtureRequest) -> type[Task]:
    """Each installed task."""
    return registry.load("tasks", request.param)


def test_it_says_what_it_is(kind, request):
    assert kind.info.name == request.node.callspec.params["kind"]
    assert kind.info.measures in ("policy", "both", "samples")
    assert kind.info.summary
    assert kind.info.source
    assert "\n" not in kind.info.summary + kind.info.source
    assert kind.__doc__


def test_every_option_is_described(kind):
    assert issubclass(kind.Config, TaskConfig)
    assert kind.Config.model_config["extra"] == "forbid"
    own = {name: field for name, field in kind.Config.model_fields.items() if name != "task"}
    assert [name for name, field in own.items() if not field.description] == []


def test_an_unknown_option_is_refused_with_a_suggestion(kind):
    for name in kind.Config.model_fields:
        with pytest.raises(UsageError, match=f"unknown key '{name}x', did you mean '{name}'"):
            validate(kind.Config, {"task": kind.info.name, f"{name}x": 1}, "task")
