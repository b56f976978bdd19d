"""Scores are numbers in [0, 1] or missing, whatever the scorer and the cache do."""

import math
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from threading import Event, current_thread

import pytest

from bench.engine.patience import PATIENCE
from bench.errors import MissingError, UsageError
from bench.scorers import load_scorer
from bench.scorers.base import Scorer, ScorerContext, ScorerIdentity
from bench.scorers.checked import CheckedScorer
from bench.spec import ScorerSpec, Spec


class Scripted(Scorer):
    """Scores a text by its length in hundredths; texts in `bad` come back as told, or raise."""

    batch_size = 4

    def __init__(self, bad=None, hash="h", attributes=("toxicity",)):
        self.known = ScorerIdentity("scripted", "length", hash, attributes, "none")
        self.bad = bad or {}
        self.calls = []
        super().__init__(Spec(), ScorerContext())

    def load(self, ctx):
        return self.known

    def score(self, texts):
        self.calls.append(list(texts))
        return [self.one(text) for text in texts]

    def one(self, text):
        answer = self.bad.get(text, {"toxicity": len(text) / 100, "insult": 0.5})
        if isinstance(answer, list):  # answers one after the other
            answer = answer.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Notes:
    """Progress that keeps what it is told."""

    def __init__(self):
        self.notes, self.done = [], 0.0

    def bar(self, label, total=None, unit=""):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def advance(self, amount=1):
        self.done += amount

    def note(self, text):
        self.notes.append(text)


def test_scores_come_in_order_and_equal_texts_are_scored_once(tmp_path):
    scorer, progress = Scripted(), Notes()
    texts = ["bbbb", "a", "ccc", "a", "", "dd", "eeeee"]
    scores = CheckedScorer(scorer, tmp_path / "s.sqlite3", progress).score(texts)
    assert [one["toxicity"] for one in scores] == [len(text) / 100 for text in texts]
    assert sorted(text for call in scorer.calls for text in call) == sorted(set(texts))
    assert progress.done == len(set(texts))
    assert progress.notes == []


@pytest.mark.parametrize(
    "answer",
    [
        None,
        {},
        {"insult": 0.1},
        {"toxicity": math.nan},
        {"toxicity": 1.01},
        {"toxicity": -0.01},
        {"toxicity": math.inf},
        {"toxicity": "0.1"},
        {"toxicity": None},
        {"toxicity": True},
        {"toxicity": 10**400},
        {"toxicity": Fraction(10**400, 3)},
        {"toxicity": -(10**400)},
        RuntimeError("boom"),
        SystemExit(0),
    ],
)
def test_what_is_no_score_is_missing_after_two_retries_and_never_cached(tmp_path, answer):
    scorer, progress = Scripted({"x": answer}), Notes()
    path = tmp_path / "s.sqlite3"
    scores = CheckedScorer(scorer, path, progress).score(["ok", "x", "fine"])
    assert scores == [{"toxicity": 0.02}, None, {"toxicity": 0.04}]
    assert scorer.calls.count(["x"]) == 2
    assert any("1 of 3" in note for note in progress.notes)
    assert progress.done == 3
    mended = Scripted()
    assert CheckedScorer(mended, path).score(["ok", "x", "fine"])[1] == {"toxicity": 0.01}
    assert mended.calls == [["x"]]


def test_a_text_that_comes_right_on_the_second_retry_is_scored():
    scorer = Scripted({"x": [RuntimeError(), None, {"toxicity": 0.9}]})
    assert CheckedScorer(scorer, None).score(["x", "y"]) == [{"toxicity": 0.9}, {"toxicity": 0.01}]


@pytest.mark.parametrize("returned", [None, 0.5, object()])
def test_what_is_no_list_of_scores_is_missing(returned):
    class Broken(Scripted):
        def score(self, texts):
            return returned

    progress = Notes()
    assert CheckedScorer(Broken(), None, progress).score(["a", "b"]) == [None, None]
    assert any("failed on 2 texts (TypeError)" in note for note in progress.notes)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"known": None}, "load() returned NoneType"),
        ({"attributes": ()}, "its attributes are no names"),
        ({"batch_size": 0}, "its batch_size is 0"),
        ({"batch_size": "8"}, "its batch_size is '8'"),
    ],
)
def test_a_scorer_that_does_not_say_what_it_is_is_refused(change, said):
    class Broken(Scripted):
        batch_size = change.get("batch_size", 4)

        def load(self, ctx):
            return None if "known" in change else self.known

    with pytest.raises(MissingError) as caught:
        CheckedScorer(Broken(attributes=change.get("attributes", ("toxicity",))), None)
    assert said in str(caught.value)


def test_a_batch_of_the_wrong_length_is_not_believed():
    class Short(Scripted):
        def score(self, texts):
            return super().score(texts)[: 1 if len(texts) > 1 else None]

    assert CheckedScorer(Short(), None).score(["a", "bb"]) == [{"toxicity": 0.01}, {"toxicity": 0.02}]


def test_a_known_cause_is_not_retried():
    scorer = Scripted({"x": MissingError("gone", mend="get it")})
    with pytest.raises(MissingError, match="gone"):
        CheckedScorer(scorer, None).score(["x"])
    assert len(scorer.calls) == 1


