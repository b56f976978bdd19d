"""What of a suite can be measured of a model behind an endpoint, and by which methods."""

import shlex
from collections.abc import Callable
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
    if unread := [task for task in tasks if task.info.asks != "texts"]:
        names = ", ".join(task.name for task in unread)
        raise UsageError(
            f"an endpoint gives texts alone, and of suite '{suite.name}' these need likelihoods or the base model: "
            f"{names}",
            mend=without(suite, lambda info: info.asks == "texts"),
        )
    for decoding in (suite.decoding, *(getattr(task.config, "decoding", None) for task in tasks)):
        if decoding is not None:
            as_asked(decoding)


def without(suite: SuiteSpec, can: Callable[[TaskInfo], bool]) -> str:
    """How to leave the tasks out that a system cannot be measured by; `can` says which can."""
    kept = [entry for entry in suite.tasks if can(registry.load("tasks", str(entry["task"])).info)]
    if not kept:
        every = [name for name in registry.names("tasks") if can(registry.load("tasks", name).info)]
        return f"name a suite that has some of: {', '.join(every)}"
    listed = yaml.safe_dump(kept, default_flow_style=True, sort_keys=False, width=100_000).strip()
    return f"measure the others: --set {shlex.quote(f'suite.tasks={listed}')}"
