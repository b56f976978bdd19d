"""What a run has measured is kept while its artifact and its data are the same."""

from pathlib import Path

from bench.progress import Progress
from bench.store.files import read_json, refuse_unreadable, write_json
from bench.store.leftovers import drop

MEASURED_ON = "artifact.json"
"""In a run's folder: the hash of the artifact that its tasks are measured on."""


def drop_measured(folder: Path) -> bool:
    """Drop the samples and tasks of a run, whose folder the caller holds; return whether there were any."""
    measured = [folder / name for name in ("tasks", "samples") if (folder / name).is_dir()]
    for one in measured:
        drop(one)
    return bool(measured)


def drop_measured_on_another(folder: Path, artifact: str, progress: Progress) -> None:
    """Drop what an interrupted run has measured on an artifact of other content, and note on which it is measured now.

    The same training on another processor or device leaves other bits: one record is not of two artifacts.

    Args:
        folder: The run's folder, which the caller holds.
        artifact: The hash of what is measured now.
        progress: Where to tell.
    """
    path = folder / MEASURED_ON
    earlier = None
    try:
        earlier = read_json(path)["hash"]
    except (OSError, ValueError, KeyError, TypeError) as error:  # none yet, or a damaged one
        refuse_unreadable(path, error)
    if earlier not in (None, artifact) and drop_measured(folder):
        progress.note(f"{folder.name}: its artifact is another than when it was interrupted: all is measured anew")
    if earlier != artifact:
        write_json(path, {"hash": artifact})
