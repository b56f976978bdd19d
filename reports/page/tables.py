"""The tables of the page: those of some layouts, with systems as rows, so that they can be sorted by any figure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from html import escape

from bench.errors import MissingError
from reports.page.elements import folded, scrolling, text
from reports.table.cells import Table
from reports.table.forms.csv import to_csv
from reports.table.forms.html import to_html
from reports.table.forms.latex import LatexOptions, to_latex
from reports.table.forms.markdown import to_markdown
from reports.table.layout import Layout, arrange, load_layout, marked_of
from reports.table.sheet import Sheet

_OPEN = ("summary", "toxicity", "utility", "cost")
_FOLDED = "full"


def tables(table: Table) -> str:
    """The table in the layouts that it has figures for, as HTML, each with its legend; they share the footnotes."""
    parts: list[str] = []
    marked = marked_of(table.rows)
    for layout in map(load_layout, _OPEN):
        try:
            sheet = arrange(table, layout.model_copy(update={"systems": "rows"}), marked)
        except MissingError:  # nothing of it was measured
            continue
        parts.append(f"{_head(layout, table.caption.attribute)}{_draw(layout, sheet)}")
        forms = {"LaTeX": to_latex(sheet, LatexOptions(bare=True)), "Markdown": to_markdown(sheet)}
        parts.append(_copies(layout.name, forms))
    layout = load_layout(_FOLDED)
    sheet = arrange(table, layout, marked)
    everything = _draw(layout, sheet, linked=True) + _copies("everything", {"CSV": to_csv(table)})
    parts.append(folded("Everything that was measured", everything))
    return "".join([*parts, *_notes(sheet)])


def _head(layout: Layout, attribute: str) -> str:
    return f"<h3>{text(layout.heading(attribute))} <small>{text(layout.summary(attribute))}</small></h3>"


def _draw(layout: Layout, sheet: Sheet, *, linked: bool = False) -> str:
    """A table and its legend, which stands beside it where there is room."""
    drawn = scrolling(layout.name, to_html(replace(sheet, legend=(), footnotes=(), remarks=()), linked=linked))
    return f'<div class="sheet">{drawn}{_lines(sheet.legend)}</div>'


def _copies(name: str, forms: Mapping[str, str]) -> str:
    """A table in forms to take home, folded; where scripts run, each has a button that copies it."""
    inner = "".join(
        folded(form, f'<textarea readonly aria-label="{text(name)}, {form}">\n{escape(written)}</textarea>')
        for form, written in forms.items()
    )
    return f'<div class="copies">{inner}</div>'


def _notes(sheet: Sheet) -> Iterator[str]:
    """What the numbers in all tables stand for, and what is of no figure alone."""
    if sheet.footnotes:
        yield f'<ol class="notes">{"".join(f"<li>{text(note)}</li>" for note in sheet.footnotes)}</ol>'
    if sheet.remarks:
        yield _lines(sheet.remarks)


def _lines(lines: Sequence[str]) -> str:
    return f'<div class="notes">{"".join(f"<p>{text(line)}</p>" for line in lines)}</div>'
