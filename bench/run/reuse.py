"""What an invocation takes from the cache and the records, and what it makes anew."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from bench.assets.kept import generation, is_kept_or_set_aside
from bench.progress import Progress
from bench.store.leftovers import drop
from bench.store.lock import unused


@dataclass
class Reuse:
    """Remembers what was there when the invocation began, and what it has made since.

    Attributes:
        since: When the invocation began (nanoseconds since 1970), where that was before this process did: what is later
            was not there.
        made: What this invocation has made, so that nothing is made anew twice.
        earlier: What was there when it began: the generation (`bench.assets.kept`) of a folder or file.
    """

    since: int | None = None
    made: set[Path] = field(default_factory=set)
    earlier: dict[Path, frozenset[tuple[str, int, int]]] = field(default_factory=dict)

    def look(self, paths: Iterable[Path]) -> None:
        """Note what is there now; what was noted before stays."""
        for path in paths:
            found = generation(path)
            is_later = self.since is not None and any(changed > self.since for _, _, changed in found)
            self.earlier.setdefault(path, frozenset() if is_later else found)

    def is_new(self, path: Path) -> bool:
        """Whether it has been made since this invocation began; the caller knows that it did not make it itself."""
        now = generation(path)
        return bool(now) and self.earlier.get(path, now) != now

    def is_by_another(self, path: Path, progress: Progress) -> bool:
        """Whether another process has made it since this invocation began; says so."""
        by_another = self.is_new(path)
        if by_another:
            progress.note(f"{path} was made by another process meanwhile")
        return by_another

    def must_make(self, path: Path, progress: Progress, *, fresh: bool) -> bool:
        """Whether a folder of the cache is to be made; the caller holds its lock.

        What is damaged is set aside. With `fresh`, what was there when this invocation began is dropped, once no other
        process uses it.
        """
        if fresh and path.exists() and path not in self.made and not self.is_by_another(path, progress):
            with unused(path, progress):
                drop(path)
        missing = not is_kept_or_set_aside(path, progress)
        if missing:
            self.made.add(path)
        return missing
