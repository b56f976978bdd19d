"""The resume loop: what is there is not done again, what failed is, and every batch is kept."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from bench.store.appended import AppendedFile
from bench.store.files import read_jsonl
from bench.writers.resume import resume

WANTED = {name: name.upper() for name in "abcd"}


class Bar:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.opened, self.steps = 0, []

    def advance(self, amount: float = 1) -> None:
        self.steps.append(amount)

    @contextmanager
    def open(self) -> Iterator["Bar"]:
        self.opened += 1
        yield self


class Worker:
    """Makes a row of each item, one a batch; some fail, and it can be stopped."""

    def __init__(self, path: Any, failing: str = "", stop_at: str = "") -> None:
        self.path, self.failing, self.stop_at, self.done = path, failing, stop_at, []

    def __call__(self, missing: Mapping[str, str]) -> Iterator[list[dict[str, Any]]]:
        for name, item in missing.items():
            if name == self.stop_at:
                raise KeyboardInterrupt
            self.done.append(name)
            yield [{"name": name, "value": None if name in self.failing else item}]
            assert read_jsonl(self.path)[-1]["name"] == name, "a batch is in the file before the next is asked for"


def carry_out(worker: Worker, rows_per_unit: int = 1) -> Bar:
    bar = Bar()
    with AppendedFile(worker.path) as held:
        resume(
            held,
            WANTED,
            worker,
            bar.open(),
            key=lambda row: row["name"],
            succeeded=lambda row: row["value"] is not None,
            rows_per_unit=rows_per_unit,
        )
    return bar


def test_an_interrupted_loop_does_the_rest_and_what_failed(tmp_path):
    path = tmp_path / "rows.jsonl"
    with pytest.raises(KeyboardInterrupt):
        carry_out(Worker(path, failing="a", stop_at="c"))
    assert [(row["name"], row["value"]) for row in read_jsonl(path)] == [("a", None), ("b", "B")]
    rest = Worker(path)
    bar = carry_out(rest)
    assert rest.done == ["a", "c", "d"], "what failed too, in the order of what is wanted"
    assert bar.steps == [1, 1, 1, 1], "what was there counts as done"
    assert {row["name"]: row["value"] for row in read_jsonl(path)} == WANTED
    assert len(read_jsonl(path)) == len(WANTED)


def test_nothing_is_opened_where_nothing_is_missing(tmp_path):
    path = tmp_path / "rows.jsonl"
    assert carry_out(Worker(path), rows_per_unit=2).steps == [0, 0.5, 0.5, 0.5, 0.5]
    again = Worker(path)
    assert carry_out(again).opened == 0
    assert again.done == []


@pytest.mark.parametrize("row", [{}, {"other": 1}, {"name": ["a"], "value": 1}, {"name": "a"}])
def test_json_that_is_no_row_of_the_file_is_made_again(tmp_path, row):
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{json.dumps(row)}\n")
    carry_out(Worker(path))
    assert {one["name"]: one["value"] for one in read_jsonl(path)} == WANTED
    assert len(read_jsonl(path)) == len(WANTED)
