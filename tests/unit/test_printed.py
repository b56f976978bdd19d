"""Nothing that is printed commands the service that reads it as a log."""

import ast
import io
import json
import re
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from synthetic import write_run

from bench.cli.output import print_grid, print_json
from bench.printed import echo, inert, inert_json, plain
from bench.store.runs import load_run
from reports.compare.comparison import compare
from reports.compare.terminal import to_markdown
from reports.table.build import build
from reports.table.forms import FORMS
from reports.table.forms.latex import LatexOptions
from reports.table.layout import arrange, load_layout
from reports.table.terminal import print_runs, print_sheet

ROOT = Path(__file__).parents[2]
HOSTILE = [
    "::error::x",
    "  ::warning file=a::x",
    "##[error]x",
    "a ##vso[task.complete]x",
    "b ##teamcity[x]",
    "###[group]",
]
TEXTS = st.text(st.sampled_from("::##[]ab \t\r\n\N{EM SPACE}\N{NEXT LINE}é"))


def commands(text: str) -> list[str]:
    """The lines that GitHub, Azure or TeamCity would obey, by the rules of their own programs."""
    lines = re.split(r"\r\n|\r|\n", text)
    return [line for line in lines if line.lstrip().startswith("::") or re.search(r"##(\[|vso\[|teamcity\[)", line)]


@given(TEXTS)
@example("::error::x")
@example("a\r::error::x")
@example("\n\n ::error::x")
@example("###[error]")
def test_what_is_inert_holds_no_command(text):
    found = inert(text)
    assert not commands(found)
    assert len(found) == len(text)
    assert inert(found) == found


@given(TEXTS.filter(lambda text: "::" not in text and "##" not in text))
def test_any_other_text_stays_as_it_is(text):
    assert inert(text) == text


@given(st.recursive(TEXTS | st.none() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner)))
def test_json_keeps_its_meaning(value):
    text = inert_json(json.dumps(value, indent=1))
    assert json.loads(text) == value
    assert not commands(text)


@given(st.text())
@example("\u2028 \u2029")
def test_a_plain_text_steers_no_terminal(text):
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]", plain(text))


@pytest.fixture(params=HOSTILE)
def runs(request, tmp_path):
    """The base and a run whose every name is a command."""
    told = request.param
    base = load_run(write_run(tmp_path, "none"))
    folder = write_run(tmp_path, "contrastive", toxicity=0.2)
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["method"]["label"] = told
    manifest["error"] = told
    path.write_text(json.dumps(manifest))
    return [base, load_run(folder)]


def test_no_printer_lets_a_label_through(runs, capsys):
    table = build(runs)
    sheet = arrange(table, load_layout("full"))
    print_runs(runs)
    print_sheet(sheet)
    print_sheet(arrange(table, load_layout("summary")))
    for form in FORMS.values():
        echo(form(table, sheet, LatexOptions()))
    echo(to_markdown(compare(*([run] for run in runs)), 3))
    print_json({"label": runs[1].label})
    print_grid(runs[1].label)
    said = capsys.readouterr().out
    assert "error" in said or "x" in said
    assert not commands(said)


def test_all_that_prints_is_known():
    """Whoever prints by another way than `bench.printed` says here why nothing can go wrong."""
    known = {
        "bench/printed.py",  # makes it inert
        "bench/cli/output.py",  # JSON, made inert
        "bench/cli/progress.py",  # made inert
        "bench/cli/failures.py",  # our own words, and `Failure.line`, which is inert
        "bench/cli/__init__.py",  # names a package
        "bench/cli/check.py",  # GitHub's annotations, made to be obeyed; texts in them are escaped
        "bench/cli/views.py",  # made inert
        "bench/cli/report.py",  # a page, for a browser
        "reports/table/terminal.py",  # made inert
    }
    found = set()
    for package in ("bench", "methods", "reports"):
        for path in (ROOT / package).rglob("*.py"):
            calls = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
            names = [ast.unparse(call.func) for call in calls]
            if any(
                name in ("print", "typer.echo", "sys.stdout.write") or name.endswith("onsole.print") for name in names
            ):
                found.add(str(path.relative_to(ROOT)))
    assert found == known


def test_a_stream_that_is_no_utf_8_shows_what_was_taken_out(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="backslashreplace")
    monkeypatch.setattr(sys, "stdout", stream)
    echo("::error::x")
    stream.flush()
    assert stream.buffer.getvalue() == b"\\ufffd:error::x\n"
