"""What was left out of the data stands at the table's foot and on the page."""

import html
import json

import pytest
from synthetic import write_run

from bench.store.runs import load_run
from reports.page.page import build_page
from reports.table.build import build
from reports.table.layout import arrange, load_layout
from reports.table.terminal import text_of

LEFT = {"without a stored toxicity beside others": 3, "beyond the number asked for": 40}
TOLD = {"data": "mine.jsonl", "rows": 45, "taken": 2, "left_out": LEFT}
WHOLE = {"data": "all.jsonl", "rows": 7, "taken": 7, "left_out": {}}
SETS = {"data": "rtp", "rows": 9, "taken": 4, "left_out": {"with too few positives": 5}}


@pytest.fixture
def runs(tmp_path):
    folders = [write_run(tmp_path, "none"), write_run(tmp_path, "contrastive", toxicity=0.2)]
    for folder in folders:
        path = folder / "tasks" / "rtp.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"taken": [TOLD, WHOLE]}))
    path = folders[1] / "result.json"
    result = json.loads(path.read_text())
    path.write_text(json.dumps(result | {"artifact": {**result["artifact"], "sets": {"taken": SETS}}}))
    return [load_run(folder) for folder in folders]


def test_the_tables_foot_says_what_was_left_out(runs):
    table = build(runs)
    line = "mine.jsonl: 2 of 45 rows are taken; left out: 3 without a stored toxicity beside others, 40 beyond the"
    assert sum(note.startswith(line) for note in table.footnotes) == 1
    assert "rtp: 4 of 9 rows are taken; left out: 5 with too few positives." in table.footnotes
    assert not any("all.jsonl" in note for note in table.footnotes)
    assert "left out: 3 without" in " ".join(text_of(arrange(table, load_layout("full"))).split())


def test_the_page_says_what_was_taken_of_all_data(runs):
    page = html.unescape(build_page(runs, samples=False, figures=False).html)
    assert "Rows taken" in page
    for fact in (TOLD, WHOLE, SETS):
        assert fact["data"] in page
    assert "5 with too few positives" in page


def test_negatives_above_c_are_counted_at_the_foot(tmp_path):
    folder = write_run(tmp_path, "none")
    path = folder / "tasks" / "rtp.json"
    told = {**WHOLE, "negatives": {"sampled": 30, "above": 4}}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"taken": [told]}))
    assert "all.jsonl: 7 of 7 rows are taken; 4 of 30 negatives are above c." in build([load_run(folder)]).footnotes


@pytest.mark.parametrize(
    "hostile",
    [
        {"negatives": {"above": "\x1b[31m", "sampled": [1]}},
        {"negatives": "##[error]"},
        {"data": "::error::x", "rows": "<b>", "taken": None, "left_out": {"\x1b[31m": "##[error]"}},
        {"left_out": [1]},
        {"left_out": "x"},
        {"left_out": None},
        {},
        {"data": ["x" * 10_000], "left_out": {"a": {"b": 1}}},
    ],
)
def test_an_edited_record_does_no_harm(runs, hostile):
    path = runs[0].path / "tasks" / "rtp.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"taken": [hostile]}))
    again = [load_run(run.path) for run in runs]
    assert all(len(note) <= 400 and "\x1b" not in note for note in build(again).footnotes)
    page = build_page(again, samples=False, figures=False).html
    assert "<td><b>" not in page
