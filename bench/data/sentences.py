"""Sentences to write sets of or to ask about, from the files that people have: JSON, CSV, Parquet, plain text."""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.data.files import read_parquet, read_rows, read_text
from bench.data.groups import group_name, mentioned
from bench.data.prompts import TOXIC_FROM
from bench.data.splits import part
from bench.errors import UsageError
from bench.hashing import content_id

FIELDS = ("sentence", "text", "input", "neutral_comment", "generation", "passage", "prompt")
"""Keys that hold the sentence, the first that a row has: ours, SafeNLP's and ToxiGen's `text`, the `input` of Klein &
Nabi's released files, ParaDetox's `neutral_comment`, ToxiGen's `generation`."""
GROUPS = ("groups", "target_groups", "group", "target_group")
"""Keys that name the identity groups that a sentence is about: a list, or one name."""
_PROMPT_GROUPS = ("toxic", "nontoxic")  # what samples of RealToxicityPrompts have under `group`
_TOXIC = ("hate", "hateful", "toxic", "offensive", "harmful", "abusive", "true", "1")
_NEUTRAL = ("neutral", "benign", "normal", "harmless", "nonhate", "nontoxic", "nottoxic", "false", "0")
"""What a `label` may say, without case, spaces, hyphens and underscores."""


@dataclass(frozen=True)
class Sentence:
    """A sentence.

    Attributes:
        id: Its content id.
        text: It itself.
        groups: The identity groups that it is about: as the data says, or none.
        toxic: Whether the data calls it toxic; None where it says neither.
    """

    id: str
    text: str
    groups: tuple[str, ...] = ()
    toxic: bool | None = None

    @property
    def group(self) -> str | None:
        """Its groups as one word, for people."""
        return "+".join(self.groups) or None

    @property
    def about(self) -> tuple[str, ...]:
        """The groups that the data names; where it names none, those that the sentence mentions."""
        return self.groups or mentioned(self.text)


def load_sentences(path: Path, field: str | None = None) -> list[Sentence]:
    """Read sentences, each content once, in the file's order.

    Args:
        path: `.jsonl` (or any other ending): JSON lines; `.json`: one array of objects, or JSON lines; `.csv`,
            `.tsv` with a header; `.parquet`; `.txt`: a sentence a line.
        field: The key or column of the sentence; None for the first of `FIELDS` that a row has.

    Raises:
        UsageError: a row has no sentence, or there is none; the message has the row's number, not its text.
    """
    sentences: dict[str, Sentence] = {}
    for where, row in _rows(path):
        text = _text(row, field, where)
        if text.strip():
            sentence = Sentence(content_id(text), text.strip(), _groups(row, where), _toxic(row))
            sentences.setdefault(sentence.id, sentence)
    if not sentences:
        raise UsageError(f"{path} holds no sentence")
    return list(sentences.values())


def _groups(row: dict[str, Any], where: str) -> tuple[str, ...]:
    """The identity groups that a row names, each once; our own samples join them by +, or name none of them."""
    named = next((row[key] for key in GROUPS if row.get(key)), ())
    names = named if isinstance(named, list | tuple) else str(named).split("+")
    return tuple(dict.fromkeys(group_name(str(name), where) for name in names if name not in _PROMPT_GROUPS))


def _toxic(row: dict[str, Any]) -> bool | None:
    """What a row says: SafeNLP's `label`, ToxiGen's `prompt_label`, or RealToxicityPrompts' `toxicity` (0 to 1)."""
    for key in ("label", "prompt_label"):
        label = re.sub(r"[\s_-]", "", str(row.get(key, ""))).casefold().removesuffix(".0")
        if label in _TOXIC + _NEUTRAL:
            return label in _TOXIC
    inner = row["prompt"] if isinstance(row.get("prompt"), dict) else row
    try:
        score = float(inner.get("toxicity", ""))
    except (TypeError, ValueError):
        return None
    return score >= TOXIC_FROM if 0 <= score <= 1 else None


def evaluation_half(path: Path, field: str | None = None, *, toxic: bool | None = None) -> list[Sentence]:
    """The sentences that nothing learns from, by content id; `toxic` leaves out what the data calls the other kind."""
    held_out = sorted(part(load_sentences(path, field), "eval"), key=lambda sentence: sentence.id)
    return [one for one in held_out if toxic is None or one.toxic is not (not toxic)]


def assert_apart(toxic: Iterable[Sentence], neutral: Iterable[Sentence], task: str, kinds: str) -> None:
    """Refuse sentences that would be both kinds: those of one file without labels.

    Raises:
        UsageError: there are some; it names the task, and the kinds in its words.
    """
    if both := {one.id for one in toxic} & {one.id for one in neutral}:
        raise UsageError(
            f"{task}: {len(both)} sentences are both {kinds}",
            mend="one file for both needs labels (see docs/protocols.md)",
        )


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    kind = path.suffix.casefold()
    if kind == ".txt":
        for number, line in enumerate(_read(path).splitlines(), 1):
            yield f"{path}, line {number}", {"text": line}
    elif kind in (".csv", ".tsv"):
        yield from _table(path, tabs=kind == ".tsv")
    elif kind == ".parquet":
        for number, row in enumerate(read_parquet(path), 1):
            yield f"{path}, row {number}", row
    elif kind == ".json" and _read(path).lstrip().startswith("["):
        yield from _array(path)
    else:
        yield from read_rows(path)


def _array(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of one JSON array."""
    try:
        rows = json.loads(_read(path))
    except json.JSONDecodeError as error:
        raise UsageError(f"{path}, line {error.lineno}: not JSON ({error.msg} at column {error.colno})") from None
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise UsageError(f"{path}, entry {number}: not a JSON object")
        yield f"{path}, entry {number}", row


def _table(path: Path, *, tabs: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows of a table with a header; a quote means nothing where tabs part the cells."""
    form: dict[str, Any] = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if tabs else {"strict": True}
    reader = csv.DictReader(io.StringIO(_read(path), newline=""), **form)
    number = 0
    try:
        for number, row in enumerate(reader, 1):
            yield f"{path}, row {number}", dict(row)
    except csv.Error as error:
        raise UsageError(f"{path}, after row {number}: no row of a table ({error})") from None


def _read(path: Path) -> str:
    return read_text(path, "utf-8-sig")


def _text(row: dict[str, Any], field: str | None, where: str) -> str:
    names = [field] if field else [name for name in FIELDS if name in row]
    text = row.get(names[0]) if names else None
    if isinstance(text, dict):  # the hub's RealToxicityPrompts: {"prompt": {"text": ...}}
        text = text.get("text")
    if field and field in row and text is None:  # a request that failed left no text
        return ""
    if not isinstance(text, str):
        what = f"no text under '{field}'" if field else f"none of the keys {', '.join(FIELDS)} holds a text"
        names = [str(name) for name in row if str(name).isidentifier()]  # a file without a header has texts for names
        has = ", ".join(names)[:200] or "none that is a name"
        raise UsageError(f"{where}: {what}", mend=f"name the key with --field (it has {has})")
    return text
