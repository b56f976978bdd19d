"""A function of the user's own as a scorer: what it may return, and every way in which its file is none."""

import os
import sys

import pytest

from bench.errors import MissingError, UsageError
from bench.run.plan import Request, suite_of
from bench.scorers import load_scorer
from bench.spec import ScorerSpec

GOOD = "def score(texts):\n    return [len(text) / 10 if text else None for text in texts]\n"


@pytest.fixture
def load(tmp_path):
    def loaded(text=GOOD, **options):
        path = tmp_path / "mine.py"
        path.write_text(text, encoding="utf-8")
        return load_scorer(ScorerSpec(name="function", options={"path": str(path), **options}), None)

    return loaded


def test_it_scores_by_the_function(load):
    scorer = load()
    assert scorer.score(["abc", "", "abcde"]) == [{"toxicity": 0.3}, None, {"toxicity": 0.5}]
    assert scorer.identity.label == "score of mine.py"
    shouting = load("def loud(texts):\n    return [1 for _ in texts]\n", function="loud", attribute="shouting")
    assert shouting.score(["a"]) == [{"shouting": 1.0}]


def test_another_file_function_attribute_or_version_is_another_scorer(load):
    made = [load(), load(f"{GOOD}# more\n"), load(attribute="anger"), load(version="2")]
    assert len({one.identity.hash for one in made}) == len(made)
    assert load().identity == made[0].identity


@pytest.mark.parametrize("returned", ["2.0", "-1", "float('nan')", "'high'", "True", "[]"])
def test_what_is_no_score_counts_as_missing(load, returned):
    assert load(f"def score(texts):\n    return [{returned} for _ in texts]\n").score(["a"]) == [None]


@pytest.mark.parametrize("body", ["return [0.5]", "return 3", "raise ValueError(texts)", "return None"])
def test_a_function_that_fails_scores_nothing(load, body):
    assert load(f"def score(texts):\n    {body}\n").score(["a", "b"]) in ([None, None], [{"toxicity": 0.5}] * 2)


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("def scores(texts): ...", UsageError, r"has no function 'score'; did you mean 'scores'"),
        ("score = 3", UsageError, r"has no function 'score'; write 'def score\(texts\)'"),
        ("import nothing_of_this_name", MissingError, r"cannot be run \(ModuleNotFoundError: .*; try 'python "),
        ("def (", MissingError, r"cannot be run \(SyntaxError"),
        ("1 / 0", MissingError, r"cannot be run \(ZeroDivisionError"),
    ],
)
def test_a_file_without_it_is_a_line(load, text, error, said):
    with pytest.raises(error, match=said):
        load(text)


def test_no_file_is_a_line(tmp_path):
    for path, said in ((tmp_path / "none.py", "no such file"), (tmp_path, "no such file")):
        with pytest.raises(UsageError, match=said):
            load_scorer(ScorerSpec(name="function", options={"path": str(path)}), None)
    (tmp_path / "text.txt").write_text(GOOD)
    with pytest.raises(UsageError, match=r"is no Python file; its name ends in \.py"):
        load_scorer(ScorerSpec(name="function", options={"path": str(tmp_path / "text.txt")}), None)


# --- what a file may do while it is run ---

DATACLASS = """\
from __future__ import annotations
from dataclasses import dataclass
from typing import get_type_hints

@dataclass
class Rated:
    value: float

def score(texts):
    assert get_type_hints(Rated) == {"value": float}
    return [Rated(0.5).value for _ in texts]
"""


def test_what_it_defines_is_found_by_its_module(load):
    assert load(DATACLASS).score(["a"]) == [{"toxicity": 0.5}]


