"""Work on the processor while the model works on the next batch."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def one_ahead(items: Iterable[T], work: Callable[[T], R]) -> Iterator[tuple[T, R]]:
    """Each item, in order, with what `work` makes of it, done while the next item is made.

    `work` runs in a thread of its own, one item at a time. What it raises is raised here.
    """
    waiting: tuple[T, Future[R]] | None = None
    with ThreadPoolExecutor(1, thread_name_prefix="bench") as thread:
        for item in items:
            started = item, thread.submit(work, item)
            if waiting:
                yield waiting[0], waiting[1].result()
            waiting = started
        if waiting:
            yield waiting[0], waiting[1].result()
