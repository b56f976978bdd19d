"""What is damaged is put out of the way, so that it is made anew and nothing of it is lost at once."""

from pathlib import Path

from bench.progress import Progress
from bench.store.lease import assert_held
from bench.store.leftovers import drop


def set_aside(path: Path, cause: str, progress: Progress) -> None:
    """Rename a damaged file or folder to `NAME.damaged`, and say so in one line.

    It takes the place of what was set aside there before: one copy of each thing is kept to look at, and no more, for
    it may be as large as a model.

    Args:
        path: What is damaged. Nobody else may be using it: the caller holds its lock.
        cause: What is wrong with what, for people.
        progress: Where to tell.

    Raises:
        OSError: it cannot be renamed.
        LostError: another process has taken over what it is a part of.
    """
    assert_held(path)
    aside = path.with_name(f"{path.name}.damaged")
    if aside.is_dir() and not aside.is_symlink():
        drop(aside)
    elif path.is_dir():
        aside.unlink(missing_ok=True)
    path.replace(aside)
    progress.note(f"{cause}: it is set aside as {aside.name} and made anew")
