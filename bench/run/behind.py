"""What of a suite can be measured of a model behind an endpoint, and by which methods."""

import shlex
from collections.abc import Callable, Sequence
from typing import Any

import yaml

from bench import registry
from bench.errors import UsageError
from bench.spec import SuiteSpec
from bench.tasks.base import Task, TaskInfo
from bench.writers.decoding import as_asked

UNEDITED = "none"
"""The one method that leaves a model as it is."""


def refuse_unmeasurable(suite: SuiteSpec, tasks: list[Task[Any]], methods: list[str]) -> None:
    """Refuse, before any work, what a model behind an endpoint cannot be measured by.

    Args:
        suite: The suite; nothing is refused where its model is loaded here.
        tasks: Its tasks, configured.
        methods: The methods that are asked for.

    Raises:
        UsageError: a method edits the model, a task reads its logits, or the API knows no such decoding. The message
            names what can be measured, and how to leave the others out.
    """
    if not suite.model.endpoint:
        return
    if edits := [name for name in methods if name != UNEDITED]:
        raise UsageError(
            f"method '{edits[0]}' edits a model, and '{suite.model.id}' is behind an endpoint: it is measured as it is",
            mend=f"--method {UNEDITED}, or leave suite.model.endpoint out and name a model that is loaded here",
        )
    given = {"texts", "likelihoods"} if suite.model.logprobs == "echo" else {"texts"}
    if unread := [task for task in tasks if task.asks not in given]:
        names = ", ".join(task.name for task in unread)
        echo = ", ".join(task.name for task in unread if task.asks == "likelihoods")
        hint = (
            f" (suite.model.logprobs=echo, where the server gives likelihoods as vLLM does, measures {echo})"
            if echo
            else ""
        )
        what = "texts and their likelihoods" if "likelihoods" in given else "texts alone"
        raise UsageError(
            f"an endpoint gives {what}, and of suite '{suite.name}' these need likelihoods or the base model: "
            f"{names}{hint}",
            mend=without(
                [task for task in tasks if task.asks in given],
                lambda info: info.asks == "texts",
                ", or tasks of lm_eval that have a model write",
            ),
        )
    for decoding in (suite.decoding, *(getattr(task.config, "decoding", None) for task in tasks)):
        if decoding is not None:
            as_asked(decoding)


def without(tasks: Sequence[Task[Any]], can: Callable[[TaskInfo], bool], others: str = "") -> str:
    """How to leave the tasks out that a system cannot be measured by.

    Args:
        tasks: Those of the suite that it can be measured by.
        can: Which kinds of tasks can be, to be named where the suite has none.
        others: What else can be.
    """
    kept = [task.config.model_dump(mode="json", exclude_defaults=True) for task in tasks]
    if not kept:
        every = [name for name in registry.names("tasks") if can(registry.load("tasks", name).info)]
        return f"name a suite that has some of: {', '.join(every)}{others}"
    listed = yaml.safe_dump(kept, default_flow_style=True, sort_keys=False, width=100_000).strip()
    return f"measure the others: --set {shlex.quote(f'suite.tasks={listed}')}"
