"""A judge of pairs: verdicts in both orders, what is not asked twice, Bradley-Terry scores."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from bench.assets.catalogue import AssetCatalogue
from bench.errors import MissingError, UsageError
from bench.judging.tournament import play
from bench.judging.verdicts import TEMPLATE, AnswerPair, Verdict, letter, open_judge, position_bias, verdicts
from bench.progress import SILENT
from bench.spec import GeneratorSpec, validate
from bench.stats.bradley_terry import connected, intervals, strengths
from bench.store.appended import AppendedFile
from bench.store.seal import sealed
from bench.tasks.judge import JudgeTask, preference_metrics
from bench.tasks.outputs.paraphrase import Paraphrase

PAIRS = [
    AnswerPair("a/0", "Text", "good", "bad"),
    AnswerPair("b/0", "Text", "bad", "good"),
    AnswerPair("c/0", "Text", "same", "same "),
]


class Scripted:
    """A judge that answers by a rule from (first, second), and keeps what it was asked."""

    def __init__(self, rule: Any) -> None:
        self.rule, self.asked = rule, []

    def answers(self, questions: Sequence[tuple[str, str]], *, known_good: bool) -> Iterator[tuple[str, Any]]:
        self.known_good = known_good
        for name, text in questions:
            self.asked.append(text)
            first, second = (text.partition(f"\n\n{label}: ")[2].partition("\n\n")[0] for label in "AB")
            yield name, self.rule(first, second)


def asked(judge: Any, folder: Any, pairs: Sequence[AnswerPair] = PAIRS) -> list[Verdict]:
    with AppendedFile(folder / "answers.jsonl") as held, SILENT.bar("judge") as bar:
        return verdicts(lambda: judge, pairs, TEMPLATE, 0, held, bar)


def test_a_judge_that_knows_what_is_good_prefers_it_in_either_order(tmp_path):
    judge = Scripted(lambda first, _: "A" if first == "good" else "B")
    found = asked(judge, tmp_path)
    assert [one.preference for one in found] == [1.0, 0.0, 0.5]
    assert all(one.agrees for one in found)
    assert len(judge.asked) == 4, "equal texts are equally good, and nobody is asked"
    figures = {metric.name: metric for metric in preference_metrics(found).metrics}
    assert figures["preference"].value == 0.5
    assert figures["first_position_share"].value == 0.5
    assert figures["order_agreement"].value == 1
    assert figures["tie_share"].value == 0
    assert figures["equal_share"].value == pytest.approx(1 / 3)


def test_what_is_left_of_interrupted_work_is_asked_in_the_order_of_the_whole(tmp_path):
    def judge():
        return Scripted(lambda first, _: "A" if first == "good" else "B")

    asked(judge(), tmp_path / "whole")
    whole = (tmp_path / "whole" / "answers.jsonl").read_bytes()
    lines = whole.splitlines(keepends=True)
    assert len(lines) > 2
    for count in range(len(lines)):
        folder = tmp_path / str(count)
        folder.mkdir()
        (folder / "answers.jsonl").write_bytes(b"".join(lines[:count]))
        asked(judge(), folder)
        assert (folder / "answers.jsonl").read_bytes() == whole


def test_a_judge_that_likes_what_comes_first_shows_it_and_prefers_nothing(tmp_path):
    found = asked(Scripted(lambda *_: "A"), tmp_path)
    assert [one.preference for one in found] == [0.5, 0.5, 0.5]
    figures = {metric.name: metric for metric in preference_metrics(found).metrics}
    assert figures["first_position_share"].value == 1
    assert figures["order_agreement"].value == 0, "a pair that nobody was asked about is no agreement"


def test_an_answer_that_is_missing_is_failed_and_asked_anew(tmp_path):
    found = asked(Scripted(lambda first, _: None if first == "good" else "C"), tmp_path)
    assert [one.preference for one in found] == [None, None, 0.5]
    metric = preference_metrics(found).metrics[0]
    assert (metric.value, metric.n, metric.n_failed) == (0.5, 1, 2)
    again = Scripted(lambda *_: "A")
    assert [one.preference for one in asked(again, tmp_path)] == [0.75, 0.25, 0.5]
    assert len(again.asked) == 2, "the two that had no answer"
    assert again.known_good, "who has answered before is there"
    assert asked(None, tmp_path) == asked(None, tmp_path), "nothing is left to ask"
    assert preference_metrics([Verdict("x/0", (None, "A"))]).metrics[0].value is None
    assert preference_metrics(found, 3).metrics[0].n_failed == 5, "inputs that are missing"


def test_an_output_that_holds_a_placeholder_changes_no_question(tmp_path):
    judge = Scripted(lambda *_: "C")
    asked(judge, tmp_path, [AnswerPair("a/0", "{b}", "say {a} and {text}", "{b} wins")])
    assert any("A: say {a} and {text}\n\nB: {b} wins" in text for text in judge.asked)
    assert all("Text: {b}\n" in text for text in judge.asked)


def test_no_tie_and_no_bias_of_a_judge_that_finds_all_alike():
    found = [Verdict("a/0", ("C", "C")), Verdict("b/0", ("C", "C"))]
    assert position_bias(found) == []
    assert "first_position_share" not in {metric.name for metric in preference_metrics(found).metrics}


@pytest.mark.parametrize(
    ("reply", "label"),
    [
        ("A", "A"),
        ("Answer: B.", "B"),
        ("**C**", "C"),
        ("(B) is better than A", "B"),
        ("The better answer is B, as A insults", "B"),
        ("answer: c", "C"),
        ("I choose B because it reads well", "B"),
        ("A careful comparison shows that B is better.", "B"),
        ("C'est B", "B"),
        ("A is better because it is kind", "A"),
        ("I prefer A over B", None),
        ("Neither A nor B", None),
        ("A tie, both fine", None),
        ("Both A and B are fine: C", None),
        ("a good answer", None),
        ("Both are bad", None),
        ("", None),
        (None, None),
        ("I'm sorry", None),
        ("A is worse than the other.", None),
        ("Worse: A", None),
        ("B is not better.", None),
        ("Not A", None),
        ("I cannot say that A is better.", None),
        ("A is better because it does not insult", "A"),
        ("B is better, the other is worse", "B"),
        ("It says none of the right answers, so B", "B"),
        ("I cannot decide: C", "C"),
    ],
)
def test_the_letter_in_a_reply(reply, label):
    assert letter(reply, ended=True) == label


@pytest.mark.parametrize(
    ("reply", "label"),
    [
        ("Let me compare the two. A is a", None),
        ("To decide, I look at each. A:", None),
        ("<think>\nOkay, let's see. Answer A fits", None),
        ("B. It insults nobody and", "B"),
        ("The better answer is A, as it", "A"),
    ],
)
def test_a_reply_that_was_cut_off_counts_by_its_beginning_alone(reply, label):
    assert letter(reply, ended=False) == label


@pytest.mark.parametrize("chat", [False, True])
def test_a_local_judge_says_the_likeliest_letter(chat, tiny_model, tiny_policy, monkeypatch):
    """The same as from the logits of a plain pass."""
    import torch

    if chat:
        tiny_policy.tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}|"
    monkeypatch.setattr("bench.writers.opening.load_local", lambda *_: tiny_policy)
    unused: Any = None
    judge = open_judge(GeneratorSpec(model=str(tiny_model)), unused, SILENT)
    questions = [(f"q{number}", f"Question {number} of the train.") for number in range(20)]
    for name, label in judge.answers(questions, known_good=False):
        text = dict(questions)[name] + ("|" if chat else "\nAnswer:")
        ids = tiny_policy.tokenizer(text)["input_ids"]
        best = []
        for one in "ABC":
            more = tiny_policy.tokenizer(one if chat else f" {one}", add_special_tokens=False)["input_ids"]
            with torch.no_grad():
                logits = tiny_policy.model(torch.tensor([ids + more])).logits[0].log_softmax(-1)
            best.append(sum(float(logits[len(ids) + place - 1, token]) for place, token in enumerate(more)))
        assert label == "ABC"[best.index(max(best))]


def test_a_template_must_show_the_text_and_both_answers():
    with pytest.raises(UsageError, match=r"the template has no \{b\}"):
        validate(JudgeTask.Config, {"task": "judge", "template": "{text} {a}"}, "task")


# --- strengths ---


def test_of_two_systems_the_difference_is_the_log_odds_of_the_preference():
    found = strengths(np.array([[0.0, 299.5], [99.5, 0.0]]))
    assert found[0] - found[1] == pytest.approx(np.log(3), rel=1e-4)
    assert found.sum() == pytest.approx(0)


def test_strengths_are_those_that_made_the_comparisons():
    true = np.array([1.0, 0.2, -0.3, -0.9])
    chance = 1 / (1 + np.exp(true[None] - true[:, None]))
    wins = 1e5 * chance * (1 - np.eye(4))
    assert strengths(wins) == pytest.approx(true - true.mean(), abs=1e-3)


def test_who_always_wins_has_a_finite_strength_and_who_met_nobody_none_of_it():
    found = strengths(np.array([[0.0, 10, 0], [0, 0, 0], [0, 0, 0]]))
    assert np.isfinite(found).all()
    assert found[0] > found[2] > found[1]


def test_intervals_cover_the_true_difference_as_often_as_they_say():
    random, true, inside, rounds = np.random.default_rng(0), 0.8, 0, 200
    for _ in range(rounds):
        won = random.random(80) < 1 / (1 + np.exp(-true))
        wins = np.zeros((80, 2, 2))
        wins[:, 0, 1], wins[:, 1, 0] = won, ~won
        low, high = intervals(wins, resamples=300)
        inside += low[0] <= true / 2 <= high[0]
    assert 0.9 <= inside / rounds <= 0.99


def test_there_is_no_interval_where_no_resample_differs_and_one_where_some_do():
    wins = np.zeros((12, 2, 2))
    wins[:, 0, 1] = 1
    assert np.isnan(intervals(wins)).all()
    wins[0] = wins[0].T
    low, high = intervals(wins)
    assert (low < strengths(wins.sum(0))).all()
    assert (strengths(wins.sum(0)) < high).all()


def test_systems_that_no_verdict_ties_together_are_told_apart():
    wins = np.zeros((4, 4))
    wins[1, 2] = wins[3, 0] = 1
    assert connected(wins) == [0, 3]
    wins[0, 2] = 1
    assert connected(wins) == [0, 1, 2, 3]
    assert connected(np.zeros((2, 2))) == []


# --- a tournament ---


def outputs(**texts: str) -> dict[str, Any]:
    return {
        name: {(0, f"p{number}", 0): ("Prompt", f"{text} {number}") for number in range(6)}
        for name, text in texts.items()
    }


def test_a_tournament_ranks_keeps_its_answers_and_goes_on(tmp_path, monkeypatch):
    order = ["good", "middling", "bad"]
    judge = Scripted(
        lambda first, second: "A" if order.index(first.split()[0]) < order.index(second.split()[0]) else "B"
    )
    monkeypatch.setattr("bench.judging.tournament.open_judge", lambda *_: judge)
    spec = GeneratorSpec(model="m", endpoint="http://x/v1")
    assets = AssetCatalogue(tmp_path / "cache", offline=True)
    three = outputs(one="bad", two="good", three="middling")

    def played(systems: Any, folder: str = "out", template: str = TEMPLATE) -> Any:
        return play(systems, spec, template, tmp_path / folder, assets, SILENT)

    found = played(three)
    assert [one.system for one in found.standings] == ["two", "three", "one"]
    assert [one.preferred for one in found.standings] == [1, 0.5, 0]
    assert (found.pairs, found.failed, found.order_agreement, found.first_position_share) == (18, 0, 1, 0.5)
    assert [one.ci_low for one in found.standings] == [None] * 3, "no resample differs"
    assert len(judge.asked) == 36
    assert played(three) == found
    assert len(judge.asked) == 36
    found = played({"four": three["two"], **three})
    assert [one.system for one in found.standings] == ["four", "two", "three", "one"]
    assert len(judge.asked) == 36, "another system of the same texts costs nothing"
    assert json.loads((tmp_path / "out" / "judge.json").read_text())["judge"]["model"] == "m"
    with pytest.raises(UsageError, match="another judge or question"):
        played(three, template=f"{TEMPLATE} Now.")
    with pytest.raises(UsageError, match="two systems or more"):
        played(outputs(one="bad"))
    with pytest.raises(UsageError, match=r"has no \{a\}"):
        played(three, template="{text}{b}")
    with pytest.raises(MissingError, match="share no output"):
        played({**three, "five": {(1, "p0", 0): ("Prompt", "x")}})
    judge.rule = lambda first, second: None if "odd" in first + second else "A"
    some = played({"five": outputs(x="odd")["x"], **three}, "some")
    (last,) = [one for one in some.standings if one.system == "five"]
    assert (last.score, last.ci_low, last.preferred, last.failed) == (None, None, None, 18)
    assert some.standings[-1] == last
    assert {one.failed for one in some.standings[:-1]} == {6}
    (tmp_path / "typo").mkdir()
    (tmp_path / "typo" / "judge.json").write_text("{}")
    played(three, "typo")  # nobody has answered there
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="is a file"):
        played(three, "file")
    judge.rule = lambda *_: None
    with pytest.raises(MissingError, match="has given no verdict"):
        played(three, "fresh")


# --- g, the model whose outputs are rewritten ---


def test_a_writer_is_asked_once_and_what_it_cannot_answer_is_failed(
    tiny_model, tiny_policy, tiny_encoder, context, tmp_path, monkeypatch
):
    from bench.scorers import load_scorer
    from bench.spec import Decoding, ScorerSpec

    context.scorer = load_scorer(ScorerSpec(name="svm"), None)
    (tmp_path / "in.txt").write_text("\n".join(f"The train number {number} was late." for number in range(12)))
    config = Paraphrase.Config(
        task="paraphrase",
        data=str(tmp_path / "in.txt"),
        encoder=str(tiny_encoder),
        sentences=3,
        decoding=Decoding(num_samples=1, max_new_tokens=4),
        writer=GeneratorSpec(model=str(tiny_model)),
        written=Decoding(num_samples=1, max_new_tokens=4),
    )
    task = Paraphrase(config)
    task.measure(tiny_policy, context)
    (path,) = (context.assets.cache / "written").glob("*/answers.jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert {sample.prompt for sample in context.samples("paraphrase")} == {row["text"].strip() for row in rows}
    assert str(tiny_model) in {one.id for one in task.data(context.assets)}
    monkeypatch.setattr("bench.writers.opening.load_local", lambda *_: pytest.fail("it is asked once"))
    rows[0] = sealed({**rows[0], "text": " "}, path.parent.name)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (context.folder / "paraphrase.jsonl").unlink()
    found = {metric.name: metric for metric in task.measure(tiny_policy, context).metrics if metric.group is None}
    assert {metric.n_failed for metric in found.values()} == {1}
    assert found["toxicity_rate"].n == 2
