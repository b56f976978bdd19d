"""A scorer that is not available is refused before any model is looked for, and the remedy in the message works."""

import re
from pathlib import Path
from typing import Any

import pytest

from bench.assets.catalogue import AssetCatalogue
from bench.cli.scorer_check import check
from bench.errors import BenchError, UsageError
from bench.run.environment import Environment
from bench.run.plan import Request, parse_setting, put, suite_of
from bench.scorers import load_scorer, said_in
from bench.sets.written.recipe import Recipe
from bench.sets.written.runner import RecipeRunner
from bench.spec import ScorerSpec, SuiteSpec, validate


def suite_with(**settings: Any) -> SuiteSpec:
    return suite_of(Request([], "smoke"), [(f"suite.{key.replace('__', '.')}", one) for key, one in settings.items()])[
        0
    ]


def refused(work: Any, *arguments: Any, **options: Any) -> BenchError:
    with pytest.raises(BenchError) as caught:
        work(*arguments, **options)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.fixture
def no_model(monkeypatch):
    """No model may be looked for."""

    def model(*_: Any) -> None:
        raise AssertionError("a model was looked for")

    monkeypatch.setattr(AssetCatalogue, "model", model)
    monkeypatch.setattr(AssetCatalogue, "generator", model)


@pytest.mark.parametrize(
    ("scorer", "said"),
    [
        ({"name": "svn"}, "unknown scorer 'svn'; did you mean 'svm'"),
        ({"name": "svm", "options": {"x": 1}}, "scorer 'svm' has no option 'x'; it takes none"),
        ({"name": "detoxify", "options": {"variant": 3}}, "scorer 'detoxify': 'variant' = 3"),
        ({"name": "classifier"}, "scorer 'classifier' needs the option 'model'"),
        ({"name": "function"}, "name a file by 'path', or else a module by 'module'"),
    ],
)
def test_a_plan_refuses_it(scorer, said):
    assert said in str(refused(suite_with, scorer=scorer, scorers=[], sets__scorer=None))
    assert said in str(refused(suite_with, scorers=[{"name": "svm", "called": "first"}, scorer], sets__scorer="first"))


def test_what_its_loading_refuses_is_known_before_a_model_is_looked_for(no_model, tmp_path):
    suite = suite_with(scorer={"name": "function", "options": {"path": "none.py"}}, scorers=[], sets__scorer=None)
    env = Environment(suite, AssetCatalogue(tmp_path / "cache", offline=True), offline=True)
    assert "no such file: none.py" in str(refused(env.resolve))
    recipe = Recipe.model_validate({"scorer": {"name": "function", "options": {"path": "none.py"}}})
    error = refused(RecipeRunner, recipe, AssetCatalogue(tmp_path / "cache", offline=True), offline=True)
    assert "no such file: none.py; --set scorer.options.path=FILE" in str(error)


def followed(error: BenchError, value: str) -> tuple[str, Any]:
    """The setting that a remedy says."""
    found = re.fullmatch(r"--set (\S+)=[A-Z]+", error.mend or "")
    assert found, error.mend
    return parse_setting(f"{found[1]}={value}")


def test_the_remedy_for_a_missing_option_helps_where_it_is_given():
    error = refused(suite_with, scorer={"name": "classifier"}, scorers=[], sets__scorer=None)
    raw: dict[str, Any] = {"scorer": {"name": "classifier"}}
    key, value = followed(error, "x")
    put(raw, key.removeprefix("suite.").split("."), value, key)
    assert suite_with(scorer=raw["scorer"], scorers=[], sets__scorer=None).scorer.options == {"model": "x"}

    error = refused(check, "classifier", offline=True)
    key, value = followed(error, "/nowhere")
    assert "needs the option" not in str(refused(check, "classifier", settings=[f"{key}={value}"], offline=True))
    assert "has no option" not in str(refused(check, "classifier", settings=[f"{key}={value}"], offline=True))

    recipe = Recipe.model_validate({"scorer": {"name": "classifier"}})
    key, value = followed(refused(RecipeRunner, recipe, AssetCatalogue(Path("nowhere"), offline=True)), "x")
    raw = {"scorer": {"name": "classifier"}}
    put(raw, key.split("."), value, key)
    assert validate(Recipe, raw, "recipe").scorer.options == {"model": "x"}


def test_of_a_further_scorer_it_says_where_its_options_stand():
    listed = [{"name": "svm"}, {"name": "classifier"}]
    error = refused(suite_with, scorers=listed)
    assert error.mend == "write 'options: {model: VALUE}' beside its name in 'scorers'"
    suite = suite_with(scorers=[{"name": "svm"}, {"name": "classifier", "options": {"model": "x"}}])
    assert suite.further["classifier"].options == {"model": "x"}


def test_so_do_refusals_of_a_loaded_scorer(tiny_model):
    suite = suite_with(scorers=[{"name": "svm"}, {"name": "guard", "options": {"model": "x", "form": "qwen3guard"}}])
    options = {"model": str(tiny_model), "form": "qwen3guard"}
    for option, said in (
        (said_in(suite, suite.further["guard"]), "write 'options: {template: ...}' beside its name in 'scorers'"),
        ("--set {name}={value}", "--set template=..."),
    ):
        with pytest.raises(UsageError) as caught:
            load_scorer(ScorerSpec(name="guard", options=options), None, offline=True, option=option)
        assert caught.value.mend == f"{said}, with {{text}} in it"


def test_a_home_that_nobody_has_is_a_line():
    for name, option in (("bilstm", "weights"), ("function", "path")):
        spec = ScorerSpec(name=name, options={option: "~nobody-of-this-name/x.py"})
        assert "~nobody-of-this-name" in str(refused(load_scorer, spec, None, offline=True))
