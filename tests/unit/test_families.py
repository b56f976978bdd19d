"""Methods named together: all that run as they are, and a word for each that does not."""

import pytest

from bench import registry
from bench.errors import UsageError
from bench.run.families import expand
from bench.run.plan import Request, make_experiments


def request(*methods, suite="mini", settings=()):
    return Request(methods=list(methods), suite=suite, model=None, seeds=[0], settings=list(settings), max_items=None)


def test_all_are_those_that_run_as_they_are():
    found, notes = expand(request("all"))
    left_out = {note.removeprefix("--method all leaves out ").partition(":")[0] for note in notes}
    kinds = {name: registry.load("methods", name).info.kind for name in registry.names("methods")}
    assert {*found.methods} | left_out == {name for name, kind in kinds.items() if kind not in ("none", "straw man")}
    assert {"adapter", "checkpoint"} <= left_out
    assert "--method all leaves out adapter: it needs adapter:path=VALUE" in notes
    assert [one.method for one in make_experiments(found)] == ["none", *found.methods]


def test_a_kind_stands_for_its_methods_and_nothing_is_there_twice():
    found, _ = expand(request("dpo", "fine-tuning", "dexperts"))
    assert found.methods[0] == "dpo"
    assert found.methods[-1] == "dexperts"
    assert len(found.methods) == len({*found.methods})
    assert {registry.load("methods", name).info.kind for name in found.methods[:-1]} == {"fine-tuning"}


def test_an_option_in_the_suite_lets_a_method_in(tiny_suite, tiny_adapter):
    suite = str(tiny_suite(methods={"adapter": {"path": str(tiny_adapter)}}))
    found, notes = expand(request("weights", suite=suite))
    assert "adapter" in found.methods
    assert not any("leaves out adapter" in note for note in notes)


def test_who_learns_from_a_scorer_is_left_out_where_there_is_none():
    found, notes = expand(request("all", suite="mini-facts"))
    assert "grpo" not in found.methods
    assert any("leaves out grpo: method 'grpo' needs a scorer" in note for note in notes)


@pytest.mark.parametrize("setting", ["preadd.prefix=Be loud.", "prefix=Be loud."])
def test_a_text_that_the_user_gives_lets_a_method_in(setting, tiny_suite):
    """The refusal names this setting as what lets it run."""
    suite = str(tiny_suite(attribute={"name": "shouting"}, scorer={"name": "svm"}))
    assert "preadd" not in expand(request("all", suite=suite))[0].methods
    assert "preadd" in expand(request("all", suite=suite, settings=[setting]))[0].methods


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("fine-tunning", "unknown method 'fine-tunning'; did you mean 'fine-tuning'?"),
        ("alll", "unknown method 'alll'; did you mean 'all'?"),
        (
            "fine-tuning:steps=3:lr=0.001",
            "'fine-tuning' is a family of methods, and options after a colon are of one method; "
            "say --method fine-tuning --set steps=3 --set lr=0.001, which sets it in each method that has it",
        ),
        (
            "contrastive+weights",
            "'weights' in 'contrastive+weights' is a family of methods; name one of its methods in contrastive+weights",
        ),
    ],
)
def test_a_family_that_is_misspelt_or_misused_is_told_as_one(asked, told):
    with pytest.raises(UsageError) as caught:
        expand(request("dpo", asked))
    assert str(caught.value) == told


def test_what_the_remedy_says_sets_the_option_where_there_is_one():
    found, _ = expand(request("fine-tuning", settings=["steps=3"]))
    steps = {one.method: one.config.model_dump().get("steps") for one in make_experiments(found)}
    assert set(steps.values()) <= {3, None}
    assert steps["dpo"] == 3


@pytest.mark.parametrize("asked", [("contrastive",), ("contrastive:steps=2", "dpo"), ("unknown",)])
def test_other_names_stay_as_they_are(asked):
    assert expand(request(*asked)) == (request(*asked), [])
