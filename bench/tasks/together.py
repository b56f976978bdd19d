"""Work on a model that several processes share: the owner of an experiment publishes its parts, and others do some.

A part is done by itself, whoever does it, and the owner puts the parts together in their order. So what comes of them
is byte for byte that of a single process on the same kind of device.
"""

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from bench.errors import MissingError
from bench.store.lock import pauses
from bench.store.parts import SUFFIX, Parts
from bench.tasks.context import TaskContext

if TYPE_CHECKING:
    from bench.policy import Policy
    from bench.store.lease import Lease

PAUSES = 0.1, 0.5  # seconds between two looks at what helpers do: the first, and the longest
EDITED = "edited"
"""The fact that says whether the parts ask the edited model, or the base model."""

R = TypeVar("R")


class Work(ABC, Generic[R]):
    """What is done with each part, and how what comes of it is kept.

    Attributes:
        kind: What it is called among the facts of the parts.
        unit: What its progress is counted in.
    """

    kind: ClassVar[str]
    unit: ClassVar[str]

    def __init__(self, policy: "Policy", facts: Mapping[str, Any], ctx: TaskContext) -> None:
        """Take the model, what is the same for all parts, and a context as the owner's."""
        self.policy, self.facts, self.ctx = policy, facts, ctx

    @abstractmethod
    def do(self, parts: Iterable[Any]) -> Iterator[R]:
        """What comes of each part, in their order; the next part may be taken before it is given."""

    @abstractmethod
    def write(self, path: Path, result: R) -> None:
        """Write what came of a part, whole or not at all."""

    @abstractmethod
    def read(self, path: Path, part: Any) -> R | None:
        """Read it; None where it is not what the part asks for.

        Raises:
            MissingError: it is damaged.
            ValueError: likewise.
        """

    @abstractmethod
    def size(self, result: R) -> int:
        """How much it is, in the unit."""


def has_parts(name: str, ctx: TaskContext) -> bool:
    """Whether some of the work of this name may be there in parts: an interrupted run has shared it."""
    return Parts.found(_folder(name, ctx)) is not None


def published(
    name: str,
    ctx: TaskContext,
    facts: Mapping[str, Any],
    plan: Callable[[], tuple[Mapping[str, Any], Sequence[Any]]],
    has_all: Callable[[Sequence[Any]], bool] = lambda _: True,
) -> Parts:
    """The parts of some work: those of an interrupted run where there are any, since they follow from its memory.

    Args:
        name: Of the work.
        ctx: The task's context.
        facts: What parts must say of themselves to be those of this work.
        plan: Makes parts, and what else helpers must know.
        has_all: Whether what an interrupted run has planned is enough.
    """
    own = {**facts, EDITED: ctx.edited}
    found = Parts.found(_folder(name, ctx))
    if found and own.items() <= found.facts.items() and has_all(found.plan):
        return found
    more, parts = plan()
    return Parts.publish(_folder(name, ctx), {**own, **more}, parts)


def together(parts: Parts, work: Work[R], ctx: TaskContext, own: Callable[[R], object] = lambda _: None) -> Iterator[R]:
    """What comes of all parts, in their order, whoever has done them.

    Args:
        parts: The parts; what others have done of them is not done again.
        work: What is done with each.
        ctx: The task's context; it is told whether others have helped.
        own: Is given what this process has done itself.
    """
    joined = 0

    def whole() -> Iterator[R]:
        """Those that come next in the plan and are there."""
        nonlocal joined
        while joined < len(parts.plan) and (result := _read(parts, joined, work)) is not None:
            joined += 1
            yield result

    waits = pauses(*PAUSES)
    yield from whole()
    did = 0
    while joined < len(parts.plan):
        for result in work_off(parts, work, first=True):
            did += 1
            own(result)
            yield from whole()
        yield from whole()
        if joined < len(parts.plan):  # a helper does it, or has just died
            time.sleep(next(waits))
    ctx.helped = ctx.helped or did < len(parts.plan)
    parts.drop()


def work_off(parts: Parts, work: Work[R], *, first: bool) -> Iterator[R]:
    """Do and write one part after another, while there is one that nobody has.

    Args:
        parts: The parts.
        work: What is done with each.
        first: Whether the owner does it (`bench.store.parts.in_order`).
    """
    waiting: deque[tuple[int, Lease]] = deque()
    with ExitStack() as every:

        def taken() -> Iterator[Any]:
            while one := parts.take(first=first):
                waiting.append(one)
                every.callback(one[1].release)
                yield parts.plan[one[0]]

        for result in work.do(taken()):
            number, held = waiting.popleft()
            work.write(parts.path(number), result)
            held.release()
            yield result


def _folder(name: str, ctx: TaskContext) -> Path:
    return ctx.folder / f"{name}{SUFFIX}"


def _read(parts: Parts, number: int, work: Work[R]) -> R | None:
    """What came of a part, where it is there; what is damaged is dropped, and done again."""
    path = parts.path(number)
    if not path.exists():
        return None
    with suppress(MissingError, ValueError, KeyError, TypeError):
        if (found := work.read(path, parts.plan[number])) is not None:
            return found
    path.unlink()
    return None