@pytest.mark.parametrize("where", ["", "    "])
def test_it_may_import_what_lies_beside_it(load, tmp_path, where):
    (tmp_path / "helper_beside.py").write_text("HALF = 0.5\n")
    lines = ["from helper_beside import HALF"] * (not where) + ["def score(texts):"]
    lines += [f"{where}from helper_beside import HALF"] * bool(where) + ["    return [HALF for _ in texts]", ""]
    before = list(sys.path)
    assert load("\n".join(lines)).score(["a"]) == [{"toxicity": 0.5}]
    assert sys.path == before
    assert "helper_beside" not in sys.modules


def test_each_scorer_has_the_helper_of_its_own_folder_as_it_is_now(tmp_path):
    scorers = []
    for folder, value in (("one", 0.3), ("two", 0.4)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "helper.py").write_text(f"VALUE = {value}\n")
        file = tmp_path / folder / "a.py"
        file.write_text("def score(texts):\n    import helper\n    return [helper.VALUE for _ in texts]\n")
        scorers.append(load_scorer(ScorerSpec(name="function", options={"path": str(file)}), None))
    assert [one.score(["a"]) for one in scorers * 2] == [[{"toxicity": value}] for value in (0.3, 0.4) * 2]
    (tmp_path / "one" / "helper.py").write_text("VALUE = 0.75\n")
    options = {"path": str(tmp_path / "one" / "a.py"), "version": "2"}
    assert load_scorer(ScorerSpec(name="function", options=options), None).score(["a"]) == [{"toxicity": 0.75}]


def test_the_remedy_for_a_module_that_is_not_there_works(tmp_path):
    (tmp_path / "elsewhere.py").write_text(GOOD)
    with pytest.raises(UsageError, match=r"no module 'nowhere' .*suite\.scorer\.options\.path=FILE"):
        load_scorer(ScorerSpec(name="nowhere:score"), None)
    named = ScorerSpec(name="nowhere:score", options={"path": str(tmp_path / "elsewhere.py")})
    assert load_scorer(named, None).score(["abc"]) == [{"toxicity": 0.3}]


def test_a_package_that_lacks_another_says_which(monkeypatch, tmp_path):
    (tmp_path / "lacking").mkdir()
    (tmp_path / "lacking" / "__init__.py").write_text("import not_installed_at_all\n")
    (tmp_path / "lacking" / "scorer.py").write_text(GOOD)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingError, match=r"cannot be run .*No module named 'not_installed_at_all'"):
        load_scorer(ScorerSpec(name="lacking.scorer:score"), None)


def test_what_lies_beside_it_hides_nothing(load, tmp_path):
    for name in ("colorsys", "reports"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('beside')\n")
    sys.modules.pop("colorsys", None)
    assert load(f"import colorsys, reports\n{GOOD}").score(["abc"]) == [{"toxicity": 0.3}]


@pytest.mark.parametrize("code", ["0", "3"])
def test_a_file_that_ends_the_program_is_the_scorers_fault(load, tmp_path, code):
    with pytest.raises(MissingError) as caught:
        load(f"import sys\n{GOOD}sys.exit({code})\n")
    said = f"scorer 'function': {tmp_path / 'mine.py'} asks the program to end (exit code {code})"
    assert (caught.value.what, caught.value.mend) == (
        said,
        "put what is no part of the scorer under: if __name__ == '__main__'",
    )
    load(f"import sys\n{GOOD}if __name__ == '__main__':\n    sys.exit({code})\n")


def test_a_file_that_was_changed_in_the_same_second_is_run_as_it_is(load, tmp_path):
    for value in ("0.3", "0.4"):
        scorer = load(f"def score(texts):\n    return [{value} for _ in texts]\n")
        os.utime(tmp_path / "mine.py", (1, 1))
        scorer = load_scorer(ScorerSpec(name="function", options={"path": str(tmp_path / "mine.py")}), None)
        assert scorer.score(["a"]) == [{"toxicity": float(value)}]


# --- by the name of a module ---


@pytest.fixture
def named(tmp_path, monkeypatch):
    """Loads `MODULE:FUNCTION` in a working folder with some files."""
    monkeypatch.chdir(tmp_path)

    def loaded(name, files=(), **options):
        for file, text in dict(files).items():
            (tmp_path / file).parent.mkdir(exist_ok=True)
            (tmp_path / file).write_text(text, encoding="utf-8")
        return load_scorer(ScorerSpec(name=name, options=options), None)

    return loaded


def test_a_module_of_the_working_folder_is_the_same_scorer_as_its_file(named):
    scorer = named("my_module:score", {"my_module.py": GOOD})
    assert scorer.score(["abc", ""]) == [{"toxicity": 0.3}, None]
    assert scorer.identity == load_scorer(ScorerSpec(name="function", options={"path": "my_module.py"}), None).identity
    assert "my_module" not in sys.modules
    other = named("my_module:score", {"my_module.py": f"{GOOD}# more\n"})
    assert other.identity.hash != scorer.identity.hash
    assert named("my_module:score", attribute="anger").score(["abc"]) == [{"anger": 0.3}]


def test_a_module_of_a_package_imports_its_neighbours(named):
    files = {
        "my_scorers/__init__.py": "from .half import HALF\ndef first(texts):\n    return [HALF for _ in texts]\n",
        "my_scorers/half.py": "HALF = 0.5\n",
        "my_scorers/own.py": "from .half import HALF\nimport my_scorers.half\n"
        "def score(texts):\n    return [HALF for _ in texts]\n",
    }
    try:
        assert named("my_scorers.own:score", files).score(["a"]) == [{"toxicity": 0.5}]
        assert named("my_scorers:first").score(["a"]) == [{"toxicity": 0.5}]
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "my_scorers"]:
            del sys.modules[name]


