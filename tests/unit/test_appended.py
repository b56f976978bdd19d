"""Files that are appended to in batches: what is cut off within a batch takes that batch with it, and no other."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.store.appended import AppendedFile
from bench.store.files import read_jsonl

ROW = st.fixed_dictionaries({"text": st.text(max_size=8), "n": st.integers(0, 9)})
BATCHES = st.lists(st.lists(ROW, min_size=1, max_size=3), min_size=1, max_size=4)


def written(path: Path, batches: list[list[dict[str, object]]]) -> list[int]:
    """Where each batch ends."""
    ends = [0]
    with AppendedFile(path) as held:
        for batch in batches:
            held.append(batch)
            ends.append(path.stat().st_size)
    return ends


@given(batches=BATCHES, share=st.floats(0, 1))
def test_whole_batches_survive_a_cut_and_no_part_of_one(tmp_path_factory, batches, share):
    path = tmp_path_factory.mktemp("cut") / "rows.jsonl"
    ends = written(path, batches)
    whole = path.read_bytes()
    assert read_jsonl(path) == [row for batch in batches for row in batch]
    cut = round(share * len(whole))
    path.write_bytes(whole[:cut])
    kept = max(number for number, end in enumerate(ends) if end <= cut)
    with AppendedFile(path) as held:
        assert held.rows == [row for batch in batches[:kept] for row in batch]
        for batch in batches[kept:]:
            held.append(batch)
    assert path.read_bytes() == whole


def test_a_file_of_before_loses_the_line_that_was_cut_off(tmp_path):
    path = tmp_path / "rows.jsonl"
    lines = [json.dumps({"n": n}) + "\n" for n in range(3)]
    path.write_text("".join(lines) + '{"n": 3', encoding="utf-8")
    with AppendedFile(path) as held:
        assert [row["n"] for row in held.rows] == [0, 1, 2]
    assert path.read_text(encoding="utf-8") == "".join(lines)


def test_rows_that_are_kept_are_a_batch(tmp_path):
    path = tmp_path / "rows.jsonl"
    written(path, [[{"n": n}, {"n": n + 10}] for n in range(3)])
    with AppendedFile(path) as held:
        held.keep(lambda row: row["n"] < 10)
        held.append([{"n": 5}])
    with AppendedFile(path) as held:
        assert [row["n"] for row in held.rows] == [0, 1, 2, 5]
        held.keep(lambda row: False)
    assert path.read_bytes() == b""


@pytest.mark.parametrize("kind", ["folder", "garbage"])
def test_what_is_no_such_file_is_set_aside(tmp_path, kind):
    path = tmp_path / "rows.jsonl"
    if kind == "folder":
        path.mkdir()
    else:
        path.write_bytes(b" {not json\n{} \n")
    with AppendedFile(path) as held:
        assert held.rows == []
        held.append([{"n": 1}])
    assert (tmp_path / "rows.jsonl.damaged").exists()
    assert read_jsonl(path) == [{"n": 1}]
