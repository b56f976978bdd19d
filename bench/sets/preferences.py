"""Preference data as contrastive sets: pairs, as TRL and most data on the hub have them, or single judged texts.

```json
{"prompt": "She asked whether", "chosen": " he was well.", "rejected": " he was an idiot."}
{"prompt": "She asked whether", "completion": " he was well.", "label": true}
```

Rows of one prompt are one set: what was chosen, or has the label true, are its positives. Other columns are not read.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bench.data.counted import Counted
from bench.data.files import Row
from bench.errors import UsageError

PAIRED = ("prompt", "chosen", "rejected")
JUDGED = ("prompt", "completion", "label")
_BOTH = "that say of a text what another row denies"


def is_preference(row: Mapping[str, Any]) -> bool:
    """Whether a row is of preference data."""
    return "anchor" not in row and any(all(name in row for name in form) for form in (PAIRED, JUDGED))


def grouped(rows: Iterable[Row], source: str) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """The sets, as rows of their own format (`bench.sets.format`), and what was left out.

    Prompts stand in the file's order. A text that is there twice for one prompt counts once. A text that one row wants
    after a prompt, and another does not, is left out.

    Args:
        rows: The rows, with the place of each.
        source: What the record calls the file.

    Returns:
        The sets, and for the record how many texts were taken and left out; None where all were taken.

    Raises:
        UsageError: a row is of another form than the first, or one of its texts is none; the message has its number.
    """
    texts: dict[str, dict[str, set[bool]]] = {}  # by prompt and text: whether it is wanted, as the rows say
    form: tuple[str, ...] | None = None
    for where, row in rows:
        form = form or next(one for one in (PAIRED, JUDGED) if all(name in row for name in one))
        for text, is_wanted in _judged(row, form, where):
            texts.setdefault(row["prompt"], {}).setdefault(text, set()).add(is_wanted)
    sets = []
    for prompt, judged in texts.items():
        sides = {side: [{"text": text} for text, said in judged.items() if said == {side}] for side in (True, False)}
        sets.append({"anchor": prompt, "positives": sides[True], "negatives": sides[False]})
    told = [said for judged in texts.values() for said in judged.values()]
    kept = Counted(told).keep([said for said in told if len(said) == 1], _BOTH)
    return sets, kept.facts(f"texts of {source}") if kept.left_out else None


def _judged(row: Mapping[str, Any], form: tuple[str, ...], where: str) -> Iterator[tuple[str, bool]]:
    """The texts of a row, and whether each is wanted."""
    mend = f"every row has {', '.join(form[:-1])} and {form[-1]}"
    if any(name not in row for name in form):
        raise UsageError(f"{where}: no '{next(name for name in form if name not in row)}'", mend=mend)
    for name in form:
        if name != "label" and not isinstance(row[name], str):
            what = "a conversation" if isinstance(row[name], list) else "no text"
            raise UsageError(f"{where}: '{name}' is {what}", mend="write prompt and answer as texts")
    if form == PAIRED:
        yield row["chosen"], True
        yield row["rejected"], False
    elif isinstance(row["label"], bool):
        yield row["completion"], row["label"]
    else:
        raise UsageError(f"{where}: 'label' is neither true nor false", mend=mend)
