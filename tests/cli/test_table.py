"""`bench table`, as a user types it."""

import json

import pytest
from synthetic import write_run


@pytest.fixture
def runs(tmp_path):
    write_run(tmp_path / "runs", "none")
    write_run(tmp_path / "runs", "contrastive", toxicity=0.1)
    return tmp_path


def test_a_table_to_stdout_to_a_file_and_as_json(bench, runs):
    shown = bench("table", "--suite", "mini", "--layout", "summary")
    assert shown.returncode == 0, shown.stderr
    assert shown.stderr == ""
    assert max(map(len, shown.stdout.splitlines())) <= 80
    for name, beginning in (
        ("t.md", "suite mini"),
        ("t.tex", "\\documentclass"),
        ("t.html", "<figure"),
        ("t.csv", "system"),
    ):
        done = bench("table", "--all", "-o", name)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        assert (runs / name).read_text(encoding="utf-8").startswith(beginning)
    by_flag = bench("table", "mini-n", "mini-c", "--json")
    assert json.loads(by_flag.stdout)["reference"] == "none"
    assert by_flag.stdout == bench("table", "--all", "--format", "json").stdout
    bare = bench("table", "--all", "--format", "latex", "--bare").stdout
    assert bare.startswith("% needs")


@pytest.mark.parametrize(
    ("flags", "code", "told"),
    [
        ([], 2, "say which runs; name them ('last': the last request's), or give --suite NAME, or --all"),
        (["--suite", "minni"], 2, "did you mean 'mini'"),
        (["--all", "--layout", "summery"], 2, "no layout 'summery'; did you mean 'summary'"),
        (["--all", "--format", "latx"], 2, "no form 'latx'; did you mean 'latex'"),
        (["--all", "-o", "table"], 2, "'table' does not say which form to write"),
        (["--all", "--bare"], 2, "--bare, --caption and --label are for LaTeX"),
        (["--all", "--layout", "mine.yaml"], 2, "no such file: mine.yaml"),
        (["mini-none-s0", "elsewhere"], 3, "are not comparable: they differ in scorer.threshold (0.5, 0.7)"),
    ],
)
def test_what_is_wrong_is_one_line(bench, runs, flags, code, told):
    write_run(runs, "dpo", scorer__threshold=0.7, run_id="elsewhere")
    done = bench("table", *flags)
    assert done.returncode == code, done.stderr
    assert told in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""


def test_forced_together(bench, runs):
    write_run(runs, "dpo", scorer__threshold=0.7, run_id="elsewhere")
    done = bench("table", "mini-none-s0", "elsewhere", "--force", "--layout", "summary")
    assert done.returncode == 0, done.stderr
    assert "NOT COMPARABLE, forced together: scorer.threshold (0.5, 0.7)" in done.stdout
