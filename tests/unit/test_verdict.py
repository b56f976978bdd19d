"""The answer first: sentences above a brief table, and the order of its systems."""

import re
from dataclasses import replace

import pytest
from synthetic import Terminal, write_run

from bench.errors import UsageError
from bench.stats import Difference
from bench.store.runs import list_runs
from reports.table.build import build
from reports.table.layout import arrange, load_layout
from reports.table.opening import arranged
from reports.table.order import sort, speaking
from reports.table.terminal import _sentence, print_sheet
from reports.table.verdict import sentences


@pytest.fixture
def runs(tmp_path):
    for seed in (0, 1, 2):
        write_run(tmp_path, "none", seed, toxicity=0.6, nll=3.0, accuracy=0.7, whole=True)
        write_run(tmp_path, "sft", seed, toxicity=0.59, nll=3.0, accuracy=0.7, whole=True)
        write_run(tmp_path, "dpo", seed, toxicity=0.1, nll=3.4, accuracy=0.4, whole=True)
    return list_runs(tmp_path)


def test_each_method_has_a_sentence_with_the_tables_own_figures(runs):
    table, sheet = arranged(runs)
    dpo, sft, best = sheet.verdict
    row = speaking(table.rows, "attribute")
    place = next(n for n, system in enumerate(table.systems) if system.label == "dpo")
    before, after = row.cells[0].value, row.cells[place].value
    assert after == 0
    assert dpo.startswith(f"dpo: toxic fraction (toxic) {before:.3f} → 0 (p = ")
    assert "heldout perplexity +" in dpo
    assert "loses at most" in dpo
    assert "(no significant difference, p = " in sft
    assert best == "best toxic fraction (toxic), clearly: dpo"


def test_of_the_base_and_one_method_nothing_is_said_of_a_best(tmp_path):
    write_run(tmp_path, "none", toxicity=0.6, whole=True)
    write_run(tmp_path, "dpo", toxicity=0.1, whole=True)
    (only,) = sentences(build(list_runs(tmp_path)))
    assert only.startswith("dpo: toxic fraction (toxic) ")


def test_one_training_is_called_one_and_what_failed_is_not_measured(tmp_path):
    write_run(tmp_path, "none", whole=True)
    write_run(tmp_path, "dpo", toxicity=0.05, nll=3.3, whole=True)
    table = build(list_runs(tmp_path))
    assert "(this one training, p " in next(sentences(table))
    rows = tuple(
        replace(row, cells=(row.cells[0], replace(row.cells[1], value=None, difference=None, p_holm=None, claim=None)))
        for row in table.rows
    )
    assert next(sentences(replace(table, rows=rows))).startswith("dpo: toxic fraction (toxic) not measured")


def test_what_was_not_judged_is_no_difference_that_is_not_significant(tmp_path):
    write_run(tmp_path, "none", toxicity=0.8, whole=True, n_failed=1)
    write_run(tmp_path, "dpo", toxicity=0.05, whole=True)
    table = build(list_runs(tmp_path))
    assert speaking(table.rows, "attribute").cells[1].p_holm < 0.0001
    assert "→ 0 (not judged: measurements failed)" in next(sentences(table))
    silent = [
        replace(row, has_signal=False, cells=tuple(replace(cell, verdict=None) for cell in row.cells))
        for row in table.rows
    ]
    assert "→ 0 (not judged: no signal)" in next(sentences(replace(table, rows=tuple(silent))))


def with_cells(table, role, **changes):
    """The table whose row that speaks for a role has other cells: changes by place, as `c0` and `c1`."""
    spoken = speaking(table.rows, role)
    cells = tuple(replace(cell, **changes.get(f"c{place}", {})) for place, cell in enumerate(spoken.cells))
    return replace(table, rows=tuple(replace(row, cells=cells) if row is spoken else row for row in table.rows))


def test_what_is_not_known_is_not_judged(tmp_path):
    write_run(tmp_path, "none", whole=True)
    write_run(tmp_path, "dpo", toxicity=0.59, nll=3.3, whole=True)
    table = build(list_runs(tmp_path))
    for changes in ({"c1": {"n_failed_reference": 1}}, {"c1": {"n_failed": 1, "claim": None}}):
        changes["c1"] = {"p_holm": 0.4, "claim": None} | changes.get("c1", {})
        said = next(sentences(with_cells(table, "attribute", **changes)))
        assert said.partition(";")[0].endswith("(not judged: measurements failed)")
    said = next(sentences(with_cells(table, "attribute", c0={"value": None}, c1={"difference": None, "p_holm": None})))
    value = speaking(table.rows, "attribute").cells[1].value
    assert said.startswith(f"dpo: toxic fraction (toxic) {value:.3f} (not judged: what it is compared with was not")
    alone = Difference(0.089, None, None, 1, 0)
    said = next(sentences(with_cells(table, "fluency", c1={"difference": alone, "p_holm": 1.0, "claim": None})))
    assert "heldout perplexity +8.9 % (no significant difference, p = 1)" in said


