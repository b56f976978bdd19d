"""A progress for tests that look at what the user is told."""

from bench.progress import Quiet


class Told(Quiet):
    """Remembers the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)
