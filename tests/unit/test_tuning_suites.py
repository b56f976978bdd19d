"""What settings are chosen on is evaluated on by no other suite."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from bench import suites
from bench.assets.catalogue import AssetCatalogue
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


def read(task: Task[Any], ctx: Any) -> Iterator[str]:
    """The texts of embedded data that a task asks about; nothing of what only the hub, or a file, has."""
    if isinstance(task, LMEval):
        if task.name.startswith("embedded_"):
            yield from (text for _, text in task.contexts(ctx.assets, task.config.limit or 10_000))
    elif any(re.search(r"hub:|\.jsonl?\b", str(value)) for value in task.config.model_dump().values()):
        return
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
