"""`bench report` as it is typed."""

import json

import pytest
from synthetic import write_run

WARNING = "word by word, offensive ones included"


@pytest.fixture
def runs(tmp_path):
    """Runs of the base, a method, and one that was measured in another way."""
    root = tmp_path / "runs"
    write_run(root, "none")
    write_run(root, "contrastive", toxicity=0.2)
    write_run(root, "dpo", scorer__threshold=0.7)
    return root


def test_it_writes_a_page_and_warns_of_what_is_in_it(bench, runs, tmp_path):
    done = bench("report", "mini-none", "mini-contrastive", "--title", "A <title>")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "written: report.html\n"
    assert done.stderr.startswith("bench: warning: report.html holds 400 samples")
    assert WARNING in done.stderr
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert html.startswith("<!doctype html>")
    assert html.rstrip().endswith("</html>")
    assert "<title>A &lt;title&gt;</title>" in html
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".report")] == []


def test_json_says_what_was_written(bench, runs, tmp_path):
    done = bench("report", "mini-none", "-o", "a/page.html", "--json", "--no-figures")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"written": "a/page.html", "samples": 200, "of": 200, "systems": ["none"]}
    assert (tmp_path / "a" / "page.html").is_file()


def test_a_page_without_samples_warns_of_nothing(bench, runs, tmp_path):
    done = bench("report", "mini-none", "--no-samples", "--no-figures")
    assert (done.returncode, done.stderr) == (0, "")
    assert 'id="data"' not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_page_goes_to_stdout(bench, runs, tmp_path):
    done = bench("report", "mini-none", "-o", "-", "--no-figures")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("<!doctype html>")
    assert not (tmp_path / "report.html").exists()
    assert bench("report", "mini-none", "-o", "-", "--json").returncode == 2


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--all"], 3, "not comparable: they differ in scorer.threshold"),
        (["mini-none", "--suite", "mini"], 2, "runs are chosen in one way, and here are names and --suite"),
        (["mini-none", "--against", "nosuch"], 2, "no column is called 'nosuch'"),
        (["mini-nosuch"], 2, "no run 'mini-nosuch'"),
        (["mini-none", "-o", "runs"], 2, "runs is a folder"),
        (["mini-none", "-o", "file/page.html"], 2, "no file can be written at file/page.html"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_an_older_page_as_it_was(bench, runs, tmp_path, arguments, code, told):
    (tmp_path / "report.html").write_text("older", encoding="utf-8")
    (tmp_path / "file").write_text("", encoding="utf-8")
    done = bench("report", *arguments, "--no-figures")
    assert done.returncode == code
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == "older"


def test_a_damaged_record_is_named(bench, runs):
    with (runs / "mini-none-s0" / "samples" / "rtp.jsonl").open("a", encoding="utf-8") as stream:
        stream.write("{\n")
    done = bench("report", "mini-none", "--no-figures")
    assert done.returncode == 3
    assert "rtp.jsonl is damaged (line 201" in done.stderr
    assert bench("report", "mini-none", "--no-figures", "--no-samples").returncode == 0
