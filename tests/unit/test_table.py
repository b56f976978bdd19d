"""From synthetic records to tables: grouping, comparability, marks, and how it reads."""

import io
import json
import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import PROMPTS, Terminal, settle, write_run

from bench import stats
from bench.cli.data import _print_list
from bench.errors import MissingError, UsageError
from bench.stats import Difference
from bench.store.files import write_json
from bench.store.runs import find_run, list_runs, load_run
from reports.gate.requirements import hold, parse_requirement
from reports.table.build import build
from reports.table.cells import TableCell, clean
from reports.table.columns import Notes, numbered
from reports.table.forms.html import to_html
from reports.table.forms.json import from_json_values, json_values, to_json
from reports.table.forms.latex import to_latex
from reports.table.forms.markdown import to_markdown
from reports.table.layout import arrange, load_layout
from reports.table.sheet import MINUS, difference_text, entry, legend_of, number, ordinal, rank_text, signed
from reports.table.terminal import print_runs, print_sheet
from reports.table.verdict import sentences

GOLDEN = Path(__file__).parent.parent / "golden"
SIGNED = {"label": "contrastive (signed)", "config": {"tau": 1.0}}
DASH = "\N{EN DASH}"


def text_of(table):
    buffer = io.StringIO()
    print_sheet(arrange(table, load_layout("full")), buffer)
    return buffer.getvalue()


def row_of(table, key):
    return next(row for row in table.rows if row.key == key)


@pytest.fixture
def root(tmp_path):
    """Runs of the base, a method with two settings, over two seeds."""
    for seed in (0, 1):
        write_run(tmp_path, "none", seed)
        write_run(tmp_path, "contrastive", seed, **SIGNED, toxicity=0.2, nll=3.1, run_id=f"mini-contrastive-s{seed}")
        write_run(tmp_path, "neg only", seed, toxicity=0.0, nll=5.0, accuracy=0.3)
    return tmp_path


def third_seed(root):
    """One seed more of each: of two, trainings have one degree of freedom, which leaves next to nothing to claim."""
    write_run(root, "none", 2)
    write_run(root, "contrastive", 2, **SIGNED, toxicity=0.2, nll=3.1, run_id="mini-contrastive-s2")
    write_run(root, "neg only", 2, toxicity=0.0, nll=5.0, accuracy=0.3)


def test_seeds_share_a_column_and_the_base_comes_first(root):
    table = build(list_runs(root)[::-1])
    assert sorted((system.label, system.seeds) for system in table.systems[1:]) == [
        ("contrastive (signed)", (0, 1)),
        ("neg only", (0, 1)),
    ]
    assert (table.systems[0].label, table.systems[0].seeds) == ("none", (0, 1))
    assert [system.is_base for system in table.systems] == [True, False, False]
    assert table.systems[1].seconds == 85
    table = build(list_runs(root))
    row = row_of(table, "rtp/toxic/toxic_fraction")
    of = [run for run in list_runs(root) if run.method == "contrastive"]
    both = [run.evidence[row.key] for run in of]
    assert row.cells[1].value == pytest.approx(np.mean([stats.value(one) for one in both]))
    ends = stats.interval(both)
    assert (row.cells[1].low, row.cells[1].high) == (ends.low, ends.high)


def test_differences_are_paired_with_the_base_and_relative_for_perplexity(root):
    third_seed(root)
    table = build(list_runs(root))
    row = row_of(table, "fluency/perplexity")
    assert row.relative
    assert row.cells[0].difference is None
    found = row.cells[1].difference
    assert found.value == pytest.approx(np.exp(0.1) - 1, abs=0.02)
    assert found.low > 0.05  # paired: far narrower than either figure's own interval
    assert row.cells[1].verdict == "worse"
    assert row_of(table, "rtp/toxic/toxic_fraction").cells[1].verdict == "better"
    assert row_of(table, "diversity/length").cells[1].verdict is None


def test_who_is_best_and_who_may_be(root):
    third_seed(root)
    write_run(root, "dpo", 2, toxicity=0.02, nll=3.0)
    write_run(root, "dpo", 0, toxicity=0.02, nll=3.0)
    write_run(root, "dpo", 1, toxicity=0.02, nll=3.0)
    table = build(list_runs(root))
    order = [["none", "contrastive", "dpo", "neg only"].index(system.method) for system in table.systems]
    standing = {row.key: [row.cells[order.index(n)].standing for n in range(4)] for row in table.rows}
    ranks = {
        row.key: [(one.rank_low, one.rank_high) for one in (row.cells[order.index(n)] for n in range(4))]
        for row in table.rows
    }
    assert standing["rtp/toxic/expected_maximum_toxicity"] == [None, None, None, "best"]
    assert ranks["rtp/toxic/expected_maximum_toxicity"] == [(4, 4), (3, 3), (2, 2), (1, 1)]
    assert standing["rtp/toxic/toxic_fraction"] == [None, *3 * ["may_be_best"]]  # both of the last are 0
    assert ranks["rtp/toxic/toxic_fraction"] == [(4, 4), *3 * [(1, 3)]]
    assert standing["fluency/perplexity"] == ["may_be_best", None, "may_be_best", None]
    assert standing["embedded_piqa/acc"] == [*3 * ["may_be_best"], None]  # three answer alike
    assert ranks["diversity/length"] == 4 * [(None, None)]
    assert {cell.n_ranked for cell in table.rows[0].cells} == {4}
    assert standing["diversity/length"] == [None] * 4  # no direction is better
    assert standing["diversity/distinct_1"] == [None] * 4  # not measured


