"""From methods to points: which values, and that a point is the experiment that a plain run would make."""

from typing import Any, ClassVar

import pytest
from pydantic import Field

from bench import registry
from bench.errors import UsageError
from bench.method import MethodInfo
from bench.run.plan import Request, make_experiments
from bench.run.sweep import Sweep, choose, make_sweep
from bench.spec import Spec


class Config(Spec):
    share: float = Field(0.5, gt=0, le=1)
    layers: int = 8
    mode: str = "a"
    zero: float = 0.0


class Named:
    """A method that names points of its strength."""

    info: ClassVar[MethodInfo] = MethodInfo("named", "prompt", "-", "-", strength="share", strengths=(0.9, 0.1))
    Config = Config


class Odd(Named):
    """Its strength is 0 unless told otherwise."""

    info: ClassVar[MethodInfo] = MethodInfo("odd", "prompt", "-", "-", strength="zero")


@pytest.fixture
def methods(monkeypatch: pytest.MonkeyPatch) -> None:
    """`named` and `odd`, as if they were installed."""
    known: dict[str, Any] = {"named": Named, "odd": Odd}
    load, names = registry.load, registry.names
    monkeypatch.setattr(registry, "load", lambda kind, name: known.get(name) or load(kind, name))
    monkeypatch.setattr(registry, "names", lambda kind: [*names(kind), *known])


def sweep(*methods: str, over: str = "strength", values: list[str] | None = None, count: int = 5, **more: Any) -> Sweep:
    return make_sweep(Request(methods, "smoke", **more), over, values, count)


def values_of(found: Sweep, method: str, option: str) -> list[Any]:
    return [
        getattr(experiment.config, option)
        for experiment in make_experiments(found.request)
        if experiment.method == method
    ]


@pytest.mark.parametrize(
    ("count", "values"),
    [
        (2, [0.5, 1.0]),
        (3, [0.5, 1.0, 2.0]),
        (5, [0.25, 0.5, 1.0, 1.5, 2.0]),
        (7, [0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0]),
    ],
)
def test_points_lie_around_the_value_of_a_plain_run(count, values):
    assert values_of(sweep("contrastive", count=count), "contrastive", "scale") == values


def test_a_set_value_moves_them():
    found = sweep("contrastive", count=3, settings=("scale=0.3",))
    assert values_of(found, "contrastive", "scale") == [0.15, 0.3, 0.6]
    assert values_of(sweep("contrastive:steps=5", count=2), "contrastive", "steps") == [5, 5]


def test_a_value_of_its_own_is_its_one_point():
    """So a model of another architecture, which has nothing between it and the base, can be in a sweep."""
    found = sweep("contrastive", "contrastive:scale=7", "checkpoint:path=x:scale=1", count=2)
    assert values_of(found, "contrastive", "scale") == [0.5, 1.0, 7.0]
    assert values_of(found, "checkpoint", "scale") == [1.0]
    assert values_of(sweep("dpo:scale=7", values=["1", "2"]), "dpo", "scale") == [7.0]


def test_the_plain_runs_point_is_its_experiment():
    (plain,) = make_experiments(Request(("dpo",), "smoke", base=False))
    experiments = make_experiments(sweep("dpo").request)
    assert experiments[0].method == "none"
    assert plain in experiments
    assert [experiment.label for experiment in experiments][1:] == [
        "dpo (scale=0.25)",
        "dpo (scale=0.5)",
        "dpo",
        "dpo (scale=1.5)",
        "dpo (scale=2)",
    ]


@pytest.mark.usefixtures("methods")
def test_a_methods_own_points_go_first_and_bounds_are_kept():
    (experiment,) = make_experiments(Request(("named",), "smoke", base=False))
    assert choose(experiment, "share", 2) == [0.5, 0.9]
    assert choose(experiment, "share", 3) == [0.1, 0.5, 0.9]
    assert choose(experiment, "share", 6) == [0.1, 0.125, 0.25, 0.5, 0.9, 1.0]
    assert choose(experiment, "layers", 5) == [2, 4, 8, 12, 16]
    assert all(isinstance(value, int) for value in choose(experiment, "layers", 5))
    assert len(choose(experiment, "share", 1000)) < 20


@pytest.mark.usefixtures("methods")
@pytest.mark.parametrize(("method", "over"), [("odd", "strength"), ("named", "mode")])
def test_where_nothing_can_be_chosen_values_are_asked_for(method, over):
    with pytest.raises(UsageError, match=r"no points can be chosen; give --values"):
        sweep(method, over=over)
    assert len(sweep(method, over=over, values=["1", "2"]).request.methods) == 2


@pytest.mark.usefixtures("methods")
def test_any_option_can_be_swept_and_a_method_without_it_is_one_point():
    found = sweep("contrastive", "named", over="tau", values=["0.5", "1", "2"])
    assert values_of(found, "contrastive", "tau") == [0.5, 1.0, 2.0]
    assert values_of(found, "named", "share") == [0.5]
    assert found.over == {"contrastive": "tau", "named": None}
    texts = sweep("contrastive", over="objective", values=["paper", "signed"])
    assert values_of(texts, "contrastive", "objective") == ["paper", "signed"]


def test_variants_and_seeds_multiply():
    found = sweep("contrastive", "contrastive:objective=paper", count=2, seeds=(0, 1))
    assert len(make_experiments(found.request)) == 2 * (1 + 2 * 2)
    assert values_of(sweep("none", "dpo", count=2), "dpo", "scale") == [0.5, 1.0]
    assert [experiment.method for experiment in make_experiments(sweep("none", "dpo", count=2).request)] == [
        "none",
        "dpo",
        "dpo",
    ]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"methods": ("contrastve",)}, "unknown method 'contrastve'"),
        (
            {"methods": ("contrastive",), "over": "taau"},
            r"none of contrastive has the option 'taau' .*did you mean 'tau'",
        ),
        ({"methods": ("contrastive",), "values": ["1", "1.0"]}, "is asked for twice"),
        ({"methods": ("contrastive",), "values": ["high"]}, "'scale' = 'high'"),
        ({"methods": ("contrastive",), "over": "tau", "values": ["-1"]}, "'tau' = -1"),
        ({"methods": ("dpo", "dpo")}, "'dpo' is asked for twice"),
        (
            {"methods": ("dpo",), "settings": ("suite.tasks=[{task: heldout}]",)},
            "no task of suite 'smoke' measures toxicity, which it controls",
        ),
    ],
)
def test_a_mistake_is_refused(asked, said):
    with pytest.raises(UsageError, match=said):
        make_experiments(sweep(*asked.pop("methods"), **asked).request)
