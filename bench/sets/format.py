"""The JSONL format of contrastive sets: one anchor a line.

```json
{"anchor": "He said", "positives": [{"text": " hello.", "score": 0.01}], "negatives": [{"text": " ...", "score": 0.97}],
 "provenance": {"source": "self", "generator": "...", "scorer": "...", "seed": 0}}
```

A text is what follows the anchor, leading space included. Where the anchor says a fact that is to be edited, `subject`
is the part of it that the fact is about; where that stands there more than once, `subject_at` is the number of
characters before it. `score` is the scorer's (null where nobody scored it); `provenance` says how the line came to be,
in whatever keys its maker uses (null where nobody said it).
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from bench.data.counted import Counted
from bench.data.files import read_rows
from bench.errors import BenchError, UsageError
from bench.hashing import content_id, hash_file
from bench.sets.preferences import grouped, is_preference
from bench.spec import MADE_SETS, Spec, validate
from bench.store.files import read_json, write_text
from bench.words import places_of

TAKEN = "taken.json"
"""Beside the sets that a run makes: what of the prompts became sets."""
_BOTH = "that are both a positive and a negative of one anchor"


class Text(Spec):
    """A continuation of the anchor with the scorer's score in [0, 1], or None."""

    text: str = Field(min_length=1)
    score: float | None = Field(None, ge=0, le=1)


class ContrastiveSet(Spec):
    """An anchor with its positives and negatives, and the subject of the fact that it says, where it says one."""

    anchor: str
    positives: list[Text]
    negatives: list[Text]
    provenance: Annotated[dict[str, Any], BeforeValidator(lambda told: {} if told is None else told)] = Field({})
    subject: str | None = Field(None, min_length=1, exclude_if=lambda subject: subject is None)
    subject_at: int | None = Field(None, ge=0, exclude_if=lambda place: place is None)

    @model_validator(mode="after")
    def _subject_in_anchor(self) -> Self:
        if self.subject is None:
            if self.subject_at is not None:
                raise ValueError("'subject_at' needs a 'subject'")
            return self
        places = places_of(self.subject, self.anchor)
        if not places:
            raise ValueError("'subject' does not stand in 'anchor'")
        if self.subject_at is not None and not self.anchor.startswith(self.subject, self.subject_at):
            raise ValueError("'subject' does not stand at 'subject_at' in 'anchor'")
        if self.subject_at is None and len(places) > 1:
            what = f"'subject' stands {len(places)} times in 'anchor'"
            raise ValueError(f"{what}: say by 'subject_at' how many characters stand before the one that is meant")
        return self

    @property
    def subject_place(self) -> int:
        """How many characters of the anchor stand before its subject."""
        return places_of(self.subject or "", self.anchor)[0] if self.subject_at is None else self.subject_at

    @property
    def id(self) -> str:
        """The anchor's content id."""
        return content_id(self.anchor)

    def all_texts(self) -> list[str]:
        """Everything that a model is trained on: the anchor, alone and with each of its texts."""
        return [self.anchor, *(self.anchor + one.text for one in (*self.positives, *self.negatives))]


@dataclass(frozen=True)
class ContrastiveSets:
    """Contrastive sets.

    Attributes:
        sets: One an anchor.
        hash: SHA-256 (hex) of the file that holds them.
        source: Where they are from.
        taken: How many prompts became sets, and why the others did not; None where nobody said.
    """

    sets: list[ContrastiveSet]
    hash: str
    source: str
    taken: dict[str, Any] | None = None

    def __len__(self) -> int:
        """Number of anchors."""
        return len(self.sets)


def load_sets(path: Path, source: str | None = None) -> ContrastiveSets:
    """Read contrastive sets, or preference data as such (`bench.sets.preferences`).

    Raises:
        UsageError: the file is missing, holds no set, or a line is not in the format (the message has its number).
    """
    rows, taken = list(read_rows(path)), None
    if rows and is_preference(rows[0][1]):
        found, taken = grouped(rows, source or path.name)
        rows = [(f"{path}, prompt {number}", row) for number, row in enumerate(found, 1)]
    sets = [_parse(row, where) for where, row in rows]
    if not sets:
        raise UsageError(f"{path} holds no contrastive set")
    beside = path.with_name(TAKEN)
    if source in MADE_SETS:
        taken = read_json(beside) if beside.is_file() else taken
    elif taken is None:
        sets, taken = _apart(sets, source or path.name)
    return ContrastiveSets(sets, hash_file(path), source or str(path), taken)


def _apart(sets: list[ContrastiveSet], source: str) -> tuple[list[ContrastiveSet], dict[str, Any] | None]:
    """The sets without what is both a positive and a negative of its anchor, and for the record what was left out."""
    apart = []
    for one in sets:
        both = {text.text for text in one.positives} & {text.text for text in one.negatives}
        sides = {"positives": one.positives, "negatives": one.negatives}
        kept = {side: [text for text in texts if text.text not in both] for side, texts in sides.items()}
        apart.append(one.model_copy(update=kept) if both else one)
    every, left = ([text for one in some for text in (*one.positives, *one.negatives)] for some in (sets, apart))
    counted = Counted(every).keep(left, _BOTH)
    return apart, counted.facts(f"texts of {source}") if counted.left_out else None


def _parse(row: dict[str, Any], where: str) -> ContrastiveSet:
    try:
        return validate(ContrastiveSet, row, where, show_values=False)
    except BenchError as error:
        raise UsageError(error.what, mend="see docs/sets.md for the format") from None


def save_sets(path: Path, sets: Iterable[ContrastiveSet]) -> None:
    """Write contrastive sets, whole or not at all."""
    write_text(path, sets_text(sets))


def sets_text(sets: Iterable[ContrastiveSet]) -> str:
    """Contrastive sets as JSON lines."""
    return "".join(json.dumps(one.model_dump(), ensure_ascii=False) + "\n" for one in sets)
