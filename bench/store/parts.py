"""A piece of work in parts that several processes share: a plan that is made once, and a file for each part.

Whoever does the work (the owner) publishes the plan, and puts the parts together in its order; others help, each with a
part that nobody has. A part is held by a lease (`bench.store.lock`) and written whole or not at all, so that what the
parts make up does not depend on who did which, nor on who was killed.
"""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from bench.store.files import read_json, write_text
from bench.store.lease import SUFFIX as LEASE
from bench.store.lease import Lease
from bench.store.leftovers import drop
from bench.store.lock import is_held, take

SUFFIX = ".parts"
"""Of the folders' names."""
_PLAN = "plan.json"
_TOGETHER = 100  # parts in a folder: to look into one of 10,000 files takes long, and one that is whole is left out


@dataclass(frozen=True)
class Parts:
    """The parts of a piece of work.

    Attributes:
        folder: Where they lie.
        facts: What helpers must know besides the plan: JSON values.
        plan: What each part is: JSON values.
    """

    folder: Path
    facts: dict[str, Any]
    plan: Sequence[Any]
    _whole: set[int] = field(default_factory=set, compare=False, repr=False)

    @classmethod
    def publish(cls, folder: Path, facts: dict[str, Any], plan: Sequence[Any]) -> Self:
        """Let others help; the parts of another plan are dropped."""
        if folder.exists():
            drop(folder)
        # Every process that is at a loose end reads it, and a plan of tokens is long.
        write_text(folder / _PLAN, json.dumps({"facts": facts, "plan": plan}, separators=(",", ":")) + "\n")
        return cls(folder, facts, plan)

    @classmethod
    def found(cls, folder: Path) -> Self | None:
        """What was published there; None for nothing, and for what is damaged."""
        try:
            told = read_json(folder / _PLAN)
            return cls(folder, dict(told["facts"]), list(told["plan"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @classmethod
    def all_in(cls, folder: Path) -> list[Self]:
        """What is published in a folder and has a part that nobody is known to have."""
        found = [cls.found(path) for path in sorted(folder.glob(f"*{SUFFIX}"))]
        return [parts for parts in found if parts and len(parts.plan) > len(set.union(*parts.seen()))]

    def path(self, number: int) -> Path:
        """The file of a part."""
        return self.folder / f"{number // _TOGETHER:04}" / _name(number)

    def drop(self) -> None:
        """Remove all of it: the owner has put it together."""
        drop(self.folder)

    def take(self, *, first: bool) -> tuple[int, Lease] | None:
        """A part that this process has until it releases the lease; None where there is none to have.

        Args:
            first: Whether the owner asks (`in_order`).
        """
        done, held = self.seen()
        for number in in_order(len(self.plan), done, held, first=first):
            path = self.path(number)
            with suppress(FileNotFoundError):  # the owner has put it together meanwhile
                path.parent.mkdir(exist_ok=True)
                if (number in held and is_held(path)) or (taken := take(path)) is None:
                    continue
                if not path.exists() and (self.folder / _PLAN).exists():
                    return number, taken
                taken.release()
        return None

    def seen(self) -> tuple[set[int], set[int]]:
        """The parts that are done, and those that somebody holds or held."""
        done, held = set[int](), set[int]()
        for start in range(0, len(self.plan), _TOGETHER):
            numbers = range(start, min(start + _TOGETHER, len(self.plan)))
            if start not in self._whole:
                found = self._names(start)
                done.update(number for number in numbers if _name(number) in found)
                held.update(number for number in numbers if f".{_name(number)}{LEASE}" in found)
                if not done.issuperset(numbers):
                    continue
                self._whole.add(start)
            done.update(numbers)
        return done, held

    def _names(self, number: int) -> set[str]:
        """What lies in the folder of a part."""
        with suppress(FileNotFoundError):
            return {entry.name for entry in os.scandir(self.path(number).parent)}
        return set()


def _name(number: int) -> str:
    return f"{number % _TOGETHER:02}.jsonl"


def in_order(count: int, done: set[int], held: set[int], *, first: bool) -> Iterator[int]:
    """The parts to try one after the other: those that nobody has; for the owner also those whose holder may be dead.

    The first one is tried, since what stands in front takes longest and is put together first; where another was
    faster, any of the first two, of the first four, and so on: so many helpers who look at the same time soon have a
    part each. The owner leaves the last ones to many helpers: it is waited for to put all together.
    """
    free = [number for number in range(count) if number not in done and number not in held]
    reach = 1
    while free and not (first and len(free) < len(held) // 2):
        yield free.pop(int.from_bytes(os.urandom(4), "big") % min(len(free), reach))
        reach *= 1 if first else 2
    if first:
        yield from sorted(held - done)
