"""The forms of a table: golden files, exact figures, and text out of records that means nothing to any of them."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from html import escape as in_html
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import write_run

from bench.errors import MissingError, UsageError
from bench.store.runs import list_runs
from reports.table.build import build
from reports.table.forms import FORMS
from reports.table.forms.csv import to_frame
from reports.table.forms.latex import LatexOptions, escape, to_latex
from reports.table.forms.markdown import escape as in_markdown
from reports.table.layout import arrange, load_layout
from reports.table.sheet import Entry, cut
from reports.table.terminal import text_of

GOLDEN = Path(__file__).parent.parent / "golden"
SIGNED = {"label": "contrastive (signed)", "config": {"tau": 1.0}}
STEERING = "\x1b[2J\u202e\x00\ud800"
HOSTILE = f"{STEERING}<script>alert(1)</script> | [x](javascript:1) $\\input{{/etc/passwd}}$ @all \\cell{{ =1+1 `%` ~^"
TAGS = "figure table caption thead tbody tr td th bdi br strong span abbr small sup figcaption p ol li"


def table_of(root, layout="summary", **options):
    shown = load_layout(layout)
    table = build(list_runs(root), wanted=shown.wants, **options)
    return table, arrange(table, shown)


def text_in(form, root, layout="summary", *, bare=False):
    table, sheet = table_of(root, layout)
    return text_of(sheet) if form == "terminal" else FORMS[form](table, sheet, LatexOptions(bare))


def rounded(text):
    """Text whose numbers have 12 digits: the last ones hang on the processor's exponentials and logarithms."""
    return re.sub(r"\d+\.\d+(e[-+]?\d+)?", lambda number: f"{float(number[0]):.12g}", text)


@pytest.fixture
def root(tmp_path):
    for seed in (0, 1):
        write_run(tmp_path, "none", seed)
        write_run(tmp_path, "contrastive", seed, **SIGNED, toxicity=0.2, nll=3.1, run_id=f"mini-contrastive-s{seed}")
        write_run(tmp_path, "neg only", seed, toxicity=0.0, nll=5.0, accuracy=0.3)
    write_run(tmp_path, "dpo", 0, toxicity=0.5, n_failed=2)
    return tmp_path


@pytest.mark.parametrize("layout", ["summary", "full"])
@pytest.mark.parametrize(
    ("form", "suffix"),
    [("terminal", "txt"), ("markdown", "md"), ("latex", "tex"), ("html", "html"), ("csv", "csv"), ("json", "json")],
)
def test_golden(root, form, suffix, layout):
    text = text_in(form, root, layout)
    golden = GOLDEN / f"{layout}.{suffix}"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text, encoding="utf-8")
    assert rounded(text) == rounded(golden.read_text(encoding="utf-8"))


@pytest.mark.parametrize("form", ["terminal", "markdown", "latex", "html"])
def test_a_sentence_a_method_stands_in_every_form_that_is_read(root, form):
    _, sheet = table_of(root, "brief")
    assert len(sheet.verdict) > 1
    text = " ".join(text_in(form, root, "brief").split())
    written = {"markdown": in_markdown, "latex": escape, "html": in_html}.get(form, str)
    assert [sentence for sentence in sheet.verdict if written(sentence) not in text] == []
    assert "?" not in text


def test_what_is_absent_is_a_dash_and_0_is_0(root):
    _, sheet = table_of(root, "full")
    entries = {head.label: line for head, line in sheet.rows}
    assert {one.value for one in entries["distinct 1"]} == {"\N{EN DASH}"}
    assert [one.value for one in entries["toxic fraction"]].count("0") == 1
    frame = to_frame(build(list_runs(root)))
    assert frame[frame.metric == "distinct_1"].value.isna().all()
    assert (frame[(frame.metric == "toxic_fraction") & (frame.method == "neg only")].value == 0).all()