def test_an_installed_module_is_found(named, monkeypatch, tmp_path):
    installed = tmp_path / "installed"
    installed.mkdir()
    (installed / "their_module.py").write_text(GOOD)
    monkeypatch.syspath_prepend(str(installed))
    assert named("their_module:score").score(["abc"]) == [{"toxicity": 0.3}]


@pytest.mark.parametrize(
    ("name", "files", "said"),
    [
        ("nothing_here:score", {}, "no module 'nothing_here' in the working folder, nor one that is installed"),
        ("nothing.here:score", {}, "no module 'nothing.here' in the working folder"),
        ("my_module:other", {"my_module.py": GOOD}, "has no function 'other'; known: score"),
        ("my_module.py:score", {"my_module.py": GOOD}, "no module 'my_module.py' in the working folder"),
        ("./my_module.py:score", {"my_module.py": GOOD}, "is no module's name; of a file: --set suite.scorer.opt"),
        (":score", {}, "name a file by 'path', or else a module by 'module'|'module' = ''"),
        ("methods:score", {"methods.py": GOOD}, "has the name of another, .*methods; rename it, or name its file"),
        ("bench.own:score", {"bench/own.py": GOOD}, "has the name of another, .*bench; rename it, or name its file"),
        ("json:score", {"json.py": GOOD}, "has the name of another, .*json; rename it, or name its file"),
        ("sys:score", {"sys.py": GOOD}, "has the name of another, sys; rename it, or name its file"),
    ],
)
def test_a_module_without_it_is_a_line(named, name, files, said):
    with pytest.raises(UsageError, match=said) as caught:
        named(name, files)
    assert "\n" not in str(caught.value)


def test_a_suite_names_it(named, tmp_path):
    suite, _ = suite_of(Request([], "smoke"), [("suite.scorer.name", "my_module:score")])
    assert (suite.scorer.name, suite.scorer.threshold) == ("function", 0.5)
    assert suite.scorer.options == {"module": "my_module", "function": "score"}
    two = [{"name": "my_module:score"}, {"name": "my_module:other", "called": "other"}]
    suite, _ = suite_of(Request([], "smoke"), [("suite.scorers", two), ("suite.sets.scorer", "other")])
    assert list(suite.further) == ["function", "other"]
    assert ScorerSpec.model_validate(suite.scorer.model_dump()) == suite.scorer