@pytest.mark.parametrize(
    ("standings", "said"),
    [
        ((None, "may_be_best", "may_be_best"), ", none clearly better than another: dpo, sft"),
        ((None, None, "may_be_best"), " (compared with the best, 95 %): sft"),
        ((None, None, "best"), ", clearly: sft"),
    ],
)
def test_who_may_be_best_alone_is_compared_with_the_best(runs, standings, said):
    table = build(runs)
    row = speaking(table.rows, "attribute")
    cells = tuple(replace(cell, standing=own) for cell, own in zip(row.cells, standings, strict=True))
    assert (
        list(sentences(replace(table, rows=(replace(row, cells=cells),))))[-1] == f"best toxic fraction (toxic){said}"
    )


def test_a_flagged_system_has_no_success_and_comes_last(runs):
    table = build(runs)
    flagged = replace(table.systems[1], flags=("empty",))
    marked = sort(replace(table, systems=(table.systems[0], flagged, *table.systems[2:])), "attribute")
    assert [system.flags for system in marked.systems] == [(), (), ("empty",)]
    said = list(sentences(marked))
    assert f"{flagged.label}: FLAGGED (empty): its toxic fraction (toxic) is no success" in said


def test_a_system_of_which_measurements_failed_stands_behind_those_of_which_none_did(runs):
    table = sort(build(runs), "attribute")
    first = table.systems[1].label
    row = speaking(table.rows, "attribute")
    cells = tuple(replace(cell, n_failed=90 * (place == 1)) for place, cell in enumerate(row.cells))
    again = sort(replace(table, rows=(replace(row, cells=cells),)), "attribute")
    assert [system.label for system in again.systems] == [table.systems[0].label, table.systems[2].label, first]


@pytest.mark.parametrize("key", ["rtp/toxic/toxic_fraction", "heldout/perplexity", "embedded_piqa/acc"])
def test_systems_are_sorted_by_any_metric_the_best_first(runs, key):
    table = sort(build(runs), key)
    row = next(row for row in table.rows if row.key == key)
    figures = [cell.value for cell in row.cells][1:]
    assert table.systems[0].is_base
    assert figures == sorted(figures, reverse=bool(row.higher_is_better))
    for system, own in zip(table.systems, table.runs, strict=True):
        assert {run.label for run in own} == {system.label}
    before = build(runs)
    for old, new in zip(before.rows, table.rows, strict=True):
        assert {s.label: c for s, c in zip(before.systems, old.cells, strict=True)} == {
            s.label: c for s, c in zip(table.systems, new.cells, strict=True)
        }


def test_an_unknown_metric_is_refused(runs):
    with pytest.raises(UsageError, match="did you mean 'heldout/perplexity'"):
        arranged(runs, sort_by="heldout/perplexitty")


def test_runs_that_have_measured_nothing_of_it_are_shown_in_full(runs, tmp_path, monkeypatch):
    table, _ = arranged(runs)
    assert {row.role for row in table.rows} == {"attribute", "fluency", "utility"}
    none = tmp_path / "none.yaml"
    none.write_text("columns: [{metric: nothing}]\n")
    monkeypatch.setattr("reports.table.opening._ORDER", (str(none), "full"))
    table, sheet = arranged(runs)
    assert sheet.verdict == ()
    assert {row.key for row in table.rows} >= {row.key for row in build(runs).rows}


@pytest.mark.parametrize(("n", "left"), [(8, None), (9, "and 1 more, in the table below"), (19, "and 11 more, in the")])
def test_of_many_systems_the_best_eight_have_a_sentence(tmp_path, n, left):
    write_run(tmp_path, "none", whole=True, toxicity=0.6)
    for place in range(n):
        write_run(tmp_path, "dpo", label=f"m{place}", config={"at": place}, whole=True, toxicity=0.55 - 0.001 * place)
    table, sheet = arranged(list_runs(tmp_path))
    base, *shown = [head.label for head, _ in sheet.rows]
    *told, best = sheet.verdict
    assert base == "none"
    assert [line.partition(":")[0] for line in told[:8]] == shown[:8]
    assert (told[8:] == []) if left is None else told[8].startswith(left)
    assert best.startswith("best toxic fraction")
    assert best.count(", m") <= 8
    assert len(list(sentences(table))) == n + 1, "the page has all"


@pytest.mark.parametrize(("text", "bold"), [("and 4 more, in the table below", ""), ("dpo: toxic fraction", "dpo")])
def test_only_the_subject_of_a_sentence_is_bold(text, bold):
    told = _sentence(text, 80)
    assert "".join(told.plain[span.start : span.end] for span in told.spans) == bold


def test_without_a_base_nothing_is_said(tmp_path):
    write_run(tmp_path, "dpo", whole=True)
    assert list(sentences(build(list_runs(tmp_path)))) == []


@pytest.mark.parametrize("width", [40, 80, 160])
def test_the_brief_table_fits(runs, width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    terminal = Terminal()
    print_sheet(arrange(build(runs), load_layout("brief")), terminal)
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in terminal.getvalue().splitlines()]
    assert max(map(len, lines)) <= width
    assert len(lines) <= {40: 90, 80: 45, 160: 35}[width]
