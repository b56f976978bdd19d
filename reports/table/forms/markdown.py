"""Tables in Markdown, as GitHub and most others read it."""

import re
from collections.abc import Iterator

from reports.table.caption import caption_lines
from reports.table.sheet import Entry, Head, Sheet

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_LIVE = re.compile(r"(@|://|\bwww(?=\.)|#(?=\d)|\bGH(?=-\d))", re.IGNORECASE)
"""What a forge makes a mention, a link or the number of an issue of: an empty comment after it prevents that."""
_SPECIAL = re.compile(r"([\\`*_{}\[\]#|~$])")


def to_markdown(sheet: Sheet) -> str:
    """The sheet: its caption, a pipe table, the legend and the notes."""
    return "\n".join(_lines(sheet)) + "\n"


def _lines(sheet: Sheet) -> Iterator[str]:
    for line in caption_lines(sheet.caption):
        yield f"{escape(line)}  "
    for fact in sheet.forced:
        yield f"**NOT COMPARABLE, forced together: {escape(fact)}**  "
    for sentence in sheet.verdict:
        yield f"- {escape(sentence)}"
    yield ""
    yield _row("", [_head(head, sheet) for head in sheet.columns])
    yield _row(":--", ["--:"] * len(sheet.columns))
    under = None
    for head, entries in sheet.rows:
        if sheet.systems == "columns" and head.under != under:
            under = head.under
            if under:
                yield _row(f"**{escape(under)}**", [""] * len(sheet.columns))
        label = escape(head.label) + (f" {head.arrow}" if head.arrow else "") + _role(head)
        yield _row(label, [_entry(one) for one in entries])
    yield ""
    for line in sheet.legend:
        yield f"{escape(line)}  "
    for place, note in enumerate(sheet.footnotes, 1):
        yield f"<sup>{place}</sup> {escape(note)}  "
    for remark in sheet.remarks:
        yield f"{escape(remark)}  "


def _row(first: str, cells: list[str]) -> str:
    return f"| {' | '.join([first, *cells])} |"


def _head(head: Head, sheet: Sheet) -> str:
    under = f"{escape(head.under)}<br>" if head.under and sheet.systems == "rows" else ""
    return f"{under}{escape(head.label)}{f' {head.arrow}' if head.arrow else ''}{_role(head)}"


def _role(head: Head) -> str:
    told = (f" ({head.role})" if head.role else "") + ("" if head.publishable else " **NOT PUBLISHABLE**")
    return told + (f" **{escape(head.flagged)}**" if head.flags else "")


def _entry(one: Entry) -> str:
    value = escape(one.value)
    if one.standing:
        value = f"**{value}**\\*" if one.standing == "best" else f"{value}{one.mark}"
    notes = "".join(f"<sup>{place + 1}</sup>" for place in one.notes)
    parts = [f"{value}{'' if one.difference else one.dagger}{notes}"]
    parts += [one.interval] if one.interval else []
    parts += [f"{one.difference}{one.dagger}"] if one.difference else []
    parts += [one.rank] if one.rank else []
    parts += [one.loss] if one.loss else []
    return "<br>".join(parts)


def escape(text: str) -> str:
    """Text that means nothing to Markdown or HTML, and is no link, mention or issue."""
    parts = _LIVE.split(text)
    told = ["".join(_ENTITIES.get(character, character) for character in _SPECIAL.sub(r"\\\1", part)) for part in parts]
    return "<!-- -->".join("".join(pair) for pair in zip(told[::2], [*told[1::2], ""], strict=True)).replace("\n", " ")