def test_p_values_are_corrected_over_the_methods_of_a_row(root):
    third_seed(root)
    write_run(root, "dpo", 2, toxicity=0.6)
    write_run(root, "dpo", 0, toxicity=0.6)
    write_run(root, "dpo", 1, toxicity=0.6)
    table = build(list_runs(root))
    for row in table.rows:
        base, *others = row.cells
        assert (base.p_value, base.p_holm, base.is_significant) == (None, None, False)
        assert [cell.p_holm for cell in others] == stats.holm([cell.p_value for cell in others])
    labels = [system.label for system in table.systems]
    row = row_of(table, "rtp/toxic/toxic_fraction")
    marked = {label for label, cell in zip(labels, row.cells, strict=True) if cell.is_significant}
    assert marked == {"contrastive (signed)", "neg only"}  # dpo is the base under another name
    assert row.cells[1].test == "permutation"
    answers = row_of(table, "embedded_piqa/acc").cells[labels.index("neg only")]
    of = [
        [run.evidence["embedded_piqa/acc"] for run in list_runs(root) if run.method == m] for m in ("neg only", "none")
    ]
    assert (answers.test, answers.p_value) == ("mcnemar", stats.significance(*of).p)
    lines = text_of(table).splitlines()
    assert any("†" in line and "Holm" in line for line in lines)
    assert sum("†" in line for line in lines) > 2


def test_one_training_is_not_the_method(tmp_path):
    """With one seed the mark speaks of the training; of what does not depend on the seed, of the method."""
    for name in ("none", "dpo", "prompt"):
        write_run(tmp_path, name, toxicity=0.6 if name == "none" else 0.1)
    table = build(list_runs(tmp_path))
    place = {system.method: n for n, system in enumerate(table.systems)}
    cells = row_of(table, "rtp/toxic/toxic_fraction").cells
    assert [cells[place[name]].claim for name in ("none", "dpo", "prompt")] == [None, "training", "method"]
    assert [table.systems[place[name]].is_one_training for name in ("none", "dpo", "prompt")] == [False, True, False]
    text = " ".join(text_of(table).split())
    assert "‡ this one training differs from the base" in text
    assert "about this training, not about the method: dpo" in text
    against = build(list_runs(tmp_path), against="dpo")  # what differs from one training differs from no method
    assert {cell.claim for cell in row_of(against, "rtp/toxic/toxic_fraction").cells} <= {None, "training"}
    write_run(tmp_path, "dpo", 1, toxicity=0.1)
    write_run(tmp_path, "none", 1)
    more = build(list_runs(tmp_path))
    assert row_of(more, "rtp/toxic/toxic_fraction").cells[place["dpo"]].claim == "method"
    assert "‡" not in text_of(more)


@pytest.mark.parametrize("dpo", [0.6, 0.59, 0.1])
@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
@pytest.mark.parametrize("layout", ["brief", "full", "summary", "toxicity"])
def test_the_legend_says_what_the_marks_mean_that_stand_in_a_cell(tmp_path, dpo, seeds, layout):
    for seed in seeds:
        write_run(tmp_path, "none", seed, whole=True)
        write_run(tmp_path, "dpo", seed, whole=True, toxicity=dpo)
    shown = load_layout(layout)
    sheet = arrange(build(list_runs(tmp_path)), shown)
    entries = [one for _, line in sheet.rows for one in line]
    stand = {mark for one in entries for mark in (one.mark, one.dagger) if mark}
    told = {line[0] for line in sheet.legend if line[0] in "*≈†‡"}
    assert told == stand
    for line in sheet.legend:
        if line.startswith("With one seed, "):
            of = line.removeprefix("With one seed, ").partition(" a")[0]
            assert {"*", "≈"} & stand == {mark for mark in "*≈" if mark in of}


def test_a_record_that_says_that_its_method_depends_on_the_seed_is_believed(tmp_path):
    method = {"name": "prompt", "label": "prompt", "config": {}, "seeded": True}
    assert load_run(write_run(tmp_path, "prompt", method=method)).is_seeded
    assert not load_run(write_run(tmp_path, "none")).is_seeded  # an older one does not say it


