"""Files of texts: contrastive sets and prompts, in all forms."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import pyarrow
import pyarrow.parquet
from fuzz.driver import Call, Case, Kind, Trial
from fuzz.mutation import as_json, as_lines, mutated, put, spoilt, take_away, texts

from bench.data.prompts import load_prompts
from bench.data.sentences import assert_groups, assert_labels, load_sentences
from bench.sets.format import load_sets, save_sets

_LABELS = ("toxic", "neutral", "not hate", "0", "1", "1.0", "", "maybe")


def _set_rows(chance: Random) -> list[Any]:
    words = texts(chance)

    def some() -> list[Any]:
        return [{"text": f" {text}", "score": chance.choice((None, 0.1, 0.9))} for text in islice(words, 2)]

    return [
        {"anchor": next(words), "positives": some(), "negatives": some(), "provenance": {"source": "self", "seed": 0}}
        for _ in range(chance.randrange(1, 5))
    ]


def _prompt_rows(chance: Random) -> list[Any]:
    shape = chance.randrange(4)
    rows: list[Any] = []
    for text in islice(texts(chance), chance.randrange(1, 6)):
        row: dict[str, Any] = {"text": text, "toxicity": chance.choice((None, 0.1, 0.9, 0.5))}
        if shape == 1:
            row = {"filename": "x", "prompt": row, "continuation": {"text": "y"}}
        elif shape == 2:
            row = {
                "text": text,
                "label": chance.choice(_LABELS),
                "target_groups": chance.choice((["women"], [], "jewish")),
            }
        elif shape == 3:
            row = {"input": text, "prompt_label": chance.choice((0, 1, 1.0, True)), "group": "asian"}
        rows.append(row)
    return rows


def _table(rows: Any, delimiter: str) -> bytes:
    """As a table, or as JSON lines where the rows are none any more."""
    if not (isinstance(rows, list) and rows and all(isinstance(row, dict) for row in rows)):
        return as_lines(rows)
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, list(dict.fromkeys(key for row in rows for key in row)), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue().encode("utf-8", "surrogatepass")


def _plain(rows: Any) -> bytes:
    found = (
        [str(row.get("text", row) if isinstance(row, dict) else row) for row in rows]
        if isinstance(rows, list)
        else [str(rows)]
    )
    return "\n".join(found).encode("utf-8", "surrogatepass")


def _parquet(rows: Any) -> bytes:
    """As columns, or one column of JSON where their types do not fit each other."""
    sink = io.BytesIO()
    try:
        table = pyarrow.Table.from_pylist(rows)
    except (pyarrow.ArrowException, TypeError, AttributeError, ValueError, OverflowError, LookupError):
        table = pyarrow.table({"text": [json.dumps(row) for row in rows] if isinstance(rows, list) else []})
    pyarrow.parquet.write_table(table, sink)
    return sink.getvalue()


_FORMS: dict[str, Callable[[Any], bytes]] = {
    "jsonl": as_lines,
    "json": as_json,
    "csv": lambda rows: _table(rows, ","),
    "tsv": lambda rows: _table(rows, "\t"),
    "txt": _plain,
    "parquet": _parquet,
}


def _files(
    rows_of: Callable[[Random], Any], forms: tuple[str, ...], calls: Callable[[Path], list[Call]]
) -> Callable[[Path], Case]:
    """Cases that write rows to a file in one of some forms, changed as values or as bytes, and read it."""

    def prepare(folder: Path) -> Case:
        @contextmanager
        def case(chance: Random) -> Iterator[Trial]:
            form = chance.choice(forms)
            path = folder / f"data.{form}"
            rows = rows_of(chance)
            if chance.random() < 0.6:
                rows = mutated(chance, rows)
            try:
                data = _FORMS[form](rows)
            except (UnicodeError, TypeError, pyarrow.ArrowException):  # what this form cannot hold
                data = as_lines(rows)
            if chance.random() < 0.5:
                data = spoilt(chance, data)
            put(chance, path, data)
            yield Trial([path], calls(path))
            take_away(path)

        return case

    return prepare


def _read_sets(path: Path) -> list[Call]:
    def come_back() -> None:
        """What was read is written and read as it was."""
        found = load_sets(path)
        again = path.with_name("again.jsonl")
        save_sets(again, found.sets)
        if load_sets(again).sets != found.sets:
            raise AssertionError("other sets came back")

    return [Call("load_sets", come_back)]


def _read_prompts(path: Path) -> list[Call]:
    def prompts() -> None:
        found = load_prompts(path)
        if len({one.id for one in found}) < len(found) or not all(0 <= (one.toxicity or 0) <= 1 for one in found):
            raise AssertionError("what no prompts are was taken for some")
        "".join(one.text for one in found).encode()

    def sentences() -> None:
        found = load_sentences(path)
        "".join(one.text + "".join(one.about) for one in found).encode()
        assert_labels(found)
        assert_groups(found)

    return [
        Call("load_prompts", prompts),
        Call("load_sentences", sentences),
        Call("load_sentences(field='text')", lambda: load_sentences(path, "text")),
    ]


SETS = Kind("sets", 10_000, _files(_set_rows, ("jsonl", "jsonl", "json"), _read_sets))
PROMPTS = Kind("prompts", 10_000, _files(_prompt_rows, tuple(_FORMS), _read_prompts))
