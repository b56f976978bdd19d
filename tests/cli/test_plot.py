"""`bench plot`, as a user runs it."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from synthetic import write_run

import reports.plots


@pytest.fixture
def runs(tmp_path):
    """Two runs where the command looks for them."""
    write_run(tmp_path / "runs", "none")
    write_run(tmp_path / "runs", "contrastive", toxicity=0.2, nll=3.1)


@pytest.mark.usefixtures("runs")
def test_a_figure_is_written_where_it_is_asked_for(bench, tmp_path):
    done = bench("plot", "tradeoff", "--all")
    assert (done.returncode, done.stdout, done.stderr) == (0, "written: tradeoff.svg\n", "")
    assert ET.parse(tmp_path / "tradeoff.svg").getroot().tag.endswith("svg")  # noqa: S314 - ours
    words = ("plot", "cost", "--suite", "mini", "-o", "new/a.pdf", "-o", "b.PNG", "--wide", "--json")
    done = bench(*words)
    assert json.loads(done.stdout) == {"written": ["new/a.pdf", "b.PNG"]}, done.stderr
    assert (tmp_path / "new" / "a.pdf").read_bytes().startswith(b"%PDF-")
    assert (tmp_path / "b.PNG").read_bytes().startswith(b"\x89PNG")
    first = (tmp_path / "new" / "a.pdf").read_bytes()
    assert bench(*words).returncode == 0
    assert (tmp_path / "new" / "a.pdf").read_bytes() == first
    assert len(list((tmp_path / "new").iterdir())) == 1


def test_the_help_lists_every_figure_with_what_it_shows_and_its_options():
    from typer.testing import CliRunner

    from bench.cli.app import app

    told = " ".join(CliRunner().invoke(app, ["plot", "--help"]).output.split())
    folder = Path(reports.plots.__file__).parent
    names = {path.stem for path in folder.glob("*.py") if "\ndef draw(" in path.read_text(encoding="utf-8")}
    assert names - {"__init__"} == set(reports.plots.OWN)
    for name, info in reports.plots.OWN.items():
        assert f"{name}: {info.summary[:40]}" in told
    assert f"{', '.join(reports.plots.OWN)}, or one" in told
    assert "tradeoff, groups: a metric" in told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["tradeof"], "did you mean 'tradeoff'?"),
        (["tradeoff", "-o", "a.gif"], "end it in .svg, .pdf, .png"),
        (["cost", "-o", "a.svg", "-o", "b"], "'b' has no form"),
        (["cost", "-o", "runs/mini-none-s0/result.json/a.svg"], "cannot be written"),
        (["cost", "--over", "lr"], "the figure 'cost' has no option 'over'"),
        (["tradeoff", "--utility", "acc"], "there is no utility 'acc'"),
    ],
)
@pytest.mark.usefixtures("runs")
def test_what_cannot_be_meant_is_one_line_and_exit_2(bench, tmp_path, words, told):
    before = sorted(tmp_path.rglob("*"))
    done = bench("plot", *words, "--all")
    assert done.returncode == 2, done.stderr
    assert told in done.stderr
    assert done.stderr.count("\n") == 1
    assert (done.stdout, sorted(tmp_path.rglob("*"))) == ("", before)


@pytest.mark.usefixtures("runs")
def test_nothing_to_draw_is_exit_3(bench, tmp_path):
    for words, told in (
        (["training", "mini-none-s0"], "no run here has a log"),
        (["sweep", "--all"], "two points"),
        (["tradeoff", "mini-contrastive-s0"], "no run of the base"),
    ):
        done = bench("plot", *words)
        assert done.returncode == 3, done.stderr
        assert told in done.stderr
    write_run(tmp_path / "runs", "dpo", scorer__threshold=0.7)
    done = bench("plot", "scores", "--all", "--json")
    assert done.returncode == 3
    assert "scorer.threshold" in json.loads(done.stdout)["error"]["what"]
    assert not list(tmp_path.glob("*.svg"))


def test_what_figures_there_are_is_known_without_matplotlib():
    code = (
        "import sys, bench.cli.app, reports.plots; "
        "assert not {'matplotlib', 'torch', 'transformers'} & set(sys.modules); "
        "print(*reports.plots.FIGURES)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["tradeoff", "heat", "sweep", "scores", "groups", "training", "cost"]
