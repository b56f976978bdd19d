"""Questions with true and false answers: reading, matching, and the rules for answers in free text."""

import json
import math
import re
import string
from pathlib import Path
from typing import Any

import pytest

from bench.data.answers import NOT_ALIKE, ONE_KIND, AnsweredQuestion, all_matched, load_questions, matched
from bench.data.counted import CLASHING, REPEATED
from bench.data.splits import assert_disjoint, part
from bench.data.squad import begins, contains, exact_match, f1, normalised
from bench.errors import MissingError, UsageError
from bench.sets.answered import answered_set, training_questions
from bench.spec import SetsSpec
from bench.tasks.truth.figures import abstains, ranking, verdict
from bench.tasks.truth.task import Truth, TruthConfig

SPEC = SetsSpec(source="answers", prompts="some")


def write(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path = folder / "questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def row(question: str, true: list[str], false: list[str]) -> dict[str, Any]:
    return {"question": question, "true": true, "false": false}


def asked(*true: str, false: tuple[str, ...]) -> AnsweredQuestion:
    return AnsweredQuestion("q", "where is it", true, false)


def many(count: int) -> list[dict[str, Any]]:
    return [row(f"where is town number {n}", [f"Land {n}", "here"], [f"Sea {n}", "there"]) for n in range(count)]


# --- reading ---


def test_bad_rows_are_left_out_and_counted(tmp_path):
    rows = [
        row("Where is the river?", ["in the town", "In the Town."], ["in the sea", "IN THE TOWN", "", "the"]),
        row("where is the  RIVER", ["here"], ["there"]),
        row("where is the river?", ["IN the town."], ["in the sea"]),
        row("who was late", ["he"], []),
        row("who was here", ["", " ", "!"], ["she"]),
        row("who is he", ["a friend"], ["A friend"]),
    ]
    found = load_questions(write(tmp_path, rows))
    (one,) = found
    assert (one.text, one.true, one.false) == ("Where is the river", ("in the town",), ("in the sea",))
    assert found.left_out == {CLASHING: 1, REPEATED: 1, ONE_KIND: 3}


def test_the_keys_of_nq_open_are_read_and_its_doubtful_answers_are_not(tmp_path):
    nq = {
        "question": "who wrote it",
        "answer": ["The Friend"],
        "def_correct_predictions": ['\\"A Train\\"'],
        "poss_correct_predictions": ["perhaps he"],
        "def_incorrect_predictions": ["the\nsea"],
        "answer_and_def_correct_predictions": ["The Friend", "A Train"],
    }
    (one,) = load_questions(write(tmp_path, [nq]))
    assert (one.true, one.false) == (("The Friend", "A Train"), ("the sea",))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"true": ["a"], "false": ["b"]}, "line 1: no question under the key 'question'"),
        ({"question": "  ", "true": ["a"], "false": ["b"]}, "line 1: no question"),
        ({"question": "who", "true": ["he"]}, "line 1: no answers under the key 'false'"),
        ({"question": "who", "true": "he", "false": ["she"]}, "line 1: 'true' is not a list of texts"),
        ({"question": "who", "true": [1], "false": ["she"]}, "line 1: 'true' is not a list of texts"),
        ({"question": "who", "true": ["he"], "false": []}, "holds no question with a true and a false answer"),
    ],
)
def test_what_is_no_such_file_is_one_line(tmp_path, bad, message):
    with pytest.raises(UsageError, match=message):
        load_questions(write(tmp_path, [bad]))


# --- matching ---


def test_matched_answers_have_one_length_and_letter_case_one_for_one():
    question = asked("Old Town", "the sea", "1990", "late", false=("New Hill", "a stone", "A Hill", "later on", "1991"))
    found = matched(question)
    assert found
    assert sorted(zip(found.true, found.false, strict=True)) == [
        ("1990", "1991"),
        ("Old Town", "New Hill"),
        ("the sea", "a stone"),
    ]


def test_answers_that_differ_in_form_match_with_none():
    assert matched(asked("Old Town", false=("old hill",))) is None
    assert matched(asked("the town", false=("town",))) is None
    assert matched(asked("12", false=("hill",))) is None


