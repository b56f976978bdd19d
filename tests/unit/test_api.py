"""The suite from Python: what the command line gives, as objects; errors are exceptions with a remedy."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from synthetic import write_run

from bench import api
from bench.run.plan import parse_setting


@pytest.fixture
def root(tmp_path):
    for seed in range(2):
        write_run(tmp_path, "none", seed, whole=True, toxicity=0.8)
        write_run(tmp_path, "contrastive", seed, whole=True, toxicity=0.3)
    write_run(tmp_path, "dpo", finished=False)
    return tmp_path


@pytest.fixture
def results(root):
    return api.results(runs_dir=root)


def test_experiments_run_and_are_found_again(tiny_suite, tmp_path, monkeypatch, capsys):
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.setenv(name, "1")
    asked = {"suite": tiny_suite(), "runs_dir": tmp_path / "runs", "cache_dir": tmp_path / "cache", "offline": True}
    made = api.run(["contrastive"], settings={"contrastive.steps": 1, "suite.decoding.top_p": 1}, **asked)
    assert [run.label for run in made.runs] == ["none", "contrastive (signed, steps=1)"]
    assert made.failures == ()
    assert made.runs[1].manifest.decoding["top_p"] == 1
    assert "none (base)" in str(made)
    again = api.run("contrastive:steps=1", settings={"suite.decoding.top_p": 1}, **asked)
    assert [run.id for run in again.runs] == [run.id for run in made.runs]
    assert [run.id for run in api.results("tiny-none", runs_dir=tmp_path / "runs").runs] == [made.runs[0].id]
    capsys.readouterr()


def test_an_experiment_that_fails_is_told(tiny_suite, tmp_path, monkeypatch):
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.setenv(name, "1")
    rows = tmp_path / "positives.jsonl"
    rows.write_text('{"anchor": "She asked", "positives": [{"text": " him."}], "negatives": []}\n')
    asked = {"runs_dir": tmp_path / "runs", "cache_dir": tmp_path / "cache", "offline": True}
    made = api.run("contrastive", suite=tiny_suite(sets={"source": str(rows)}), **asked)
    assert [run.label for run in made.runs] == ["none"]
    (failure,) = made.failures
    assert (failure.method, failure.seed) == ("contrastive (signed)", 0)
    assert "positives and negatives" in failure.error
    assert f"failed: contrastive (signed), seed 0: {failure.error}" in str(made)
    assert "failed: contrastive" in made._repr_html_()


def test_a_wrong_request_is_an_error_with_its_remedy(tmp_path):
    with pytest.raises(api.UsageError) as caught:
        api.run("contrastve", runs_dir=tmp_path)
    assert caught.value.mend == "did you mean 'contrastive'?"
    with pytest.raises(api.UsageError, match="no run 'nothing'"):
        api.results("nothing", runs_dir=tmp_path)


def test_a_tilde_is_the_users_home(root, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    found = api.results(runs_dir="~")
    assert len(found.runs) == 4
    assert found.save_report("~/page.html") == tmp_path / "page.html"
    assert (tmp_path / "page.html").is_file()


def test_finished_runs_are_read_and_shown(results):
    assert repr(results) == "<4 finished runs: contrastive, none; 0 failed>"
    assert len(results.frame().run_id.unique()) == 4
    assert [one.label for one in results.table().systems] == ["none", "contrastive"]
    assert results.table(against="contrastive").reference == "contrastive"
    assert "toxic fraction" in str(results)
    assert results.text("full", "csv").startswith("system,")
    shown = results._repr_html_()
    assert "<table>" in shown
    assert "contrastive: toxic fraction" in shown
    compared = results.compare("none", "contrastive")
    assert (compared.a.label, compared.b.label) == ("none", "contrastive")


def test_what_a_record_says_is_no_markup(tmp_path):
    write_run(tmp_path, "none", whole=True)
    write_run(tmp_path, "dpo", whole=True, label="<script>alert(1)</script>", run_id="a")
    assert "<script" not in api.results(runs_dir=tmp_path)._repr_html_()


def test_what_is_not_there_is_said(results, tmp_path):
    with pytest.raises(api.UsageError, match="no run is labelled 'dp'"):
        results.compare("none", "dp")
    with pytest.raises(api.UsageError, match="no form 'pdf'"):
        results.text(form="pdf")
    nothing = api.results(runs_dir=tmp_path / "empty")
    assert (str(nothing), nothing._repr_html_()) == ("no finished run", "<ul></ul><p>no finished run</p>")


def test_a_system_is_found_by_its_label_and_else_by_its_method(root):
    for seed, form in enumerate(("paper", "signed")):
        write_run(root, "kto", seed, whole=True, label=f"kto ({form})", config={"form": form}, toxicity=0.3)
    found = api.results(runs_dir=root)
    assert found.compare("none", "kto (paper)").b.label == "kto (paper)"
    with pytest.raises(api.UsageError, match=r"say which: kto \(paper\), kto \(signed\)"):
        found.compare("none", "kto")


def test_the_page_is_written(results, tmp_path):
    path = results.save_report(tmp_path / "r.html", samples=False)
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_importing_it_loads_nothing_heavy():
    code = "import sys; from bench import api; print(*sorted({'torch', 'transformers', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("Follow rule #1 always.", "Follow rule #1 always."),
        ("You are kind: help.", "You are kind: help."),
        ("Be kind.\nBe brief.", "Be kind.\nBe brief."),
        ("1e-4", 1e-4),
        ("null", None),
        (np.int64(3), 3),
        (Path("a b"), "a b"),
        ([1, "a: b"], [1, "a: b"]),
    ],
)
def test_a_setting_is_what_was_given(value, read):
    assert parse_setting(f"key={api._setting(value)}") == ("key", read)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"seeds": []}, "seeds '' are not numbers"),
        ({"seeds": [-1]}, "seeds '-1' are not numbers"),
        ({"limit": 0}, "limit is 0"),
        ({"settings": {"dpo.lr": object()}}, "a setting is of the type object"),
    ],
)
def test_a_request_that_is_none_is_refused(asked, said, tmp_path):
    with pytest.raises(api.UsageError, match=said):
        api.run("dpo", runs_dir=tmp_path, **asked)
