"""Calls of foreign code that may hang: waited for so long, and no longer."""

from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


@dataclass
class Patience:
    """How long this process waits for a scorer.

    Attributes:
        seconds: For one batch; None for as long as it takes.
    """

    seconds: float | None = 600.0


PATIENCE = Patience()


class HangsError(Exception):
    """A call took longer than it may."""


def within(seconds: float | None, work: Callable[[], T]) -> T:
    """What a call returns.

    The call is made in a thread of its own. Python cannot end a thread: a call that hangs stays where it is until the
    process ends, and does not keep the process from ending. Code in C that holds the interpreter's lock meanwhile
    stops this clock too.

    Args:
        seconds: How long it may take; None for as long as it takes, in this thread.
        work: The call.

    Raises:
        HangsError: it took longer.
    """
    if seconds is None:
        return work()
    called: Future[T] = Future()

    def call() -> None:
        try:
            called.set_result(work())
        except BaseException as error:
            called.set_exception(error)

    Thread(target=call, name="bench-patience", daemon=True).start()
    try:
        wait([called], seconds)
    except BaseException:  # Ctrl-C: libraries in C that work on while the interpreter ends may crash
        wait([called], seconds)
        raise
    if not called.done():
        raise HangsError
    return called.result()