def test_exact_figures_go_into_csv_and_json_whatever_is_shown(root):
    table, sheet = table_of(root)
    read = pd.read_csv(io.StringIO(FORMS["csv"](table, sheet, LatexOptions())))
    row = next(row for row in table.rows if row.name == "toxic_fraction")
    assert read[read.metric == "toxic_fraction"].value.tolist() == [cell.value for cell in row.cells]
    values = json.loads(FORMS["json"](table, sheet, LatexOptions()))
    assert next(r for r in values["rows"] if r["key"] == row.key)["cells"][1]["low"] == row.cells[1].low


# --- hostile text ---


class _Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, tuple(name for name, _ in attrs)))


@pytest.fixture
def hostile(tmp_path):
    write_run(tmp_path, "none")
    write_run(tmp_path, "dpo", label=HOSTILE, run_id="r", config={HOSTILE: HOSTILE}, toxicity=0.1)
    write_run(tmp_path, "dpo", label="=cmd|' /C calc'!A0", run_id="q", config={HOSTILE: 2}, toxicity=0.1)
    return tmp_path


@pytest.mark.parametrize("form", ["terminal", *FORMS])
@pytest.mark.parametrize("layout", ["summary", "full", "ablation"])
def test_no_control_character_comes_through(hostile, form, layout):
    text = text_in(form, hostile, layout)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", text)


def test_no_markup_comes_through(hostile):
    tags = _Tags()
    tags.feed(text_in("html", hostile, "ablation"))
    assert {tag for tag, _ in tags.found} <= {*TAGS.split()}
    assert {name for _, names in tags.found for name in names} <= {"class", "scope", "colspan", "data-sort", "title"}
    markdown = text_in("markdown", hostile, "ablation")
    for live in ("<script", "[x](", "@all", "`%`"):
        assert live not in markdown
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in markdown.splitlines() if line.startswith("|")}
    assert len(widths) == 1  # no label makes a column of its own


@pytest.mark.parametrize("form", ["terminal", *FORMS])
def test_a_line_of_10_mb_is_cut(tmp_path, form):
    write_run(tmp_path, "none")
    manifest = write_run(tmp_path, "dpo") / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"label": "dpo"', f'"label": "{10_000_000 * "x"}"'))
    assert len(text_in(form, tmp_path, "full")) < 100_000


def test_a_spreadsheet_sees_no_formula(hostile):
    lines = list(csv.reader(io.StringIO(text_in("csv", hostile))))
    assert any(cell.startswith("'=cmd") for line in lines for cell in line)
    assert not any(cell.startswith(("=", "@", "+")) for line in lines for cell in line)


@pytest.mark.parametrize("form", ["terminal", "markdown", "latex", "html"])
def test_an_absent_figure_keeps_its_footnote(root, form):
    table, sheet = table_of(root)
    (head, entries), *others = sheet.rows
    dash = Entry("\N{EN DASH}", notes=(0,))
    noted = replace(sheet, rows=((head, (dash, *entries[1:])), *others), footnotes=("why",))
    bare = replace(noted, rows=((head, (replace(dash, notes=()), *entries[1:])), *others))
    show = text_of if form == "terminal" else lambda one: FORMS[form](table, one, LatexOptions())
    assert show(noted) != show(bare)


def test_systems_stay_apart_where_latex_lacks_their_letters(tmp_path):
    labels = [
        "prompt (text=\u8bf7\u793c\u8c8c)",
        "prompt (text=\u8bf7\u53cb\u597d)",
        "tuned (\u03b1=0.5)",
        "tuned (\u03b2=0.5)",
    ]
    write_run(tmp_path, "none")
    for number, label in enumerate(labels):
        write_run(tmp_path, "prompt", label=label, config={"n": number}, run_id=f"r{number}")
    for layout in ("summary", "full"):
        text = text_in("latex", tmp_path, layout)
        assert r"$\alpha$=0.5" in text
        assert r"$\beta$=0.5" in text
        assert "prompt (text=???)" in text
        assert r"prompt (text=???) \#2" in text
        assert "letters that this font lacks" in text


