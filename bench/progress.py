"""What long work reports while it runs; how it looks is the command line's business."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol
from weakref import WeakKeyDictionary


class Bar(Protocol):
    """One running piece of work."""

    def advance(self, amount: float = 1) -> None:
        """Say that `amount` more units are done."""


class Progress(Protocol):
    """Where work reports to."""

    def bar(self, label: str, total: float | None = None, unit: str = "") -> AbstractContextManager[Bar]:
        """Open a bar; `total` is None where the amount of work is not known beforehand."""

    def note(self, text: str) -> None:
        """Tell the user one thing, in one line."""


class _SilentBar:
    def advance(self, amount: float = 1) -> None:
        del amount


class Quiet:
    """Reports nowhere."""

    @contextmanager
    def bar(self, label: str, total: float | None = None, unit: str = "") -> Iterator[Bar]:
        """A bar that nobody sees."""
        del label, total, unit
        yield _SilentBar()

    def note(self, text: str) -> None:
        """Nothing is told."""
        del text


SILENT: Progress = Quiet()
"""Reports nowhere: for tests and for use as a library."""


class _NotesOnly(Quiet):
    def __init__(self, progress: Progress) -> None:
        self.note = progress.note  # type: ignore[method-assign]


def notes_only(progress: Progress) -> Progress:
    """The same notes without the bars: for work inside work that has a bar already."""
    return _NotesOnly(progress)


_NOTED: "WeakKeyDictionary[object, set[str]]" = WeakKeyDictionary()


def note_once(progress: Progress, text: str) -> None:
    """Note what has not been noted there before: each method and seed of a run would say it again."""
    noted = _NOTED.setdefault(progress, set())
    if text not in noted:
        noted.add(text)
        progress.note(text)
