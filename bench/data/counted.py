"""Lists that know what was left out of them, and why: what vanishes from data is said."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")
REPEATED = "that say what an earlier one does (but for case, spaces and punctuation)"
WITHOUT_TEXT = "without a text"
CLASHING = "that ask what an earlier one does and have other answers"
LABELLED_TWICE = "that say what an earlier one does and have another label"
OTHER_HALF = {"eval": "of the training half", "train": "of the evaluation half"}
BEGINS_ALIKE = "that begin as a text of the evaluation half does, or the other way round"
BEYOND = "beyond the number asked for"
TOO_FEW = "with too few positives or negatives among their continuations"
NONE_ABOVE = "with too few negatives that are less likely than their positives"
"""Why rows are left out, in words that follow their number."""


class Counted(list[T]):
    """What is left of a file's rows.

    Attributes:
        left_out: How many rows were left out, by the reason.
    """

    left_out: dict[str, int]

    def __init__(self, rows: Iterable[T] = (), left_out: Mapping[str, int] | None = None) -> None:
        """Take the rows that are left."""
        super().__init__(rows)
        self.left_out = dict(left_out or {})

    def keep(self, rows: Iterable[T], why: str) -> "Counted[T]":
        """Those of the rows that stay; the others are left out for this reason."""
        kept = Counted(rows, self.left_out)
        if lost := len(self) - len(kept):
            kept.left_out[why] = kept.left_out.get(why, 0) + lost
        return kept

    def facts(self, source: str) -> dict[str, Any]:
        """What the record says of it."""
        rows = len(self) + sum(self.left_out.values())
        return {"data": source, "rows": rows, "taken": len(self), "left_out": self.left_out}

    def line(self, source: str) -> str:
        """What the user is told."""
        rows = len(self) + sum(self.left_out.values())
        left = self._reasons()
        return f"{source}: {len(self)} of {rows} rows are taken" + (f"; left out: {left}" if left else "")

    def why(self) -> str:
        """What was left out, to follow an error that says that too little is left; nothing where all was taken."""
        return f" (left out: {self._reasons()})" if self.left_out else ""

    def _reasons(self) -> str:
        return ", ".join(f"{count} {why}" for why, count in self.left_out.items())
