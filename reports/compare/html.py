"""A comparison that a notebook and `print` show."""

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from html import escape
from typing import Self

from reports.compare.comparison import Comparison
from reports.compare.terminal import counts, legend, print_comparison, row_of, side_text


class ShownComparison(Comparison):
    """A comparison with its counts in view; no text of a sample is."""

    @classmethod
    def of(cls, comparison: Comparison) -> Self:
        """The same comparison."""
        return cls(**{one.name: getattr(comparison, one.name) for one in fields(comparison)})

    def __str__(self) -> str:
        """What `bench compare` prints, without questions and prompts one by one."""
        shown = io.StringIO()
        print_comparison(self, 0, shown)
        return shown.getvalue().rstrip("\n")

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return to_html(self)


def to_html(comparison: Comparison) -> str:
    """A comparison as HTML; every text is escaped."""
    return "\n".join(_lines(comparison)) + "\n"


def _lines(comparison: Comparison) -> Iterator[str]:
    yield _line(f"suite {comparison.suite}: a is {side_text(comparison.a)}, b is {side_text(comparison.b)}")
    for fact in comparison.forced:
        yield f"<p><strong>NOT COMPARABLE, forced: {escape(fact)}</strong></p>"
    yield _table(["", "a", "b", "difference", "p"], map(row_of, comparison.changes))
    if comparison.answers:
        rows = ((one.key, str(len(one.lost)), str(len(one.gained)), str(one.n)) for one in comparison.answers)
        yield _table(["answers", "a right, b wrong", "b right, a wrong", "questions"], rows)
    if comparison.prompts:
        yield from map(_line, counts(comparison, comparison.prompts))
    yield from map(_line, legend(comparison))
    yield from map(_line, comparison.notes)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    lines = (
        f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in cells)}</tr>'
        for first, *cells in rows
    )
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _line(text: str) -> str:
    return f"<p>{escape(text)}</p>"
