"""`bench data convert`: preference data becomes a file of sets."""

import json

import pytest

PAIRED = [
    {"prompt": "She asked", "chosen": " him.", "rejected": " the fool.", "model": "x"},
    {"prompt": "She asked", "chosen": " her.", "rejected": " him."},
    {"prompt": "He said", "chosen": " so.", "rejected": " nothing."},
]


def test_pairs_become_a_set_for_each_prompt(bench, tmp_path):
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in PAIRED))
    done = bench("data", "convert", "pairs.jsonl", "-o", "sets.jsonl")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "sets.jsonl: 2 sets, 2 positives, 2 negatives",
        "texts left out: 1 that say of a text what another row denies",
    ]
    rows = [json.loads(line) for line in (tmp_path / "sets.jsonl").read_text().splitlines()]
    assert [row["anchor"] for row in rows] == ["She asked", "He said"]
    assert [text["text"] for text in rows[0]["positives"]] == [" her."]
    again = bench("data", "convert", "sets.jsonl", "-o", "again.jsonl", "--json")
    assert json.loads(again.stdout)["sets"] == 2
    assert (tmp_path / "again.jsonl").read_bytes() == (tmp_path / "sets.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"prompt": "x", "chosen": [{"role": "user"}], "rejected": "y"}, "line 1: 'chosen' has a message"),
        ({"text": "x"}, "line 1"),
    ],
)
def test_what_is_wrong_is_one_line(bench, tmp_path, row, told):
    (tmp_path / "bad.jsonl").write_text(json.dumps(row) + "\n")
    done = bench("data", "convert", "bad.jsonl", "-o", "sets.jsonl")
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr
    assert not (tmp_path / "sets.jsonl").exists()


@pytest.mark.parametrize("verb", ["convert", "stats"])
def test_a_file_that_cannot_be_written_is_told_before_any_work(bench, tmp_path, verb):
    (tmp_path / "file").write_text("")
    done = bench("data", verb, "absent.jsonl", "-o", "file/found.svg")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no file can be written at file/found.svg" in done.stderr
