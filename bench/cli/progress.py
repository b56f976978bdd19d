"""Progress on stderr: live bars on a terminal, plain lines elsewhere. Both fit 80 columns."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column

from bench.printed import inert, plain

_LABEL_WIDTH = 30
_BAR_WIDTH = 16
_EVERY_SECONDS = 10.0


class LiveBar:
    """A bar of a display that moves."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def advance(self, amount: float = 1) -> None:
        """Say that `amount` more units are done."""
        self._progress.advance(self._task, amount)


class LiveProgress:
    """Bars that move: label, bar, percentage, elapsed, time left. Bars opened within a bar stand below it."""

    def __init__(self, console: Console | None = None) -> None:
        """Draw on `console`, by default stderr."""
        self._console = console or Console(stderr=True, highlight=False)
        self._live: Progress | None = None

    @contextmanager
    def bar(self, label: str, total: float | None = None, unit: str = "") -> Iterator[LiveBar]:
        """Open a bar; the outermost one starts the display and stops it, whatever happens within."""
        del unit
        outermost = self._live is None
        if self._live is None:
            self._live = moving_bars(self._console)
            self._live.start()
        live = self._live
        task = live.add_task(label, total=total)
        try:
            yield LiveBar(live, task)
            # Full, also where the amount was not known beforehand or was guessed too high.
            done = next(each.completed for each in live.tasks if each.id == task) or 1
            live.update(task, total=done, completed=done)
        finally:
            live.stop_task(task)
            if outermost:
                live.stop()
                self._live = None

    def note(self, text: str) -> None:
        """Print a line above the bars."""
        self._console.print(inert(plain(text)), markup=False, highlight=False, soft_wrap=True)


def moving_bars(console: Console) -> Progress:
    """A display of bars that move, not started yet: label, bar, percentage, elapsed, time left."""
    return Progress(
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}", markup=False, table_column=Column(max_width=_LABEL_WIDTH, no_wrap=True)),
        BarColumn(bar_width=_BAR_WIDTH),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        redirect_stdout=False,  # stdout is for results, wherever it leads
    )


class _LineBar:
    def __init__(self, say: Callable[[str], None], label: str, total: float | None, unit: str) -> None:
        self._say = say
        self._label = label
        self._total = total
        self._unit = unit
        self._done = 0.0
        self._began = self._said = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def advance(self, amount: float = 1) -> None:
        self._done += amount
        now = time.monotonic()
        if now - self._said >= _EVERY_SECONDS:
            self._said = now
            self._say(f"{self._label} … {self._state()}, {self.seconds:.0f} s")

    def _state(self) -> str:
        if not self._total:
            return f"{self._done:,.0f} {self._unit}".rstrip()
        left = self.seconds * max(self._total - self._done, 0) / self._done if self._done else None
        rest = "" if left is None else f", about {left:.0f} s left"
        return f"{min(self._done / self._total, 1):.0%}{rest}"


class LineProgress:
    """A line where work begins, about every 10 s, and where it ends: for logs and pipes."""

    def __init__(self, stream: TextIO, prefix: str = "") -> None:
        """Write to `stream`, each line at once and after a prefix."""
        self._stream, self._prefix = stream, prefix

    @contextmanager
    def bar(self, label: str, total: float | None = None, unit: str = "") -> Iterator[_LineBar]:
        """Open a piece of work."""
        amount = f" ({total:,.0f} {unit})" if total and unit else ""
        self.note(f"{label} …{amount}")
        bar = _LineBar(self.note, label, total, unit)
        try:
            yield bar
        except BaseException:
            self.note(f"{label} … stopped after {bar.seconds:.1f} s")
            raise
        self.note(f"{label} … done in {bar.seconds:.1f} s")

    def note(self, text: str) -> None:
        """Write a line."""
        print(inert(plain(f"{self._prefix}{text}")), file=self._stream, flush=True)
