"""What settings are chosen on is evaluated on by no other suite."""

from collections.abc import Iterator
from typing import Any

import pytest

from bench import suites
from bench.assets.catalogue import AssetCatalogue
from bench.assets.embedded import EMBEDDED
from bench.data.edits import load_cases
from bench.data.splits import overlap, part
from bench.errors import UsageError
from bench.run.plan import build_tasks
from bench.run.tune.apart import refuse_evaluation
from bench.suites import load_suite
from bench.tasks.base import Task
from bench.tasks.divergence import Divergence
from bench.tasks.edit.task import Edit
from bench.tasks.heldout import HeldOutPerplexity
from bench.tasks.lm_eval.task import LMEval
from bench.tasks.rtp import RealToxicityPrompts
from bench.tasks.truth.task import Truth


def tasks_of(name: str) -> list[Task[Any]]:
    """A suite's tasks, as they are in the package."""
    return build_tasks(load_suite(name))


def is_for_tuning(name: str) -> bool:
    try:
        refuse_evaluation(load_suite(name), tasks_of(name))
    except UsageError:
        return False
    return True


TUNING = [name for name in suites.names() if is_for_tuning(name)]
OTHERS = [name for name in suites.names() if name not in TUNING]


UNRELATED_TASKS = {
    "arc_challenge": "questions of school science",
    "arc_easy": "questions of school science",
    "gsm8k": "sums in words",
    "hellaswag": "ends of captions and of instructions",
    "logiqa2": "questions of a civil service's examination",
    "openbookqa": "questions of school science",
    "piqa": "everyday goals, and how to reach them",
    "race": "passages of English examinations",
    "sciq": "questions of school science, with passages of textbooks",
    "triviaqa": "questions of quizzes, without their pages",
    "truthfulqa_gen": "questions that its authors wrote",
    "truthfulqa_mc1": "questions that its authors wrote",
    "truthfulqa_mc2": "questions that its authors wrote",
    "winogrande": "sentences with a gap",
}
"""What lm-eval fetches: no prompts of RealToxicityPrompts, no passages of BoolQ, no questions of NQ-open, no facts."""
UNRELATED_DATA = {
    "toxiGen.json": "sentences about groups that a language model wrote",
    "hub:Salesforce/wikitext:wikitext-2-raw-v1/test-00000-of-00001.parquet": "whole articles, which no passage is",
}
"""Likewise, of the hub's files and of a user's own."""


class Asked:
    """An asset catalogue that fetches nothing, and remembers what data it was asked for."""

    def __init__(self, task: Task[Any]) -> None:
        self.names: list[str] = []
        task.data(self)  # type: ignore[arg-type]

    def data(self, name: str) -> str:
        self.names.append(name)
        return name

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None  # models that judge or compare texts are no data


def read(task: Task[Any], ctx: Any) -> Iterator[str]:
    """The texts of embedded data that a task asks about; what it reads from elsewhere must be accounted for."""
    if isinstance(task, LMEval):
        if task.name.startswith("embedded_"):
            yield from (text for _, text in task.contexts(ctx.assets, task.config.limit or 10_000))
        else:
            assert task.name in UNRELATED_TASKS, f"{task.name}: who says that it meets no text of a tuning suite?"
        return
    names = Asked(task).names
    if outside := [name for name in names if name not in EMBEDDED]:
        assert outside == names, f"{task.name}: what is embedded of {names} would not be read"
        for name in outside:
            assert name in UNRELATED_DATA or takes_eval_half(task), f"{task.name}: {name} may meet a tuning suite"
    elif isinstance(task, RealToxicityPrompts):
        yield from (prompt.text for prompt in task.prompts(ctx))
    elif isinstance(task, Truth):
        yield from (question.text for question in task.questions(ctx))
    elif isinstance(task, Edit):  # which of the half are known, and so taken, only the model says
        for case in part(load_cases(ctx.assets.data(task.config.data).path), task.config.half):
            yield from (case.text, *case.held_out)
    elif isinstance(task, HeldOutPerplexity | Divergence):
        yield from (task if isinstance(task, HeldOutPerplexity) else task._passages).texts(ctx).values()
    else:
        yield from task.evaluation_texts(ctx.assets)


def takes_eval_half(task: Task[Any]) -> bool:
    """Whether its prompts are none of a tuning suite's by rule: a content id is of one half, whatever data it is in."""
    return isinstance(task, RealToxicityPrompts) and task.config.half == "eval"


def test_the_suites_to_choose_settings_by_are_these():
    assert TUNING == ["tune", "tune-edit", "tune-facts", "tune-sentiment"]


@pytest.fixture
def embedded(context: Any) -> Any:
    """What tasks read data by: the cache that all tests share."""
    context.assets = AssetCatalogue()
    return context


@pytest.mark.network
@pytest.mark.parametrize("other", OTHERS)
def test_no_prompt_or_passage_of_a_tuning_suite_is_evaluated_on_by_another(other, embedded):
    evaluated = [text for task in tasks_of(other) for text in read(task, embedded)]
    for name in TUNING:
        chosen_on = [text for task in tasks_of(name) for text in read(task, embedded)]
        assert chosen_on
        met = overlap(chosen_on, evaluated)
        assert len(met) == 0, f"{len(met)} of {len(chosen_on)} texts of {name}"


@pytest.mark.network
def test_a_text_in_both_is_seen(embedded):
    (task,) = [task for task in tasks_of("tune") if isinstance(task, HeldOutPerplexity)]
    texts = list(read(task, embedded))
    assert len(overlap(texts, [*texts[:2], "another text"])) == 2


@pytest.mark.parametrize(
    "entry",
    [
        {"task": "lm_eval", "tasks": ["boolq"]},
        {"task": "rtp", "data": "hub:allenai/real-toxicity-prompts:prompts.jsonl", "half": "all"},
        {"task": "heldout", "data": "hub:google/boolq:data/validation-00000-of-00001.parquet"},
        {"task": "coverage", "toxic": "toxiGen.json"},  # the plain sentences are embedded
    ],
    ids=lambda entry: entry["task"],
)
def test_what_nobody_accounts_for_is_seen(entry, context):
    (task,) = build_tasks(load_suite("paper").model_copy(update={"tasks": [entry]}))
    with pytest.raises(AssertionError, match=task.name):
        list(read(task, context))


def test_what_is_named_as_unrelated_is_read_by_a_suite():
    tasks = [task for name in OTHERS for task in tasks_of(name)]
    fetched = {task.name for task in tasks if isinstance(task, LMEval) and not task.name.startswith("embedded_")}
    outside = {name for task in tasks if not isinstance(task, LMEval) for name in Asked(task).names}
    assert fetched == UNRELATED_TASKS.keys()
    assert outside >= UNRELATED_DATA.keys()
