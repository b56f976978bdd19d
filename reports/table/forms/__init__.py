"""The forms of a table: each draws a sheet, or in the exact figures' case the table itself, and decides nothing."""

from collections.abc import Callable, Mapping

from reports.table.cells import Table
from reports.table.forms.html import to_html
from reports.table.forms.json import to_json
from reports.table.forms.latex import LatexOptions, to_latex
from reports.table.forms.markdown import to_markdown
from reports.table.sheet import Sheet


def _csv(table: Table) -> str:
    from reports.table.forms.csv import to_csv  # brings pandas

    return to_csv(table)


FORMS: Mapping[str, Callable[[Table, Sheet, LatexOptions], str]] = {
    "markdown": lambda _, sheet, _options: to_markdown(sheet),
    "latex": lambda _, sheet, options: to_latex(sheet, options),
    "html": lambda _, sheet, _options: to_html(sheet),
    "csv": lambda table, *_: _csv(table),
    "json": lambda table, *_: to_json(table),
}
"""By name: the text of a table in that form. `csv` and `json` hold exact figures, whatever the sheet shows.

The last argument is for LaTeX.
"""
