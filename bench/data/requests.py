"""Requests to a model: harmless ones that may sound harmful, and harmful ones, in pairs of one form or alone."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench.data.counted import REPEATED, Counted
from bench.data.files import read_rows, refuse_misspelt
from bench.errors import UsageError
from bench.hashing import content_id

HARMLESS: Literal["harmless"] = "harmless"
HARMFUL: Literal["harmful"] = "harmful"
Kind = Literal["harmless", "harmful"]
_LABELS: dict[str, Kind] = {"safe": HARMLESS, "harmless": HARMLESS, "unsafe": HARMFUL, "harmful": HARMFUL}
_TEXTS = ("text", "prompt", "question")
_LABEL, _HARMFUL_TEXT = "label", "harmful_version"


@dataclass(frozen=True)
class Request:
    """A request.

    Attributes:
        id: Its content id.
        text: It itself.
        kind: Whether it is `harmless` or `harmful`.
        pair: The name of the pair that it is one of; None for one that stands alone.
    """

    id: str
    text: str
    kind: Kind
    pair: str | None = None


def load_requests(*paths: Path, answered: Collection[Path] = ()) -> Counted[Request]:
    """Read requests, each content once, by content id; both of a pair stand together.

    Rows are `{"text": ...}` for a harmless request, with `harmful_version` where a harmful one of the same form stands
    beside it, or with `label`, `safe` or `unsafe` (XSTest's), for one that stands alone. `prompt` and `question` may
    stand for `text`. A pair of which a request stands elsewhere too is left out.

    Args:
        paths: The files, in any form that `read_rows` reads.
        answered: Those whose pairs have an answer behind the first blank line of each text, as the embedded ones have:
            the request is what stands before it.

    Raises:
        UsageError: a row is none of these, or there is none.
    """
    found: list[tuple[Request, ...]] = []
    seen: set[str] = set()
    left_out: Counter[str] = Counter()
    for path in paths:
        for where, row in read_rows(path):
            some = _of(row, where, answered=path in answered)
            if len({one.id for one in some} - seen) < len(some):
                left_out[REPEATED] += len(some)
                continue
            seen.update(one.id for one in some)
            found.append(some)
    if not found:
        raise UsageError(f"{', '.join(map(str, paths))} holds no request")
    found.sort(key=lambda some: some[0].id)
    return Counted((one for some in found for one in some), left_out)


def _of(row: dict[str, Any], where: str, *, answered: bool) -> tuple[Request, ...]:
    """The one or two requests of a row."""
    for field in (_LABEL, _HARMFUL_TEXT):
        refuse_misspelt(row, (field,), where)
    text = _text(row, next((key for key in _TEXTS if key in row), _TEXTS[0]), where)
    if _HARMFUL_TEXT in row:
        other = _text(row, _HARMFUL_TEXT, where)
        if answered:
            text, other = (one.partition("\n\n")[0].strip() for one in (text, other))
        pair = content_id(f"{text}\n{other}")
        kinds: tuple[tuple[str, Kind], ...] = ((text, HARMLESS), (other, HARMFUL))
        return tuple(Request(content_id(one), one, kind, pair) for one, kind in kinds)
    label = row.get(_LABEL, HARMLESS)
    if not isinstance(label, str) or label.casefold() not in _LABELS:
        raise UsageError(f"{where}: '{_LABEL}' is neither safe nor unsafe")
    return (Request(content_id(text), text, _LABELS[label.casefold()]),)


def _text(row: dict[str, Any], key: str, where: str) -> str:
    text = row.get(key)
    if not isinstance(text, str) or not text.strip():
        raise UsageError(f"{where}: no request under the key '{key}'")
    return text.strip()
