"""A task of one's own in one YAML file: its name, and the files that it names."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench.errors import UsageError
from bench.paths import expanded
from bench.tasks.lm_eval.index import own_files

_ENDINGS = (".yaml", ".yml")


@dataclass(frozen=True)
class TaskFile:
    """A YAML file in lm-eval's format.

    Attributes:
        path: The file.
        name: The task's name (its `task:`).
        config: What it says, with what it includes; functions are not yet looked up.
    """

    path: Path
    name: str
    config: dict[str, Any]

    @property
    def files(self) -> list[Path]:
        """The file, the YAML files that it includes, and the Python and data files that they name, each once."""
        return sorted({*_included(self.path), *_named(self.config)})


def task_file(name: str) -> TaskFile | None:
    """The task file that an entry names; None where it names a task of an index.

    Raises:
        UsageError: there is no such file, or it has no single task.
    """
    if not name.endswith(_ENDINGS):
        return None
    from lm_eval.tasks._yaml_loader import load_yaml

    path = expanded(name)
    if not path.is_file():
        raise UsageError(f"lm_eval: no such file: {path}", mend="name a YAML file, or a task of lm-eval's")
    try:
        config = load_yaml(path, resolve_func=False)
    except (yaml.YAMLError, OSError, ValueError) as error:
        cause = " ".join(str(error).split())[:200]
        raise UsageError(
            f"lm_eval: {path} cannot be read ({cause})", mend="see lm-eval's guide to new tasks"
        ) from error
    task = config.get("task")
    if not isinstance(task, str) or "group" in config:
        mend = "name one with 'task: NAME'; of a folder with several, say include_path and their names"
        raise UsageError(f"lm_eval: {path} has no single task", mend=mend)
    return TaskFile(path, task, config)


def _included(path: Path) -> Iterator[Path]:
    """A YAML file and those that it includes, directly or not."""
    from lm_eval.tasks._yaml_loader import load_yaml

    yield path
    more = load_yaml(path, resolve_func=False, recursive=False).get("include", [])
    for one in more if isinstance(more, list) else [more]:
        yield from _included(path.parent / one)


def _named(value: Any) -> Iterator[Path]:
    """The files that texts in a configuration name: data, and the modules of functions (`FOLDER/MODULE.FUNCTION`)."""
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _named(one)
        folder = value.get("dataset_path") if isinstance(value, dict) else None
        yield from own_files(folder) if isinstance(folder, str) and os.path.isdir(folder) else ()  # noqa: PTH112
    elif isinstance(value, str):
        # os.path: a prompt is no path, and pathlib's own raises where a text is too long to be one
        yield from (Path(one) for one in (value, f"{value.rpartition('.')[0]}.py") if os.path.isfile(one))  # noqa: PTH113