def test_latex_holds_no_command_of_a_record(hostile):
    text = text_in("latex", hostile, "ablation")
    assert "\\input{" not in text
    assert "\\cell" not in text
    assert "\\textbackslash{}input\\{" in text


@given(st.text("*[]\\\\{}& a", max_size=8))
def test_no_text_goes_on_with_the_end_of_the_row_above(text):
    r"""LaTeX reads a star after `\\` as part of it, and what stands in brackets as its space, over a line's end too."""
    assert not escape(text).lstrip().startswith(("*", "["))


@pytest.mark.parametrize("first", ["*", "[3cm]"])
def test_a_label_that_begins_as_an_end_of_a_row_goes_on_is_shown(tmp_path, first):
    write_run(tmp_path, "none")
    write_run(tmp_path, "dpo", label=f"{first} dpo", toxicity=0.1)
    lines = text_in("latex", tmp_path).splitlines()
    assert not [line for line in lines if line.startswith(("*", "["))]
    assert [line for line in lines if line.startswith("{" + first[0] + "}") and " dpo" in line]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed: LaTeX is not compiled")
@pytest.mark.parametrize("layout", ["brief", "summary", "full", "ablation", "paper"])
def test_latex_compiles_as_it_is(root, hostile, tmp_path, layout):
    (tmp_path / "table.tex").write_text(text_in("latex", hostile, layout), encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "table.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False)
    if "siunitx.sty' not found" in done.stdout:
        pytest.skip("LaTeX lacks siunitx")
    assert done.returncode == 0, done.stdout[-1000:]


def test_latex_has_the_caption_and_the_label_of_its_document(root):
    _, sheet = table_of(root)
    text = to_latex(sheet, LatexOptions(caption=r"Toxicity of \texttt{none} \{ at $\tau=1$", label="tab:toxicity"))
    assert "\\caption{Toxicity of \\texttt{none} \\{ at $\\tau=1$}\n\\label{tab:toxicity}\n" in text
    assert text.count(r"\caption") == 1


@pytest.mark.parametrize(
    "wrong", [{"label": "a}b"}, {"label": "a b"}, {"label": ""}, {"caption": "a}{b"}, {"caption": "{"}]
)
def test_latex_takes_no_label_or_caption_that_breaks_the_table(wrong):
    with pytest.raises(UsageError, match=r"label|caption"):
        LatexOptions(**wrong)


def test_latex_alone_is_for_a_document_of_ones_own(root):
    _, sheet = table_of(root)
    alone = to_latex(sheet, LatexOptions(bare=True))
    assert "\\documentclass" not in alone
    assert alone in to_latex(sheet)


# --- forced ---


def test_forced_tables_say_so_in_every_form(tmp_path):
    write_run(tmp_path, "none")
    write_run(tmp_path, "dpo", scorer__threshold=0.7)
    with pytest.raises(MissingError, match=re.escape("scorer.threshold (0.7, 0.5)")):
        table_of(tmp_path)
    table, sheet = table_of(tmp_path, force=True)
    for form in ("terminal", *FORMS):
        text = text_of(sheet) if form == "terminal" else FORMS[form](table, sheet, LatexOptions())
        assert "0.7" in text
        if form not in ("csv", "json"):
            assert "NOT COMPARABLE" in text
    assert set(to_frame(table).comparable) == {False}
    assert json.loads(FORMS["json"](table, sheet, LatexOptions()))["forced"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("toxic fraction", "toxic fraction ↓"),
        ("expected maximum toxicity@svm", "expected maximum toxic@svm ↓"),
        ("a name that is longer than its place is", "a name that is longer than ↓"),
    ],
)
def test_a_name_is_cut_before_its_scorer_s(name, shown):
    assert cut(name, " ↓", 28) == shown
    assert len(cut(name, " ↓", 28)) <= 28
