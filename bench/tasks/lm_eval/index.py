"""Which tasks lm-eval has, and a folder of one's own, and what each of them asks of a model."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UsageError, did_you_mean
from bench.paths import expanded
from bench.tasks.lm_eval.data import CONTEXTS

if TYPE_CHECKING:
    from lm_eval.tasks import TaskManager

WRITES = "generate_until"
"""lm-eval's `output_type`, and its default, of a task that has the model write."""


def own_files(include_path: str | None) -> list[Path]:
    """What stands in a folder of tasks of one's own, but for what Python and others leave there.

    Raises:
        UsageError: it is no folder.
    """
    if include_path is None:
        return []
    folder = expanded(include_path)
    if folder.is_file():
        mend = f"name the file among the tasks (tasks: [{include_path}]), or the folder that it is in"
        raise UsageError(f"lm_eval: include_path '{include_path}' is a file", mend=mend)
    if not folder.is_dir():
        raise UsageError(f"lm_eval: include_path '{include_path}' is no folder", mend="name one that holds YAML tasks")
    parts = ((path, path.relative_to(folder).parts) for path in sorted(folder.rglob("*")) if path.is_file())
    return [path for path, names in parts if not any(name.startswith((".", "__pycache__")) for name in names)]


def manager_of(name: str, include_path: str | None) -> "TaskManager":
    """lm-eval's index of a folder of one's own where that has a task, else of its own tasks, which takes seconds."""
    from lm_eval.tasks import TaskManager

    if include_path:
        own = TaskManager(include_defaults=False, include_path=expanded(include_path))
        if name in own.all_subtasks:
            return own
    return TaskManager()


def _kinds(manager: "TaskManager") -> dict[str, str | None]:
    """Single tasks by name, with what they ask of a model (lm-eval's `output_type`); None where a class decides it."""
    return {name: output_type(manager.task_index[name].cfg or {}) for name in manager.all_subtasks}


def output_type(config: Mapping[str, Any]) -> str | None:
    """What a task asks of a model (lm-eval's `output_type`); None where a class decides it."""
    return None if "class" in config else config.get("output_type", WRITES)


@cache
def _lm_evals() -> Mapping[str, str | None]:
    """`_kinds` of lm-eval's own tasks."""
    from lm_eval.tasks import TaskManager

    with quiet():
        return _kinds(TaskManager())


def kind_of(name: str, include_path: str | None) -> str | None:
    """What one task of lm-eval, or of a folder of one's own, asks of a model.

    Raises:
        UsageError: it is unknown, or names a group of tasks; the message has the closest name.
    """
    own: Mapping[str, str | None] = {}
    if include_path:
        from lm_eval.tasks import TaskManager

        with quiet():
            own = _kinds(TaskManager(include_defaults=False, include_path=expanded(include_path)))
    if name in own:
        return own[name]
    if name not in _lm_evals():
        where = f", nor has '{include_path}'" if include_path else ""
        mend = did_you_mean(name, [*own, *_lm_evals(), *CONTEXTS])
        raise UsageError(f"lm-eval has no single task '{name}'{where}", mend=mend)
    return _lm_evals()[name]


@contextmanager
def quiet() -> Iterator[None]:
    """Keep lm-eval and datasets from writing to the terminal."""
    import datasets

    loggers = [logging.getLogger(name) for name in ("lm_eval", "datasets", "evaluate")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
