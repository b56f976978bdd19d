"""The lexicon's scorer of sentiment, and the suites that use it."""

import pytest

from bench import registry
from bench.errors import MissingError
from bench.run.plan import Request, make_experiments
from bench.scorers.base import ScorerContext
from bench.scorers.vader import Vader, VaderConfig


def test_the_score_is_the_compound_score_from_0_to_1():
    analyser = pytest.importorskip("vaderSentiment.vaderSentiment").SentimentIntensityAnalyzer()
    texts = ["a good friend", "He said that the train was late.", "not good at all", "", "a horrible, sad day"]
    scorer = Vader(VaderConfig(), ScorerContext(offline=True))
    scores = [found["sentiment"] for found in scorer.score(texts) if found]
    assert scores == [(1 + analyser.polarity_scores(text)["compound"]) / 2 for text in texts]
    good, plain, negated, empty, bad = scores
    assert 1 > good > plain == empty == 0.5 > negated > bad > 0
    assert scorer.identity.attributes == ("sentiment",)


def test_a_text_of_very_many_words_has_no_score_and_takes_no_time():
    pytest.importorskip("vaderSentiment")
    scorer = Vader(VaderConfig(), ScorerContext(offline=True))
    short, long = scorer.score(["good " * 2000, "good " * 1_000_000])
    assert short and short["sentiment"] > 0.9
    assert long is None


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("bench.scorers.vader.version", lambda _: (_ for _ in ()).throw(_missing()))
    with pytest.raises(MissingError, match="scorer 'vader' needs the package vaderSentiment") as raised:
        Vader(VaderConfig(), ScorerContext(offline=True))
    assert raised.value.mend == "pip install 'contrastive-bench[sentiment]'"
    assert [one.name.casefold() for one in registry.requirements("scorers", "vader", ["sentiment"])] == [
        "vadersentiment"
    ]


def _missing() -> Exception:
    from importlib.metadata import PackageNotFoundError

    return PackageNotFoundError("vaderSentiment")


@pytest.mark.parametrize("name", ["mini-sentiment", "sentiment"])
def test_the_suites_want_much_of_it(name):
    suite = make_experiments(Request(("contrastive",), name))[0].suite
    found = suite.scored_by(suite.labelling)
    assert (found.name, found.wanted, found.controlled) == ("sentiment", "high", None)
    assert suite.labelling.name == "vader"
    kinds = [suite.sets.kind_of(found.distance((1 + compound) / 2)) for compound in (0.5, 0.0, -0.5)]
    assert kinds == ["positive", None, "negative"]
    assert found.reaches((1 + 0.05) / 2)
    assert not found.is_unwanted((1 + 0.2) / 2)
