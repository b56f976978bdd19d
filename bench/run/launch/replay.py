"""What one process reports of its work, told to another in messages of JSON values and shown there."""

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bench.progress import Bar, Progress

_EVERY_SECONDS = 0.2

Message = dict[str, Any]


class Told:
    """A progress that is told to another process."""

    def __init__(self, tell: Callable[[Message], None]) -> None:
        """Give each message to `tell`."""
        self._tell = tell
        self._numbers = itertools.count()

    @contextmanager
    def bar(self, label: str, total: float | None = None, unit: str = "") -> Iterator["_ToldBar"]:
        """Open a bar there."""
        number = next(self._numbers)
        self._tell({"bar": number, "label": label, "total": total, "unit": unit})
        bar = _ToldBar(self._tell, number)
        is_whole = False
        try:
            yield bar
            is_whole = True
        finally:
            bar.flush()
            self._tell({"end": number, "whole": is_whole})

    def note(self, text: str) -> None:
        """Note it there."""
        self._tell({"note": text})


class _ToldBar:
    def __init__(self, tell: Callable[[Message], None], number: int) -> None:
        self._tell, self._number = tell, number
        self._amount, self._told = 0.0, time.monotonic()

    def advance(self, amount: float = 1) -> None:
        self._amount += amount
        if time.monotonic() - self._told >= _EVERY_SECONDS:
            self.flush()

    def flush(self) -> None:
        if self._amount:
            self._tell({"advance": self._number, "amount": self._amount})
        self._amount, self._told = 0.0, time.monotonic()


class _Stopped(Exception):
    """Ends a bar whose work did not come to its end."""


class Replay:
    """Shows what another process tells."""

    def __init__(self, view: Progress) -> None:
        """Show it by `view`."""
        self._view = view
        self._open: dict[int, tuple[contextlib.AbstractContextManager[Bar], Bar]] = {}

    def show(self, message: Message) -> None:
        """Show one message; of an unknown one nothing is shown."""
        if "note" in message:
            self.note(message["note"])
        elif "bar" in message:
            held = self._view.bar(message["label"], message["total"], message["unit"])
            self._open[message["bar"]] = held, held.__enter__()
        elif "advance" in message:
            self._open[message["advance"]][1].advance(message["amount"])
        elif "end" in message:
            self._end(message["end"], whole=message["whole"])

    def note(self, text: str) -> None:
        """Show a note."""
        self._view.note(text)

    def close(self) -> None:
        """End what the process, which has ended, had open."""
        for number in reversed(list(self._open)):
            self._end(number, whole=False)

    def _end(self, number: int, *, whole: bool) -> None:
        held, _ = self._open.pop(number)
        if whole:
            held.__exit__(None, None, None)
            return
        stopped = _Stopped()
        with contextlib.suppress(_Stopped):
            held.__exit__(_Stopped, stopped, None)