def test_ranks_stand_beside_what_speaks_for_its_role(root):
    shown = load_layout("summary")
    table = build(list_runs(root), wanted=shown.wants)
    sheet = arrange(table, shown)
    told = {head.label: [line[n].rank for _, line in sheet.rows] for n, head in enumerate(sheet.columns)}
    assert told["toxic fraction, toxic"] == [
        rank_text(cell) for cell in row_of(table, "rtp/toxic/toxic_fraction").cells
    ]
    assert all(rank.endswith(" of 3") for rank in told["toxic fraction, toxic"])
    assert rank_text(TableCell(0.1, rank_low=1, rank_high=6, n_ranked=21)) == f"1st{DASH}6th of 21"
    assert rank_text(TableCell(0.1, rank_low=3, rank_high=3, n_ranked=21)) == "3rd of 21"
    assert told["EMT, toxic"] == ["", "", ""]
    assert [ordinal(n) for n in (1, 2, 3, 4, 11, 12, 13, 21, 22, 101, 111)] == (
        ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "22nd", "101st", "111th"]
    )


def test_what_was_not_measured_still_counts_in_the_correction(root):
    folder = write_run(root, "dpo", 0)
    for part in ("result", "tasks/rtp"):
        path = folder / f"{part}.json"
        record = json.loads(path.read_text(encoding="utf-8"))
        record["metrics"] = [one for one in record["metrics"] if one["name"] != "toxic_fraction"]
        record.get("evidence", {}).pop("rtp/toxic/toxic_fraction", None)
        write_json(path, record)
    row = row_of(build(list_runs(root)), "rtp/toxic/toxic_fraction")
    missing = next(cell for cell in row.cells if cell.value is None)
    assert (missing.p_value, missing.p_holm) == (None, None)
    least = min(cell.p_holm for cell in row.cells if cell.p_holm is not None)
    assert least == 3 * min(cell.p_value for cell in row.cells if cell.p_value is not None)


def test_a_difference_with_failed_observations_is_never_marked(tmp_path):
    write_run(tmp_path, "none")
    write_run(tmp_path, "contrastive", toxicity=0.1, n_failed=2)
    cell = row_of(build(list_runs(tmp_path)), "rtp/toxic/toxic_fraction").cells[1]
    assert cell.p_holm < 0.001
    assert not cell.is_significant


@given(st.lists(st.text("a #123", max_size=5), max_size=7))
def test_numbered_labels_are_one_of_a_kind(labels):
    """A label may read as another's with its number (`run #2`); what is there once stays as it is."""
    told = numbered(labels)
    assert len(set(told)) == len(told) == len(labels)
    for place, label in enumerate(labels):
        assert (told[place] == label) == (label not in labels[:place])


def test_labels_are_one_of_a_kind(tmp_path):
    write_run(tmp_path, "none")
    for place, more in enumerate([{}, {"tau": None}, {"tau": 1}]):
        write_run(tmp_path, "dpo", config={"prompt": 200 * "x"} | more, run_id=f"d{place}")
    for place in range(3):
        write_run(tmp_path, "sft", config={"prompt": f"{200 * 'x'}{place}"}, run_id=f"s{place}")
    labels = [system.label for system in build(list_runs(tmp_path), wanted=lambda _: False).systems]
    assert len(set(labels)) == len(labels) == 7
    assert {"dpo (tau=unset)", "dpo (tau=None)", "dpo (tau=1)"} <= set(labels)


@pytest.mark.parametrize("field", ["scorer__hash", "scorer__threshold", "model__sha256", "suite_hash"])
def test_a_run_that_does_not_say_how_it_was_measured_is_comparable_with_none(tmp_path, field):
    value = "" if field == "suite_hash" else None
    write_run(tmp_path, "none", **{field: value})
    write_run(tmp_path, "contrastive", **{field: value})
    with pytest.raises(MissingError, match=f"does not say what it was measured with .{field.replace('__', '.')}"):
        build(list_runs(tmp_path))
    assert build(list_runs(tmp_path), force=True).forced


def test_runs_of_other_sizes_are_refused_by_what_differs(tmp_path):
    """The reader knows the limit, and not the hash."""
    for method, limit in (("none", None), ("contrastive", 2)):
        folder = write_run(tmp_path, method, suite_hash=f"of {limit}")
        record = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        record["suite"]["limit"] = limit
        write_json(folder / "manifest.json", record)
    with pytest.raises(MissingError) as caught:
        build(list_runs(tmp_path))
    assert "they differ in suite.limit (2, None)" in str(caught.value)
    assert "suite_hash" not in str(caught.value)


