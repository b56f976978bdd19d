"""The resume loop: do what is missing, keep each batch of rows as it comes, do again what failed."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from bench.progress import Bar
    from bench.store.appended import AppendedFile

Row = dict[str, Any]
K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


def resume(
    held: "AppendedFile",
    wanted: Mapping[K, T],
    work: Callable[[Mapping[K, T]], Iterable[Sequence[Row]]],
    bar: "AbstractContextManager[Bar]",
    *,
    key: Callable[[Row], K],
    succeeded: Callable[[Row], bool],
    rows_per_unit: int = 1,
) -> None:
    """Have a file hold a row for each wanted key; an interrupted run loses the batch in the making and nothing else.

    Args:
        held: The file. Rows that did not succeed or are damaged are dropped from it, so that their work is done again.
        wanted: All that should be done, by key.
        work: Takes what is missing, in the order of `wanted`, and yields batches of rows. It is called only where
            something is missing, after rows were dropped. Each batch is in the file before the next is made.
        bar: Opened where something is missing. Its total is all that is wanted; what is there already counts as done.
        key: Which of the wanted a row is.
        succeeded: Whether a row may stay.
        rows_per_unit: How many rows the bar counts as one.
    """

    def stays(row: Row) -> bool:
        try:
            hash(key(row))
            return succeeded(row)
        except (KeyError, TypeError):  # JSON, and no row of this file: a hand or a disk changed it
            return False

    held.keep(stays)
    have = {key(row) for row in held.rows}
    missing = {name: item for name, item in wanted.items() if name not in have}
    if not missing:
        return
    with bar as opened:
        opened.advance((len(wanted) - len(missing)) / rows_per_unit)
        for rows in work(missing):
            held.append(rows)
            opened.advance(len(rows) / rows_per_unit)
