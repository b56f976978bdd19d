"""A judge of free answers: what it is asked, what it is not asked again, and its agreement with the string rule."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.assets.catalogue import AssetCatalogue
from bench.errors import UsageError
from bench.judging.grades import GRADING, GivenAnswer, Grade, grades
from bench.progress import SILENT
from bench.run.environment import Environment
from bench.run.launch.local import run_experiments
from bench.run.plan import Request, make_experiments
from bench.store.appended import AppendedFile
from bench.store.runs import load_run

GIVEN = [
    GivenAnswer("a", "where is it", ("in {answer}", "here"), "It is here."),
    GivenAnswer("b", "where is it", ("here",), "there {right}"),
    GivenAnswer("c", "where is it", ("here",), " "),
]


class Scripted:
    """A judge that answers by a rule from the question, and keeps what it was asked."""

    def __init__(self, rule: Callable[[str], Any]) -> None:
        self.rule, self.asked = rule, []

    def answers(self, questions: Sequence[tuple[str, str]], *, known_good: bool) -> Iterator[tuple[str, Any]]:
        del known_good
        for name, text in questions:
            self.asked.append(text)
            yield name, self.rule(text)


def graded(judge: Scripted, folder: Path) -> dict[str, Grade]:
    with AppendedFile(folder / "grades.jsonl") as held, SILENT.bar("judge") as bar:
        return grades(lambda: judge, GIVEN, GRADING, held, bar)


def by_rule(text: str) -> str:
    return "A" if "Answer: It is here." in text else "B"


def test_each_answer_is_graded_once_and_a_blank_one_unasked(tmp_path):
    judge = Scripted(by_rule)
    assert graded(judge, tmp_path) == {"a": "right", "b": "other", "c": "none"}
    assert len(judge.asked) == 2
    assert "Right answers: in {answer}; here\n" in judge.asked[0]
    assert "Answer: there {right}\n" in judge.asked[1]
    again = Scripted(by_rule)
    assert graded(again, tmp_path) == {"a": "right", "b": "other", "c": "none"}
    assert again.asked == []


def test_an_answer_without_a_letter_has_no_grade_and_is_asked_again(tmp_path):
    assert graded(Scripted(lambda text: "A" if "It is here" in text else None), tmp_path) == {"a": "right", "c": "none"}
    again = Scripted(by_rule)
    assert graded(again, tmp_path) == {"a": "right", "b": "other", "c": "none"}
    assert len(again.asked) == 1


def suite_of(write_suite: Callable[..., Path], folder: Path, **judge: Any) -> str:
    rows = [
        {"question": f"where is the {noun} {when}?", "true": ["here in town"], "false": ["there at sea"]}
        for noun in ("river", "stone", "train", "weather", "capital", "friend")
        for when in ("now", "again", "then")
    ]
    path = folder / "questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    tasks = [{"task": "truth", "data": str(path), "max_new_tokens": 6}, {"task": "truth_judge", **judge}]
    truth = {"name": "truth", "wanted": "high", "adjective": "truthful"}
    return str(write_suite(folder, attribute=truth, scored={"name": "toxicity"}, tasks=tasks))


def test_a_run_has_the_grades_and_how_often_the_rule_agrees(write_suite, tiny_model, tmp_path):
    suite = suite_of(write_suite, tmp_path, judge={"model": str(tiny_model)})
    (experiment,) = make_experiments(Request(("none",), suite))
    env = Environment(experiment.suite, AssetCatalogue(tmp_path / "cache", offline=True))
    (outcome,) = run_experiments([experiment], env, tmp_path / "runs")
    assert outcome.error is None
    assert outcome.folder
    run = load_run(outcome.folder)
    assert run.result
    found = {metric.key: metric for metric in run.result.metrics}
    answers = [json.loads(line) for line in (run.path / "samples" / "truth.jsonl").read_text().splitlines()]
    rows = [json.loads(line) for line in (run.path / "samples" / "truth_judge.jsonl").read_text().splitlines()]
    labels = {row["id"]: row["label"] for row in rows}
    says = {row["doc_hash"]: row["metrics"]["says_true"] for row in answers}
    right = {name: float(labels.get(name) == "A") for name in says}
    assert found["truth_judge/judged_true"].value == pytest.approx(sum(right.values()) / len(says))
    agreement = sum(right[name] == says[name] for name in says) / len(says)
    assert found["truth_judge/rule_agreement"].value == pytest.approx(agreement)
    assert found["truth_judge/judged_true"].role == "attribute"


def test_a_template_that_hides_the_answer_is_refused(write_suite, tmp_path):
    suite = suite_of(write_suite, tmp_path, template="{question} {right}")
    with pytest.raises(UsageError, match=r"the template has no \{answer\}"):
        make_experiments(Request(("none",), suite))