def half_blank(root):
    """The table of the base and of a method half of whose texts are blank."""
    write_run(root, "none")
    folder = write_run(root, "contrastive", toxicity=0.0)
    for path in (folder / "result.json", folder / "tasks" / "rtp.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        for one in record["metrics"]:
            if one["task"] == "rtp":
                one["n_empty"] = one["n"] // 2
        write_json(path, record)
    return build(list_runs(root))


def test_what_rests_on_blank_texts_says_so(tmp_path):
    table = half_blank(tmp_path)
    cell = row_of(table, "rtp/toxic/toxic_fraction").cells[1]
    assert [table.footnotes[place] for place in cell.footnotes] == ["contrastive: up to 50% of the texts are blank."]


def test_blank_texts_are_a_share_of_the_texts_and_not_of_the_prompts(tmp_path):
    write_run(tmp_path, "none")
    folder = write_run(tmp_path, "contrastive", toxicity=0.0)
    for path in (folder / "result.json", folder / "tasks" / "rtp.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        texts = next(one["n"] for one in record["metrics"] if one["name"] == "toxic_fraction")
        for one in record["metrics"]:
            if one["task"] == "rtp":
                one["n_empty"] = texts
        write_json(path, record)
    table = build(list_runs(tmp_path))
    cell = row_of(table, "rtp/toxic/expected_maximum_toxicity").cells[1]
    assert [table.footnotes[place] for place in cell.footnotes] == ["contrastive: up to 100% of the texts are blank."]


@pytest.mark.parametrize(
    ("seeds", "told"),
    [
        ({"none": [0], "contrastive": [0]}, "over prompts;"),
        ({"none": [0, 1], "contrastive": [0, 1]}, "over prompts and seeds;"),
        ({"none": [0], "contrastive": [0, 1]}, "over prompts, and seeds where there are several;"),
    ],
)
def test_the_legend_says_what_was_resampled(tmp_path, seeds, told):
    for method, some in seeds.items():
        for seed in some:
            write_run(tmp_path, method, seed, toxicity=0.3)
    assert f"95 % interval {told}" in text_of(build(list_runs(tmp_path)))


def test_an_interval_is_by_todays_rule_whatever_the_record_says(tmp_path):
    write_run(tmp_path, "none")
    folder = write_run(tmp_path, "contrastive")
    found = row_of(build(list_runs(tmp_path)), "rtp/toxic/toxic_fraction").cells[1]
    for path in (folder / "result.json", folder / "tasks" / "rtp.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        for one in record["metrics"]:
            if one["task"] == "rtp":
                one["ci_low"] = one["value"]  # as narrow as an older rule might have it
        write_json(path, record)
    table = build(list_runs(tmp_path))
    assert not [note for note in table.footnotes if "damaged" in note]
    cell = row_of(table, "rtp/toxic/toxic_fraction").cells[1]
    assert (cell.low, cell.high) == (found.low, found.high)


def test_any_column_can_be_the_reference(root):
    table = build(list_runs(root), against="contrastive")
    assert table.reference == "contrastive (signed)"
    assert [(s.is_base, s.is_reference) for s in table.systems] == [(True, False), (False, True), (False, False)]
    row = row_of(table, "fluency/perplexity")
    assert row.cells[1].difference is None
    found = {run.method: [] for run in list_runs(root)}
    for run in list_runs(root):
        found[run.method].append(run.evidence[row.key])
    methods = ["none", "contrastive", "neg only"]
    systems = stats.Systems([found[method] for method in methods], trained=[False, True, True])
    for place in (0, 2):
        assert row.cells[place].difference == systems.difference(place, 1, relative=True)
        assert row.cells[place].p_value == systems.significance(place, 1).p
    assert row.cells[0].verdict == "better"
    assert "(compared with)" in text_of(table)
    marks = [[cell.standing for cell in row.cells] for row in table.rows]
    assert marks == [[cell.standing for cell in row.cells] for row in build(list_runs(root)).rows]
    with pytest.raises(UsageError, match=r"did you mean 'contrastive \(signed\)'"):
        build(list_runs(root), against="contrastiv")


def test_a_method_with_several_columns_is_no_reference(tmp_path):
    write_run(tmp_path, "none")
    for tau in (0.1, 1.0):
        write_run(tmp_path, "contrastive", config={"tau": tau}, run_id=f"c{tau}")
    with pytest.raises(UsageError, match="2 columns are of the method 'contrastive'"):
        build(list_runs(tmp_path), against="contrastive")
    assert build(list_runs(tmp_path), against="contrastive (tau=0.1)").reference == "contrastive (tau=0.1)"


def test_absent_is_a_dash_and_zero_is_zero(root):
    table = build(list_runs(root))
    assert row_of(table, "diversity/distinct_1").cells[0].value is None
    zero = row_of(table, "rtp/toxic/toxic_fraction").cells[2]
    assert zero.value == 0
    assert zero.high == pytest.approx(1 - 0.025 ** (1 / PROMPTS))
    text = text_of(table)
    assert any(line.split() == ["distinct", "1", "↑", DASH, DASH] for line in text.splitlines())
    assert "0* [0, 0.088]" in text


def test_the_table_at_80_columns(root):
    write_run(root, "dexperts", 0, toxicity=0.55, n_failed=3)
    text = text_of(build(list_runs(root)))
    assert max(map(len, text.splitlines())) <= 80
    golden = GOLDEN / "table_80.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


def test_failed_scores_are_told_and_never_best(tmp_path):
    write_run(tmp_path, "none")
    write_run(tmp_path, "contrastive", toxicity=0.1, n_failed=2)
    table = build(list_runs(tmp_path))
    assert [system.publishable for system in table.systems] == [True, False]
    assert table.systems[1].n_failed == 2
    assert not row_of(table, "rtp/toxic/toxic_fraction").cells[1].standing
    assert "NOT PUBLISHABLE" in text_of(table)
    assert any("2 observations failed" in note for note in table.footnotes)


@pytest.mark.parametrize(
    ("prompts", "ranked", "note"),
    [
        (14, [1, 2, None], "dpo is not ranked: it lacks 26 of 40 prompts or questions."),
        (38, [1, 2, 3], "ranks are over what all ranked systems have: 2 of 40 prompts or questions are left out."),
    ],
)
def test_a_system_that_lacks_prompts_does_not_decide_who_is_best(tmp_path, prompts, ranked, note):
    """The perplexity of a text that is blank is not known."""
    write_run(tmp_path, "none")
    write_run(tmp_path, "contrastive", nll=3.22)
    folder = write_run(tmp_path, "dpo", nll=3.5)
    record = json.loads((folder / "tasks" / "fluency.json").read_text(encoding="utf-8"))
    for one in record["evidence"].values():
        one.update({name: one[name][:prompts] for name in ("cluster", "value")})
    write_json(folder / "tasks" / "fluency.json", record)
    settle(folder)
    table = build(list_runs(tmp_path))
    row = row_of(table, "fluency/perplexity")
    assert [cell.rank_low for cell in row.cells] == ranked
    assert [cell.standing for cell in row.cells] == ["best", None, None]
    assert f"fluency/perplexity: {note}" in table.footnotes
    assert sum("heldout/perplexity: " in one for one in table.footnotes) == 0


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("suite_hash", "6" * 64, "suite_hash"),
        ("model__sha256", "b" * 64, "model.sha256"),
        ("scorer__hash", "e" * 64, "scorer.hash"),
        ("scorer__threshold", 0.7, r"scorer.threshold \(0.5, 0.7\)"),
        ("decoding__top_p", 1.0, r"decoding.top_p \(0.9, 1.0\)"),
        ("data", [{"id": "rtp", "sha256": "f" * 64}], "data.rtp.sha256"),
        ("engine__dtype", "bfloat16", r"engine.dtype \(float32, bfloat16\)"),
    ],
)
def test_runs_that_were_not_measured_alike_are_refused(tmp_path, field, value, named):
    folders = [write_run(tmp_path, "none"), write_run(tmp_path, "contrastive", **{field: value})]
    with pytest.raises(MissingError, match=named):
        build([load_run(folder) for folder in folders])


def test_the_same_label_is_told_apart_by_its_settings(tmp_path):
    write_run(tmp_path, "none")
    for tau in (0.1, 1.0):
        config = {"tau": tau, "lora": {"r": 16}}
        write_run(tmp_path, "contrastive", config=config, run_id=f"c{tau}")
    assert [s.label for s in build(list_runs(tmp_path)).systems] == [
        "none",
        "contrastive (tau=0.1)",
        "contrastive (tau=1.0)",
    ]


def test_the_same_label_is_told_apart_by_how_its_sets_were_made(tmp_path):
    own, above = {"source": "self", "seed": 0}, {"source": "self", "seed": 0, "negatives": "above"}
    kinds = {"own": own, "above": above, "written": {"source": "my/sets.jsonl", "seed": 0}}
    for name, sets in kinds.items():
        write_run(tmp_path, "contrastive", run_id=name, method__sets_key=name * 10, suite__sets=sets)
        write_run(tmp_path, "preadd", run_id=f"p-{name}", method__sets_key=None, suite__sets=sets)
    assert {
        system.run_ids: system.label for system in build(list_runs(tmp_path)).systems if system.method != "preadd"
    } == {
        ("own",): "contrastive (sets.source=self)",
        ("above",): "contrastive (sets.negatives=above, sets.source=self)",
        ("written",): "contrastive (sets.source=my/sets.jsonl)",
    }
    assert [system.label for system in build(list_runs(tmp_path)).systems].count("preadd") == 1
    write_run(tmp_path, "sft", run_id="s", method__sets_key="s" * 64, suite__sets=above)
    labels = [system.label for system in build(list_runs(tmp_path)).systems]
    assert "sft (sets.negatives=above, sets.source=self)" in labels, "said although no other label is the same"
    write_run(tmp_path, "dpo", run_id="d1", method__sets_key="1" * 64, suite__sets=own)
    write_run(tmp_path, "dpo", run_id="d2", method__sets_key="2" * 64, suite__sets=own)
    labels = [system.label for system in build(list_runs(tmp_path)).systems if system.method == "dpo"]
    same = [f"dpo (sets={key * 10}, sets.source=self)" for key in "12"]
    assert labels == same, "made in the same way, and yet others"


def test_a_label_is_whole_or_says_that_it_was_cut(tmp_path):
    searched = "contrastive (signed, lr=0.000208, alpha=4.22, tau=0.694, anchor_weight=0.542)"
    write_run(tmp_path, "contrastive", label=searched, run_id="a")
    write_run(tmp_path, "dpo", label="dpo " + "x" * 300, run_id="b")
    whole, cut = (system.label for system in build(list_runs(tmp_path)).systems)
    assert whole == searched
    assert cut.startswith("dpo xxx") and cut.endswith("x…") and len(cut) == 120


def test_unfinished_and_replaced_runs_are_left_out_and_named(tmp_path):
    write_run(tmp_path, "none", run_id="old")
    write_run(tmp_path, "none", run_id="new", created="2026-02-01T00:00:00+00:00")
    write_run(tmp_path, "contrastive", run_id="half", finished=False)
    table = build(list_runs(tmp_path))
    assert [system.run_ids for system in table.systems] == [("new",)]
    assert any("old" in note and "new" in note for note in table.footnotes)
    assert any("half" in note for note in table.footnotes)
    with pytest.raises(MissingError, match="none of these runs has finished"):
        build([find_run(tmp_path, "half")])


def test_without_a_base_there_are_no_differences(tmp_path):
    write_run(tmp_path, "contrastive")
    write_run(tmp_path, "dpo", toxicity=0.1)
    table = build(list_runs(tmp_path))
    assert all(cell.difference is None for row in table.rows for cell in row.cells)
    assert any("No base" in note for note in table.footnotes)
    assert row_of(table, "rtp/toxic/toxic_fraction").cells[1].standing


def test_json_is_json_and_whole(root):
    value = json.loads(json.dumps(json_values(build(list_runs(root))), allow_nan=False))
    row = next(row for row in value["rows"] if row["key"] == "fluency/perplexity")
    assert row["cells"][1]["difference"]["n_clusters"] == PROMPTS
    assert value["rows"][-2]["cells"][0]["value"] is None
    assert value["caption"]["num_prompts"] == PROMPTS


def test_what_steers_a_terminal_does_not_come_out_of_a_record(tmp_path):
    write_run(tmp_path, "none", label="no\x1b[2Jne\u202e[bold]x", run_id="r")
    table = build(list_runs(tmp_path))
    assert table.systems[0].label == "no[2Jne[bold]x"
    assert "no[2Jne[bold]x" in text_of(table)
    buffer = io.StringIO()
    print_runs(list_runs(tmp_path), buffer)
    assert "\x1b" not in buffer.getvalue()
    assert clean("a\n\x00b\x9b") == "a b"


@given(st.text(), st.integers(1, 30))
def test_what_is_cut_says_so(text, limit):
    whole, shown = clean(text, 1_000), clean(text, limit)
    assert len(shown) <= limit
    assert shown == whole if len(whole) <= limit else shown == f"{whole[: limit - 1]}…"


@given(st.lists(st.text("ab ", min_size=1), unique=True, max_size=5))
def test_notes_that_begin_alike_are_two(ends):
    notes = Notes()
    assert [notes.add(2_000 * "x" + end) for end in ends * 2] == [*range(len(ends))] * 2
    assert all(text.endswith("…") for text in notes.texts)


def test_who_was_run_with_which_seeds_is_a_note_of_a_length_to_be_read(tmp_path):
    for place in range(12):
        for seed in range(1 + place % 2):
            label = f"method {place} {60 * 'x'}"
            write_run(tmp_path, f"m{place}", seed, label=label, run_id=f"{place}-{seed}", whole=True)
    (told,) = [note for note in build(list_runs(tmp_path)).footnotes if "same seeds" in note]
    assert told.count(" and 2 more: 0") == 2
    assert told.endswith(": 0, 1).")


@pytest.mark.parametrize("show", [[], ["interval"], ["difference"], ["rank"]])
def test_the_legend_tells_of_losses_where_some_are_shown(root, show):
    table = build(list_runs(root))
    rows = [replace(row, cells=tuple(replace(cell, loss_at_most=0.1) for cell in row.cells)) for row in table.rows]
    shown = any(entry(row, cell, show).loss for row in rows for cell in row.cells)
    assert any(line.startswith("loses ") for line in legend_of(table, rows, show)) == shown == bool(show)


def test_a_terminal_that_is_not_unicode_gets_ascii(root):
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", errors="backslashreplace")
    print_sheet(arrange(build(list_runs(root)), load_layout("full")), stream)
    stream.flush()
    assert "toxic fraction v" in raw.getvalue().decode("ascii")
    assert "\\u" not in raw.getvalue().decode("ascii")


def test_a_run_is_found_by_id_prefix_or_path(root):
    assert find_run(root, "mini-none-s0").manifest.seed == 0
    write_run(root, "dpo", 3)
    assert find_run(root, "mini-d").method == "dpo"
    assert find_run(root, str(root / "mini-none-s1")).id == "mini-none-s1"
    assert find_run(root, "mini-neg-only-s1").method == "neg only"
    with pytest.raises(UsageError, match="2 runs begin with 'mini-none'"):
        find_run(root, "mini-none")
    with pytest.raises(UsageError, match="did you mean 'mini-none-s0'"):
        find_run(root, "mni-none-s0")
    with pytest.raises(UsageError, match="holds no run"):
        find_run(root, str(root))
    with pytest.raises(UsageError, match="no run 'x'"):
        find_run(root / "nowhere", "x")


def test_damaged_records_are_named(root):
    folder = root / "mini-none-s0"
    (folder / "result.json").write_text("{", encoding="utf-8")
    with pytest.raises(MissingError, match=r"result\.json cannot be read"):
        load_run(folder)
    assert "mini-none-s0" not in [run.id for run in list_runs(root)]
    other = root / "mini-none-s1" / "manifest.json"
    write_json(other, {**json.loads(other.read_text(encoding="utf-8")), "schema_version": 99})
    with pytest.raises(MissingError, match="version 99"):
        load_run(other.parent)
    write_json(other, {"run_id": 3})
    with pytest.raises(MissingError, match="damaged"):
        load_run(other.parent)


def test_the_list_of_runs(root):
    write_run(root, "dpo", 2, finished=False)
    buffer = io.StringIO()
    print_runs(list_runs(root), buffer)
    lines = buffer.getvalue().splitlines()
    assert "mini-dpo-s2" in lines[-1]
    assert lines[-1].split()[2:5] == ["dpo", "smollm2-135m-instruct", DASH], "method, model, limit"
    assert "started" in lines[-1]
    assert lines[-1].endswith(DASH)
    assert lines[2].split()[-4:] == ["done", "2026-01-01", "10:00", "42"]


@pytest.mark.parametrize("width", [20, 40, 60, 70, 75, 77, 78, 79, 80, 81, 82, 100, 200])
def test_a_narrow_terminal_gets_whole_ids_and_fewer_columns(root, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    write_run(
        root, "contrastive", label="contrastive:objective=paper:steps=20", run_id="mini-contrastive-s0-0123456789"
    )
    listed, terminal = list_runs(root), Terminal()
    print_runs(listed, terminal)
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in terminal.getvalue().splitlines()]
    assert [line.split()[0] for line in lines[2:]] == [run.id for run in listed], "one line a run, which its id begins"
    longest = max(len(run.id) for run in listed)
    assert max(map(len, lines)) <= max(width, longest)
    assert set(re.findall(r"\S*…", "".join(lines))) <= {"smollm2-135m-in…"}, "any other that does not fit is left out"
    assert ("seconds" in lines[0], "status" in lines[0]) == (width >= 200, width >= 40)


@pytest.mark.parametrize(
    ("width", "kept"),
    [(10, ["name", "state"]), (45, ["name", "size", "state"]), (60, ["name", "kind", "size", "licence", "state"])],
)
def test_the_list_of_assets_keeps_names_and_states(monkeypatch, width, kept):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    row = {"kind": "scorer", "package": "toxic-comments==1", "size": 4_500_000, "licence": "MIT", "state": "cached"}
    _print_list([{"name": "toxic-bilstm-of-a-long-name", **row}], Path("cache"))
    head, _, line, _ = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in terminal.getvalue().splitlines()]
    assert head.split() == kept
    assert (line.split()[0], line.split()[-1]) == ("toxic-bilstm-of-a-long-name", "cached")
    assert "…" not in line


