"""A function of the user's own as a scorer: what it may return, and every way in which its file is none."""

import pytest

from bench.errors import MissingError, UsageError
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