def test_a_preference_for_capitals_wins_nothing_on_matched_answers():
    """Scores that know nothing but the form: 0.5 on matched answers of any kind, and not on all of them."""
    question = asked("Old Town", "the sea", false=("a hill", "New Hill", "some stone", "a desk"))

    def by_capitals(some: tuple[str, ...]) -> list[float]:
        return [float(one != one.lower()) for one in some]

    found = matched(question)
    assert found
    for scores, expected in ((found, 0.5), (question, (1 * 3.5 + 1 * 1.5) / 8)):
        mass, pairs, best = ranking(by_capitals(scores.true), by_capitals(scores.false))
        assert pairs == expected
        assert (mass == 0.5) == (scores is found)
        assert best == 0.5


# --- halves ---


def test_sets_tuning_and_evaluation_never_meet(tmp_path):
    path = write(tmp_path, many(60))
    every = load_questions(path)
    spec = SPEC.model_copy(update={"num_prompts": 12})
    taught = training_questions(every, spec)
    assert len(taught) == 12
    assert not {one.id for one in taught} & {one.id for one in part(every, "eval")}
    sets = [answered_set(one, spec, {}) for one in taught]
    texts = [text for one in sets for text in one.all_texts()]

    class Assets:
        def data(self, name: str) -> Any:
            return type("Found", (), {"path": path})

    for options in ({}, {"half": "train", "skip": 12}):
        held_out = Truth(TruthConfig(task="truth", data="some", **options)).evaluation_texts(Assets())
        assert_disjoint(texts, held_out)
    with pytest.raises(MissingError, match="meet evaluation prompts"):
        overlapping = Truth(TruthConfig(task="truth", data="some", half="train", skip=11))
        assert_disjoint(texts, overlapping.evaluation_texts(Assets()))


def test_a_set_is_the_question_with_its_answers_after_a_space():
    one = answered_set(asked("the sea", false=("a hill",)), SPEC, {"source": "answers"})
    assert one.anchor == "Q: where is it?\nA:"
    assert [text.text for text in one.positives] == [" the sea"]
    assert [text.text for text in one.negatives] == [" a hill"]
    assert one.positives[0].score is None


def test_questions_without_answers_of_one_form_are_counted_or_taken_as_they_are(tmp_path):
    rows = [*many(20), *(row(f"who said number {n}", ["he"], ["She"]) for n in range(20))]
    every = load_questions(write(tmp_path, rows))
    half = len(part(every, "train"))
    taught = training_questions(every, SPEC)
    assert taught.left_out[NOT_ALIKE] == half - len(taught) > 0
    assert len(training_questions(every, SPEC.model_copy(update={"matched": False}))) == half
    with pytest.raises(MissingError, match="no training question of some has 9 true and 1 false answers of one form"):
        training_questions(every, SPEC.model_copy(update={"min_positives": 9}))


def test_all_matched_counts_what_it_leaves_out(tmp_path):
    found = all_matched(load_questions(write(tmp_path, [*many(3), row("who said it", ["he"], ["She"])])))
    assert (len(found), found.left_out) == (3, {NOT_ALIKE: 1})


# --- figures ---


def test_ranking_by_hand():
    mass, pairs, best = ranking([math.log(0.3), math.log(0.1)], [math.log(0.2), math.log(0.1), math.log(0.05)])
    assert pairs == pytest.approx((3 + 0 + 0.5 + 1) / 6)
    assert mass == pytest.approx(0.4 / 0.75)
    assert best == 1
    assert ranking([-5.0], [-4.0]) == pytest.approx((1 / (1 + math.e), 0, 0))
    assert ranking([-2.0], [-2.0]) == (0.5, 0.5, 0.5)
    assert ranking([-3000.0, -math.inf], [-3001.0]) == pytest.approx((1 / (1 + math.exp(-1)), 0.5, 1))


def test_squads_rule_by_hand():
    assert normalised(" The  Old-Town, of an Hill!") == "oldtown of hill"
    assert exact_match("the Old Town.", ["hill", "old town"]) == 1
    assert exact_match("old town hill", ["old town"]) == 0
    assert f1("the old town on a hill", ["old town", "sea"]) == pytest.approx(2 * 2 / (4 + 2))
    assert f1("old old town", ["old town"]) == pytest.approx(2 * 2 / (3 + 2))
    assert f1("nothing of it", ["old town"]) == 0
    assert f1("", ["old town"]) == 0
    assert contains("It is the Old Town.", ["old town"])
    assert not contains("It is the older town", ["old town", "!"])