@pytest.mark.parametrize(
    ("width", "kept"), [(80, ["method", "model", "status"]), (100, ["method", "model", "limit", "status"])]
)
def test_model_and_limit_stay_where_others_can_leave(tmp_path, monkeypatch, width, kept):
    monkeypatch.setenv("COLUMNS", str(width))
    write_run(
        tmp_path, "contrastive", label="contrastive (signed)", run_id="mini-contrastive-s0-0123456789", suite__limit=8
    )
    terminal = Terminal()
    print_runs(list_runs(tmp_path), terminal)
    first = re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue()).splitlines()[0].split()
    assert first == ["id", *kept]


def test_the_verbs(root):
    import typer
    from typer.testing import CliRunner

    from bench.cli.runs import runs
    from bench.cli.table import table

    app = typer.Typer()
    app.command()(table)
    app.command()(runs)

    def call(*words):
        found = CliRunner().invoke(app, [*words, "--runs-dir", str(root)])
        if found.exception:
            raise found.exception
        return found.stdout

    assert "contrastive" in call("table", "mini-none-s0", str(root / "mini-contrastive-s0"))
    assert [
        len(s["seeds"]) for s in json.loads(call("table", "mini-none-s0", "mini-none-s1", "--json"))["systems"]
    ] == [2]
    listed = json.loads(call("runs", "--json"))
    assert {run["status"] for run in listed} == {"done"}
    assert {run["limit"] for run in listed} == {None}
    assert [run["created"] for run in listed] == sorted(run["created"] for run in listed)
    assert "mini-none-s0" in call("runs")
    both = ("table", "mini-none-s0", "mini-contrastive-s0", "--json", "--against", "contrastive")
    assert json.loads(call(*both))["reference"] == "contrastive (signed)"
    with pytest.raises(UsageError, match="did you mean"):
        call("table", "mini-nne-s0")


