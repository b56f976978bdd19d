"""Work on the processor while the model works on the next batch."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def one_ahead(items: Iterable[T], work: Callable[[T], R]) -> Iterator[tuple[T, R]]:
    """Each item, in order, with what `work` makes of it, done while the next item is made.

    `work` runs in a thread of its own, one item at a time. What it raises is raised here; what making an item raises,
    Ctrl-C included, comes after the item before it, so that no work that was done is lost.
    """
    waiting: tuple[T, Future[R]] | None = None
    failure: BaseException | None = None
    source = iter(items)
    with ThreadPoolExecutor(1, thread_name_prefix="bench") as thread:
        while True:
            try:
                item = next(source)
            except StopIteration:
                break
            except BaseException as error:
                failure = error
                break
            started = item, thread.submit(work, item)
            if waiting:
                yield waiting[0], waiting[1].result()
            waiting = started
        if waiting:
            yield waiting[0], waiting[1].result()
    if failure is not None:
        raise failure
