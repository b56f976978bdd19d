"""What is left of a run that was cut or edited: what does not fit is set aside, and made anew from the rest."""

from pathlib import Path

from bench.errors import MissingError, UnreadableError
from bench.progress import Progress
from bench.stats.soundness import faults, task_faults
from bench.store.aside import set_aside
from bench.store.files import files_in, read_json, refuse_unreadable
from bench.store.record import TaskResult
from bench.store.runs import load_run


def is_whole(folder: Path) -> bool:
    """Whether a run's folder holds a finished record that may be believed."""
    return (folder / "result.json").exists() and not _faults(folder)


def _faults(folder: Path) -> list[str]:
    try:
        run = load_run(folder)
        _ = run.tasks  # read here: whoever looks for faults takes a file that cannot be read for one
        return faults(run)
    except UnreadableError:
        raise
    except MissingError as error:
        return [error.what]


def set_damage_aside(folder: Path, progress: Progress) -> None:
    """Rename what a resumed run must not build on: a result that does not fit, and tasks that do not follow.

    Each is told of in one line. Samples are looked at when they are opened.
    """
    result = folder / "result.json"
    if not result.exists():
        return
    why = _faults(folder)
    if not why:
        return
    set_aside(result, f"{result} is damaged ({why[0]})", progress)
    for path in files_in(folder / "tasks", ".json"):
        finished_task(path, progress)


def finished_task(path: Path, progress: Progress) -> TaskResult | None:
    """A task's result, where it is there and its figures follow from its evidence; a damaged one is set aside."""
    if not path.exists():
        return None
    try:
        found = TaskResult.model_validate(read_json(path))
        fault = next(task_faults(found), None)
    except (OSError, ValueError, RecursionError) as error:
        refuse_unreadable(path, error)
        fault = type(error).__name__
    if fault is None:
        return found
    set_aside(path, f"{path} is damaged ({fault})", progress)
    return None
