"""A task of one's own in one YAML file: its name, and the files that it names."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Any

import yaml

from bench.errors import UsageError
from bench.paths import expanded
from bench.tasks.lm_eval.index import own_files

_ENDINGS = (".yaml", ".yml")
_DATA = ("dataset_path", "dataset_kwargs")
"""Keys under which data is named."""


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
    except (yaml.YAMLError, OSError, TypeError, ValueError) as error:
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


def _named(value: Any, *, is_data: bool = False) -> Iterator[Path]:
    """The files that texts in a configuration name: data, and the modules of functions (`FOLDER/MODULE.FUNCTION`).

    Where it names data, a folder stands for all that is in it, and a pattern for what it fits.
    """
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _named(one, is_data=is_data or key in _DATA)
    elif isinstance(value, list):
        for one in value:
            yield from _named(one, is_data=is_data)
    elif isinstance(value, str):
        folder, _, function = value.rpartition("/")
        module = function.rpartition(".")[0].replace(".", "/")
        named = [value, f"{folder}/{module}.py", *(glob(value, recursive=True) if is_data else ())]  # noqa: PTH207
        # os.path: a prompt is no path, and pathlib's own raises where a text is too long to be one
        yield from (Path(one) for one in dict.fromkeys(named) if os.path.isfile(one))  # noqa: PTH113
        yield from own_files(value) if is_data and os.path.isdir(value) else ()  # noqa: PTH112
