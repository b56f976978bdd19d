"""The tables of the page."""

from itertools import groupby

from reports.cells import Cell, Row, Table
from reports.page.elements import DASH, scrolling, text


def tables(table: Table) -> str:
    """The figures as HTML, a table for each task and group: systems as rows, metrics as columns."""
    parts = []
    for (task, group), rows in groupby(table.rows, key=lambda row: (row.task, row.group)):
        parts.append(_table(table, " · ".join(part for part in (task, group) if part), list(rows)))
    notes = "".join(f"<li>{text(note)}</li>" for note in table.footnotes)
    return "".join(parts) + (f"<ol>{notes}</ol>" if notes else "")


def _table(table: Table, caption: str, rows: list[Row]) -> str:
    arrows = {True: " ↑", False: " ↓", None: ""}
    head = "".join(
        f'<th scope="col">{text(row.name.replace("_", " "))}{arrows[row.higher_is_better]}</th>' for row in rows
    )
    body = "".join(
        f'<tr><th scope="row">{text(system.label)}</th>{"".join(_cell(row.cells[n]) for row in rows)}</tr>'
        for n, system in enumerate(table.systems)
    )
    return scrolling(
        caption,
        f'<table><caption>{text(caption)}</caption><thead><tr><th scope="col">system</th>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table>",
    )


def _cell(cell: Cell) -> str:
    if cell.value is None:
        return f"<td>{DASH}</td>"
    ends = (
        f" <small>[{cell.low:.3f}, {cell.high:.3f}]</small>" if cell.low is not None and cell.high is not None else ""
    )
    return f'<td data-value="{cell.value!r}">{cell.value:.3f}{ends}</td>'
