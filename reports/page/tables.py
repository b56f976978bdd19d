"""The tables of the page: those of some layouts, with systems as rows, so that they can be sorted by any figure."""

from collections.abc import Iterator, Mapping
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
    """The table in the layouts that it has figures for, as HTML, with one legend and one list of footnotes."""
    sheets: list[Sheet] = []
    parts: list[str] = []
    marked = marked_of(table.rows)
    for layout in map(load_layout, _OPEN):
        try:
            sheet = arrange(table, layout.model_copy(update={"systems": "rows"}), marked)
        except MissingError:  # nothing of it was measured
            continue
        sheets.append(sheet)
        parts.append(f"{_head(layout, table.caption.attribute)}{_draw(layout, sheet)}")
        forms = {"LaTeX": to_latex(sheet, LatexOptions(bare=True)), "Markdown": to_markdown(sheet)}
        parts.append(_copies(layout.name, forms))
    layout = load_layout(_FOLDED)
    sheets.append(arrange(table, layout, marked))
    everything = _draw(layout, sheets[-1], linked=True) + _copies("everything", {"CSV": to_csv(table)})
    parts.append(folded("Everything that was measured", everything))
    return "".join([*parts, *_notes(sheets)])


def _head(layout: Layout, attribute: str) -> str:
    return f"<h3>{text(layout.heading(attribute))} <small>{text(layout.summary(attribute))}</small></h3>"


def _draw(layout: Layout, sheet: Sheet, *, linked: bool = False) -> str:
    return scrolling(layout.name, to_html(replace(sheet, legend=(), footnotes=(), remarks=()), linked=linked))


def _copies(name: str, forms: Mapping[str, str]) -> str:
    """A table in forms to take home, folded; where scripts run, each has a button that copies it."""
    inner = "".join(
        folded(form, f'<textarea readonly aria-label="{text(name)}, {form}">\n{escape(written)}</textarea>')
        for form, written in forms.items()
    )
    return f'<div class="copies">{inner}</div>'


def _notes(sheets: list[Sheet]) -> Iterator[str]:
    legend = dict.fromkeys(line for sheet in sheets for line in sheet.legend)
    yield f'<div class="notes">{"".join(f"<p>{text(line)}</p>" for line in legend)}</div>'
    if notes := sheets[0].footnotes:
        yield f'<ol class="notes">{"".join(f"<li>{text(note)}</li>" for note in notes)}</ol>'
    if remarks := sheets[0].remarks:
        yield f'<div class="notes">{"".join(f"<p>{text(remark)}</p>" for remark in remarks)}</div>'