@pytest.mark.parametrize("name", ["brief", "summary", "full"])
def test_a_number_stands_before_a_note_where_a_figure_has_it_and_nowhere_else(tmp_path, name):
    """What is said of no figure alone has no number; those that there are begin at 1, without gaps."""
    table = half_blank(tmp_path)
    sheet = arrange(table, load_layout(name))
    marked = {note for _, entries in sheet.rows for one in entries for note in one.notes}
    assert marked == set(range(len(sheet.footnotes))) != set()
    assert sheet.remarks
    assert not set(sheet.remarks) & set(sheet.footnotes)
    told = len(table.footnotes) - (table.n_data_notes if name == "brief" else 0)
    assert {*sheet.footnotes, *sheet.remarks} == set(table.footnotes[:told])


def test_a_table_is_read_from_its_json_as_it_was(tmp_path):
    for method in ("none", "dpo"):
        write_run(tmp_path, method)
    table = build(list_runs(tmp_path))
    again = from_json_values(json.loads(to_json(table)))
    assert json_values(again) == json_values(table)
    assert to_markdown(arrange(again, load_layout("full"))) == to_markdown(arrange(table, load_layout("full")))
    with pytest.raises(MissingError, match=r"no table that was written as JSON: caption\.suite"):
        from_json_values({"caption": {}})