def test_a_scorer_that_hangs_is_given_up_and_what_it_scored_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(PATIENCE, "seconds", 0.2)
    asleep = Event()

    class Hanging(Scripted):
        def one(self, text):
            if text == "hangs for ever":
                asleep.wait(60)
            return super().one(text)

    scorer = Hanging()
    checked = CheckedScorer(scorer, tmp_path / "s.sqlite3")
    short = ["a", "bb", "ccc", "dddd"]
    try:
        with pytest.raises(MissingError, match=r"scripted took longer than 0.2 s for 1 texts") as failed:
            checked.score([*short, "hangs for ever"])
        assert "--scoring-timeout" in failed.value.mend
        calls = len(scorer.calls)
        with pytest.raises(MissingError):
            checked.score(["another"])
        assert len(scorer.calls) == calls, "it is still at work, and not asked again"
        assert checked.score(short) == [{"toxicity": len(text) / 100} for text in short]
    finally:
        asleep.set()


def test_no_limit_means_the_same_thread(monkeypatch):
    monkeypatch.setattr(PATIENCE, "seconds", None)
    told = []

    class Telling(Scripted):
        def one(self, text):
            told.append(current_thread())
            return super().one(text)

    CheckedScorer(Telling(), None).score(["a"])
    assert told == [current_thread()]


def test_the_cache_is_keyed_by_scorer_and_attributes(tmp_path):
    path = tmp_path / "s.sqlite3"
    CheckedScorer(Scripted(), path).score(["a", "bb"])
    same, other, more = Scripted(), Scripted(hash="other"), Scripted(attributes=("toxicity", "insult"))
    assert CheckedScorer(same, path).score(["bb"]) == [{"toxicity": 0.02}]
    assert same.calls == []
    CheckedScorer(other, path).score(["bb"])
    assert other.calls == [["bb"]]
    assert CheckedScorer(more, path).score(["bb"]) == [{"toxicity": 0.02, "insult": 0.5}]  # the cached one lacks insult


def test_many_batches_are_written_together_and_kept_when_one_ends_badly(tmp_path, monkeypatch):
    path, opened = tmp_path / "s.sqlite3", []
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **more: opened.append(args) or connect(*args, **more))
    texts = ["a" * length for length in range(1, 91)]
    unknown = MissingError("the model is gone")
    with pytest.raises(MissingError, match="gone"):
        CheckedScorer(Scripted({texts[-1]: unknown}), path).score(texts)
    assert len(opened) <= 3  # 23 batches: read, written once, and once more if they took seconds
    again = Scripted()
    assert None not in CheckedScorer(again, path).score(texts)
    assert {text for call in again.calls for text in call} == set(texts[-2:])  # the batch that failed


@pytest.mark.parametrize(
    "content", [b"not a database at all, not even nearly" * 50, b"SQLite format 3\x00" + b"\xff" * 5000]
)
def test_a_broken_cache_is_put_aside(tmp_path, content):
    path, progress = tmp_path / "s.sqlite3", Notes()
    path.write_bytes(content)
    assert CheckedScorer(Scripted(), path, progress).score(["a"]) == [{"toxicity": 0.01}]
    assert (tmp_path / "s.sqlite3.damaged").read_bytes() == content
    again = Scripted()
    CheckedScorer(again, path).score(["a"])
    assert again.calls == []
    assert any("broken" in note for note in progress.notes)


def test_a_broken_row_is_scored_again(tmp_path):
    path = tmp_path / "s.sqlite3"
    CheckedScorer(Scripted(), path).score(["a", "bb"])
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE scores SET scores = 'nonsense'")
    assert CheckedScorer(Scripted(), path).score(["a", "bb"]) == [{"toxicity": 0.01}, {"toxicity": 0.02}]


def test_a_cache_that_cannot_be_used_costs_no_score(tmp_path):
    (tmp_path / "file").write_text("in the way")
    progress = Notes()
    assert CheckedScorer(Scripted(), tmp_path / "file" / "s.sqlite3", progress).score(["a"]) == [{"toxicity": 0.01}]
    assert len(progress.notes) == 1


def test_many_at_once_share_one_cache(tmp_path):
    path = tmp_path / "s.sqlite3"
    texts = [f"text {i}" for i in range(40)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: CheckedScorer(Scripted(), path, Notes()).score(texts), range(4)))
    assert all(result == results[0] and None not in result for result in results)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT COUNT(*) FROM scores").fetchone() == (40,)


def test_the_svm_tells_insults_from_greetings(tmp_path):
    scorer = load_scorer(ScorerSpec(name="svm"), tmp_path)
    rude, kind, empty = scorer.score(["you stupid idiot", "have a nice day", ""])
    assert rude["toxicity"] > 0.9
    assert kind["toxicity"] < 0.1
    assert 0 <= empty["toxicity"] < 0.1
    assert "explicit" in scorer.identity.label
    assert len(scorer.identity.hash) == 64
    assert (tmp_path / "scores.sqlite3").exists()


def test_options_of_a_scorer_are_checked():
    with pytest.raises(UsageError, match="unknown scorer 'detoxfy'; did you mean 'detoxify'"):
        load_scorer(ScorerSpec(name="detoxfy"), None)
    with pytest.raises(UsageError, match="'svm' has no option 'variant'; it takes none"):
        load_scorer(ScorerSpec(name="svm", options={"variant": "x"}), None)
