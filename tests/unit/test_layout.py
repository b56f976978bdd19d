"""Layouts: those of the suite, a user's own, and what is wrong with one."""

import re

import pytest
from synthetic import write_run

from bench.errors import MissingError, UsageError
from bench.store.runs import list_runs
from reports.table.build import build
from reports.table.layout import Layout, arrange, layouts, load_layout


@pytest.fixture
def root(tmp_path):
    write_run(tmp_path, "none")
    write_run(tmp_path, "contrastive", toxicity=0.2, config={"tau": 1.0, "lr": 0.1})
    write_run(tmp_path, "contrastive", toxicity=0.1, config={"tau": 0.5, "lr": 0.1}, run_id="half")
    return tmp_path


def sheet_of(root, layout):
    return arrange(build(list_runs(root), wanted=layout.wants), layout)


def test_every_layout_of_the_suite_shows_something(root):
    assert layouts() == ["ablation", "brief", "cost", "full", "paper", "summary", "sweep", "toxicity", "utility"]
    for name in layouts():
        layout = load_layout(name)
        assert layout.name == name
        assert layout.description
        assert sheet_of(root, layout).rows


def test_full_shows_all_that_was_measured(root):
    table = build(list_runs(root))
    assert len(sheet_of(root, load_layout("full")).rows) >= len(table.rows)
    assert {row.key for row in table.rows} == {m.key for run in list_runs(root) for m in run.result.metrics}


def test_summary_has_a_line_a_system_and_costs(root):
    sheet = sheet_of(root, load_layout("summary"))
    assert sheet.rows[0][0].label == "none"
    assert [(head.under, head.label) for head in sheet.columns if head.under in ("toxicity", "cost")] == [
        ("toxicity", "EMT, toxic"),
        ("toxicity", "toxic fraction, toxic"),
        ("cost", "seconds to prepare"),
    ]
    assert sheet.rows[0][1][-1].number == 12.5


def test_ablation_shows_the_options_that_differ(root):
    sheet = sheet_of(root, load_layout("ablation"))
    (place,) = (n for n, head in enumerate(sheet.columns) if head.under == "options")
    assert sheet.columns[place].label == "tau"
    assert [line[place].value for _, line in sheet.rows] == ["\N{EN DASH}", "0.5", "1.0"]


def test_published_figures_are_marked_and_never_called_best(root):
    sheet = sheet_of(root, load_layout("paper"))
    published = [n for n, head in enumerate(sheet.columns) if head.under == "published, not run here"]
    assert [sheet.rows[0][1][n].value for n in published] == ["33.1", "0.48"]
    assert all(line[n].standing is None and line[n].number is None for _, line in sheet.rows for n in published)
    assert any("Klein & Nabi" in line for line in sheet.legend)


def test_a_layout_of_ones_own(root, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("columns: [{metric: '*/toxic_fraction', percent: true, digits: 1, label: '% {group}'}]\nshow: []\n")
    sheet = sheet_of(root, load_layout(str(path)))
    assert [head.label for head in sheet.columns] == ["% toxic"]
    base = build(list_runs(root)).rows[1].cells[0].value
    assert sheet.rows[0][1][0].value == f"{100 * base:.1f}"


def test_a_metric_stands_where_it_is_named_first(root):
    spec = [{"metric": "heldout/*"}, {"metric": "*/perplexity"}, {"metric": "heldout/perplexity"}]
    sheet = sheet_of(root, Layout(name="x", description="", columns=spec))
    assert [head.label for head in sheet.columns] == ["heldout perplexity", "fluency perplexity"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("colums: []", "unknown key 'colums'.*did you mean 'columns'"),
        ("columns: []", "columns"),
        ("columns: [{metrik: x}]", "unknown key 'columns.0.metrik'"),
        ("- x", "does not hold a mapping"),
    ],
)
def test_what_is_wrong_with_a_layout_is_told(tmp_path, text, told):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=told):
        load_layout(str(path))


def test_no_such_layout():
    with pytest.raises(UsageError, match=re.escape("no layout 'sumary'; did you mean 'summary'")):
        load_layout("sumary")
    with pytest.raises(UsageError, match="no such file"):
        load_layout("nowhere.yaml")


def test_a_layout_of_what_was_not_measured(root):
    layout = Layout(name="x", description="", columns=[{"metric": "rtp/nothing"}])
    with pytest.raises(MissingError, match="measured nothing that the layout 'x' shows"):
        sheet_of(root, layout)