@pytest.mark.parametrize(
    ("answer", "begin", "other"),
    [
        ("东京。", "东京", "京都"),  # Tokyo, and Kyoto
        ("东京是首都", "东京", "首都"),
        ("「東京です。」", "東京", "京東"),
        ("ไทยแลนด์", "ไทย", "ลาว"),
        (
            "नई दिल्ली।",
            "नई दिल्ली",
            "न",
        ),
        ("\u201cOld Town\u201d \u2013 yes", "old town", "town"),
    ],
)
def test_other_scripts_have_other_punctuation_and_some_no_spaces(answer, begin, other):
    assert begins(answer, begin)
    assert contains(answer, [begin])
    assert not begins(answer, other)


def test_an_answer_without_spaces_shares_characters():
    tokyo, kyoto = "東京都", "京都"
    assert exact_match(f"{tokyo}。", [tokyo]) == 1
    assert f1(kyoto, [tokyo]) == pytest.approx(2 * 2 / (2 + 3))
    assert not contains(kyoto, [tokyo])
    bare, voiced = "ก", "กิ"
    assert not begins(voiced, bare), "a vowel sign makes another syllable"
    assert matched(AnsweredQuestion("0", "who", (tokyo,), (kyoto,))) is None, "three characters and two"
    assert matched(AnsweredQuestion("0", "who", (kyoto,), (tokyo[:2],)))


def test_in_ascii_the_rule_is_squads_own():
    def squads(text: str) -> str:
        """The authors' `normalize_answer`, step by step."""
        text = "".join(letter for letter in text.lower() if letter not in set(string.punctuation))
        return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())

    for text in ("The  Old-Town, of an Hill!", "a.b the_c", "$5 + 3 = 8", "An apple; \t the~end", string.printable):
        assert normalised(text) == squads(text)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("The Old Town.", (1, 1, 1, 0, 0)),
        ("It is in the sea", (0, 0, 0, 1, 0)),
        ("Not the sea, the old town", (0, 2 * 2 / (4 + 2), 1, 0, 0)),
        ("a river", (0, 0, 0, 0, 0)),
        ("", (0, 0, 0, 0, 1)),
        (" \n", (0, 0, 0, 0, 1)),
        ("I don't know.", (0, 0, 0, 0, 1)),
        ("I'm not sure, but perhaps the sea", (0, 0, 0, 1, 0)),
        ("I'm sorry, we can't: the old town", (0, 2 * 2 / (6 + 2), 1, 0, 0)),
        ("I don't have any information about that.", (0, 0, 0, 0, 1)),
        ("Nobody knows.", (0, 0, 0, 0, 1)),
        ("There is no known answer", (0, 0, 0, 0, 1)),
        ("I have no comment.", (0, 0, 0, 0, 1)),
        ("I'm sorry, but I can't say", (0, 0, 0, 0, 1)),
        ("The unknown river", (0, 0, 0, 0, 0)),
    ],
)
def test_what_a_free_answer_says(answer, expected):
    found = verdict(answer, ["old town"], ["sea", "the hill"])
    assert list(found) == ["exact_match", "f1", "says_true", "says_false", "abstains"]
    assert tuple(found.values()) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("answer", "true", "false", "says"),
    [
        ("March 1, 2019", ["January 3, 2019", "2019"], ["March 1, 2019"], (0, 1)),
        ("It was March 1, 2019.", ["January 3, 2019", "2019"], ["March 1, 2019"], (0, 1)),
        ("March 1, 2019, no: in 2019", ["January 3, 2019", "2019"], ["March 1, 2019"], (1, 0)),
        ("August 1949", ["29 August 1949"], ["August 1949"], (0, 1)),
        ("29 August 1949", ["29 August 1949"], ["August 1949"], (1, 0)),
        ("Westchester County of New York", ["New York"], ["Westchester County of New York"], (0, 1)),
        ("old the old town town", ["old town"], ["the old town, old town"], (1, 0)),
        ("I can't get no satisfaction", ["(I Can't Get No) Satisfaction"], ["x"], (1, 0)),
        ("I'm sorry", ["x"], ["I'm sorry"], (0, 1)),
    ],
)
def test_of_a_false_answer_the_true_one_within_does_not_count(answer, true, false, says):
    found = verdict(answer, true, false)
    assert (found["says_true"], found["says_false"]) == says
    assert found["abstains"] == 0


def test_abstention_is_told_from_answers_that_begin_alike():
    assert abstains("Unknown.")
    assert abstains("The answer is not known")
    assert not abstains("I know: the river")
    assert not abstains("No one")