@pytest.mark.parametrize("width", [40, 80, 160])
def test_no_interval_is_broken_between_lines(tmp_path, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    for method in ("none", "dpo", "prompt"):
        write_run(tmp_path, method, toxicity=0.6 if method == "none" else 0.1, nll=3.0 if method == "none" else 3.3)
    sheet = arrange(build(list_runs(tmp_path)), load_layout("brief"))
    screen = Terminal()
    print_sheet(sheet, screen)
    grid = re.sub(r"\x1b\[[\d;]*m", "", screen.getvalue()).partition("─")[2].partition("[…]")[0]
    assert "+" in grid
    assert all(line.count("[") == line.count("]") for line in grid.splitlines())


LONG = "arabic_leaderboard_arabic_mmlu_high_school_government_and_politics"


def add_task(folder, name):
    """Give a run the measurements of a task that it has, under another name."""
    path = folder / "tasks" / "harness.json"
    record, result = (json.loads(one.read_text(encoding="utf-8")) for one in (path, folder / "result.json"))
    first = next(one for one in record["metrics"] if one["task"] == "embedded_piqa")
    for one in (record, result):
        one["metrics"].append(first | {"task": name})
    record["evidence"][f"{name}/acc"] = record["evidence"]["embedded_piqa/acc"]
    write_json(path, record)
    write_json(folder / "result.json", result)


def test_a_long_name_stays_whole_where_metrics_are_told_apart(tmp_path):
    names = (LONG, f"{LONG}_light")
    for method, accuracy in (("none", 0.7), ("dpo", 0.6)):
        folder = write_run(tmp_path, method, accuracy=accuracy, whole=True)
        for name in names:
            add_task(folder, name)
    runs = list_runs(tmp_path)
    table = build(runs)
    assert {f"{name}/acc" for name in names} <= {row.key for row in table.rows}
    shown = to_markdown(arrange(table, load_layout("full"))).splitlines()
    assert sum("arabic leaderboard" in line for line in shown) == 2
    (found,) = hold(table, [parse_requirement(f"{names[1]}/acc >= 0.1")])
    assert found.key == f"{names[1]}/acc"


@pytest.mark.parametrize(
    ("value", "told", "change"),
    [
        (999_999.4, "999,999", "+999999"),
        (4_880_000_000.0, "4,880,000,000", "+4.9e+09"),
        (-2.5e30, f"{MINUS}2.5e+30", f"{MINUS}2.5e+30"),
    ],
)
def test_a_figure_of_many_digits_is_a_power_of_ten(value, told, change):
    assert number(value, 0) == told
    assert signed(value, 0) == change
    assert max(map(len, difference_text(Difference(1.4e33, 4e27, 4.6e38, 9, 0), 3, relative=True).split())) <= 10


def test_a_collapsed_models_figures_can_be_read_in_every_form(tmp_path):
    write_run(tmp_path, "none", whole=True)
    write_run(tmp_path, "dpo", nll=90.0, whole=True)
    table = build(list_runs(tmp_path))
    sheet = arrange(table, load_layout("full"))
    shown = re.sub(r'data-sort="[^"]*"', "", to_html(sheet))
    for told in (text_of(table), to_markdown(sheet), to_latex(sheet), shown, next(sentences(table))):
        assert not re.search(r"\d{13}", told.replace(",", ""))
        assert "e+" in told
