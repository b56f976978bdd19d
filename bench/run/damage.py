"""What is left of a run that was cut or edited: what does not fit is set aside, and made anew from the rest."""

from pathlib import Path

from bench.errors import MissingError
from bench.progress import Progress
from bench.stats.soundness import faults, task_faults
from bench.store.files import read_json, set_aside
from bench.store.record import TaskResult
from bench.store.runs import load_run


def is_whole(folder: Path) -> bool:
    """Whether a run's folder holds a finished record that may be believed."""
    return (folder / "result.json").exists() and not _faults(folder)


def _faults(folder: Path) -> list[str]:
    try:
        return faults(load_run(folder))
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
    _tell(result, why[0], progress)
    for path in sorted((folder / "tasks").glob("*.json")):
        if reason := _task_fault(path):
            _tell(path, reason, progress)


def _task_fault(path: Path) -> str | None:
    """Why a task's figures may not be believed; None where they may."""
    try:
        return next(task_faults(TaskResult.model_validate(read_json(path))), None)
    except (OSError, ValueError, RecursionError) as error:
        return type(error).__name__


def _tell(path: Path, why: str, progress: Progress) -> None:
    progress.note(f"{path} is damaged ({why}): it is set aside as {set_aside(path).name} and made anew")
