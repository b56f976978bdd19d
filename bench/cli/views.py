"""Several workers' progress on stderr: a line that moves for each on a terminal, plain lines elsewhere."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich import progress as rich_progress
from rich.console import Console

from bench.cli.common import has_terminal
from bench.cli.progress import LineProgress, LiveBar, moving_bars
from bench.printed import inert, plain
from bench.progress import SILENT, Bar, Progress

_NOTHING = "…"


class _View:
    """What one worker reports; what another one has noted already is not noted again."""

    def __init__(self, shown: Progress, noted: set[str]) -> None:
        self._noted = noted
        self._shown = shown
        self.bar = shown.bar

    def note(self, text: str) -> None:
        if text not in self._noted:
            self._noted.add(text)
            self._shown.note(text)


class _LiveLine:
    """A worker's line: the outermost of its bars."""

    def __init__(self, live: rich_progress.Progress, name: str) -> None:
        self._live, self._name = live, name
        self._task = live.add_task(f"{name}: {_NOTHING}", total=None)
        self._is_busy = False

    @contextmanager
    def bar(self, label: str, total: float | None = None, unit: str = "") -> Iterator[Bar]:
        if self._is_busy:
            with SILENT.bar(label, total, unit) as silent:
                yield silent
            return
        self._is_busy = True
        self._show(label, total)
        try:
            yield LiveBar(self._live, self._task)
        finally:
            self._show(_NOTHING, None)
            self._is_busy = False

    def note(self, text: str) -> None:
        self._live.console.print(inert(plain(f"{self._name}: {text}")), markup=False, highlight=False, soft_wrap=True)

    def _show(self, label: str, total: float | None) -> None:
        for task in self._live.tasks:
            if task.id == self._task:
                task.total = total  # `reset` takes None for no change
        self._live.reset(self._task, description=f"{self._name}: {label}")


@contextmanager
def worker_views(count: int) -> Iterator[tuple[Sequence[Progress], Callable[[str], None]]]:
    """A view for each of so many workers, and what notes a line that is of none of them."""
    noted: set[str] = set()
    names = [f"worker {number}" for number in range(1, count + 1)]
    if not has_terminal():
        lines = [LineProgress(sys.stderr, f"{name}: ") for name in names]
        yield [_View(line, noted) for line in lines], LineProgress(sys.stderr).note
        return
    with moving_bars(Console(stderr=True, highlight=False)) as live:
        yield [_View(_LiveLine(live, name), noted) for name in names], live.console.print
