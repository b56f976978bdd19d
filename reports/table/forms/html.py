"""Tables in HTML: a fragment of plain markup, for a page to style and to make sortable."""

import re
from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby

from reports.table.caption import caption_lines
from reports.table.sheet import Entry, Head, Sheet

_CLAIMS = {"method": "the method differs significantly", "training": "this one training differs significantly"}


def to_html(sheet: Sheet, *, linked: bool = False) -> str:
    """The sheet as a fragment: `<figure class="table">` with a `<table>`, what it says, the legend and the notes.

    Figures carry `data-sort` (the number itself; absent where there is none), heads `scope`, and marks their meaning as
    a title. No script, no style; no link unless asked for.

    Args:
        sheet: The sheet.
        linked: Give each row an id and a link to itself, `#metric-rtp-toxic-fraction`; once on a page.
    """
    return "\n".join(_lines(sheet, linked=linked)) + "\n"


def _lines(sheet: Sheet, *, linked: bool) -> Iterator[str]:
    yield '<figure class="table">'
    yield "<table>"
    yield f"<caption>{'<br>'.join(escape(line) for line in caption_lines(sheet.caption))}"
    for fact in sheet.forced:
        yield f'<br><strong class="forced">NOT COMPARABLE, forced together: {escape(fact)}</strong>'
    yield "</caption>"
    yield "<thead>"
    if sheet.systems == "rows" and any(head.under for head in sheet.columns):
        yield f"<tr><td></td>{''.join(_groups(sheet.columns))}</tr>"
    yield f"<tr><td></td>{''.join(_head(head, 'col') for head in sheet.columns)}</tr>"
    yield "</thead>"
    under = None
    yield "<tbody>"
    for head, entries in sheet.rows:
        if sheet.systems == "columns" and head.under != under:
            under = head.under
            yield "</tbody><tbody>"
            if under:
                yield f'<tr><th scope="rowgroup" colspan="{len(sheet.columns) + 1}">{escape(under)}</th></tr>'
        own, link = _link(head) if linked else ("", "")
        yield f"<tr{own}>{_head(head, 'row', link)}{''.join(map(_entry, entries))}</tr>"
    yield "</tbody>"
    yield "</table>"
    yield "<figcaption>"
    for line in (*sheet.verdict, *sheet.legend):
        yield f"<p>{escape(line)}</p>"
    if sheet.footnotes:
        yield "<ol>"
        for note in sheet.footnotes:
            yield f"<li>{escape(note)}</li>"
        yield "</ol>"
    for remark in sheet.remarks:
        yield f"<p>{escape(remark)}</p>"
    yield "</figcaption>"
    yield "</figure>"


def _groups(heads: Sequence[Head]) -> Iterator[str]:
    for under, some in groupby(heads, key=lambda head: head.under):
        scope = ' scope="colgroup"' if under else ""
        yield f'<th{scope} colspan="{len(list(some))}">{escape(under or "")}</th>'


def _link(head: Head) -> tuple[str, str]:
    """A row's id, as an attribute, and a link to it."""
    name = "-".join(re.findall(r"[\w.]+", f"metric {head.under or ''} {head.label}"))
    return f' id="{name}"', f' <a class="link" href="#{name}" title="link to this row">#</a>'


def _head(head: Head, scope: str, link: str = "") -> str:
    role = f" <small>({head.role})</small>" if head.role else ""
    warning = "" if head.publishable else ' <strong class="unpublishable">NOT PUBLISHABLE</strong>'
    flagged = f' <strong class="flagged">{escape(head.flagged)}</strong>' if head.flags else ""
    arrow = f" {head.arrow}" if head.arrow else ""
    return f'<th scope="{scope}"><bdi>{escape(head.label)}</bdi>{arrow}{role}{warning}{flagged}{link}</th>'


def _entry(one: Entry) -> str:
    sort = "" if one.number is None else f' data-sort="{one.number!r}"'
    value = escape(one.value)
    if one.standing == "best":
        value = f'<strong title="best: clearly better than every other">{value}</strong>*'
    elif one.standing == "may_be_best":
        value = f'<span title="may be best: none is clearly better">{value}{one.mark}</span>'
    dagger = f'<abbr title="{_CLAIMS[one.claim]}">{one.dagger}</abbr>' if one.claim else ""
    notes = "".join(f"<sup>{place + 1}</sup>" for place in one.notes)
    parts = [f"{value}{'' if one.difference else dagger}{notes}"]
    if one.interval:
        parts.append(f'<small class="interval">{escape(one.interval)}</small>')
    if one.difference:
        parts.append(f'<span class="difference {one.verdict or ""}">{escape(one.difference)}{dagger}</span>')
    if one.loss:
        parts.append(f'<small class="loss">{escape(one.loss)}</small>')
    if one.rank:
        parts.append(f'<small class="rank">{escape(one.rank)}</small>')
    return f"<td{sort}>{'<br>'.join(parts)}</td>"
