"""The suite from Python: what the command line gives, as objects; errors are exceptions with a remedy."""

import os
import subprocess
import sys
import warnings
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from huggingface_hub import constants
from synthetic import write_run

import bench
from bench import api
from bench.cli.selection import ids
from bench.run.plan import make_experiments, parse_setting
from bench.store.files import read_json, write_json
from bench.suites import load_suite


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


def test_experiments_run_and_are_found_again(tiny_suite, tmp_path, capsys):
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


def test_an_experiment_that_fails_is_told(tiny_suite, tmp_path):
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


@pytest.mark.parametrize("error", [None, RuntimeError])
def test_a_run_leaves_the_process_as_it_was(tmp_path, monkeypatch, error):
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE", "TQDM_DISABLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    seen = []

    def carried_out(*_):
        seen.append((os.environ.get("HF_HUB_OFFLINE"), os.environ.get("TQDM_DISABLE"), constants.is_offline_mode()))
        warnings.warn("this goes in the next version", FutureWarning, stacklevel=1)
        os.environ["HF_DATASETS_OFFLINE"] = "1"
        if error:
            raise error
        return api.Results(())

    monkeypatch.setattr(api, "_carried_out", carried_out)
    before, filters = dict(os.environ), list(warnings.filters)
    for offline in (False, True, False):
        with pytest.raises(error) if error else nullcontext():
            api.run("dpo", runs_dir=tmp_path, offline=offline)
        assert dict(os.environ) == before
        assert warnings.filters == filters
        assert not constants.is_offline_mode()
    assert seen == [(None, "1", False), ("1", "1", True), (None, "1", False)]


def test_a_library_that_a_run_loads_is_online_after_it():
    code = """
from unittest.mock import patch
from bench import api
from bench.cli.selection import ids
def load(*_):
    from huggingface_hub import constants
    assert constants.is_offline_mode()
with patch.object(api, "_carried_out", load):
    api.run("dpo", offline=True)
from huggingface_hub import is_offline_mode
print(is_offline_mode())
"""
    clean = {name: value for name, value in os.environ.items() if not name.endswith("_OFFLINE")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=clean)
    assert done.stdout.strip() == "False"


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
    assert api.results("~/mini-none-s0") == api.results("mini-none-s0", runs_dir=root)
    assert api.compare("~/mini-none-s0", Path("~/mini-contrastive-s0")).b.run_ids == ("mini-contrastive-s0",)
    completed = ids(SimpleNamespace(params={"runs_dir": Path("~")}), "mini-n")
    assert completed == ["mini-none-s0", "mini-none-s1"]


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


def test_records_stay_readable_wherever_the_program_goes(root, tmp_path_factory, monkeypatch):
    monkeypatch.chdir(root)
    there = api.results(runs_dir=".")
    named = api.results("mini-none-s0", "mini-contrastive-s0", runs_dir=".")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert "toxic fraction" in str(there)
    assert "toxic fraction" in str(named)
    assert "These runs have no samples" not in there.save_report("page.html").read_text(encoding="utf-8")
    assert all(run.samples("rtp") for run in there.runs)


def test_what_a_record_says_is_no_markup(tmp_path):
    write_run(tmp_path, "none", whole=True)
    write_run(tmp_path, "dpo", whole=True, label="<script>alert(1)</script>", run_id="a")
    assert "<script" not in api.results(runs_dir=tmp_path)._repr_html_()


def test_what_is_not_there_is_said(results, tmp_path):
    with pytest.raises(api.UsageError, match="no column is called 'dp'"):
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
    with pytest.raises(api.UsageError, match=r"give a label: 'kto \(paper\)', 'kto \(signed\)'"):
        found.compare("none", "kto")


def test_every_label_that_is_shown_can_be_compared(tmp_path):
    for letter in "ab":
        model = {"model__id": f"m-{letter}", "model__sha256": letter * 64}
        for name, toxicity in (("none", 0.8), ("dpo", 0.3)):
            write_run(tmp_path, name, whole=True, toxicity=toxicity, run_id=f"{letter}-{name}", **model)
        for place in range(2):
            more = {"config": {"prompt": 300 * "x" + str(place)}, "run_id": f"{letter}-sft-{place}"}
            write_run(tmp_path, "sft", whole=True, **more, **model)
    found = api.results(runs_dir=tmp_path)
    labels = [system.label for system in found.table().systems]
    assert {"none · m-a", "dpo · m-b"} < set(labels)
    assert len([label for label in labels if label.endswith("#2 · m-a")]) == 1
    for label in labels:
        compared = found.compare("none · m-a", label)
        (system,) = [one for one in found.table().systems if one.label == label]
        assert compared.b.run_ids == system.run_ids
    with pytest.raises(
        api.UsageError, match="2 columns are of the method 'dpo'; give a label: 'dpo · m-a', 'dpo · m-b'"
    ):
        found.compare("none · m-a", "dpo")


def test_systems_that_are_compared_are_those_of_the_table(root):
    """A damaged run makes no system of its own."""
    damaged = write_run(root, "contrastive", config={"steps": 7}, run_id="damaged", whole=True)
    record = read_json(damaged / "result.json")
    record["metrics"][0]["value"] = 0.1234
    write_json(damaged / "result.json", record)
    found = api.results(runs_dir=root)
    labels = [system.label for system in found.table().systems]
    assert labels == ["none", "contrastive"]
    compared = found.compare(*labels)
    assert [compared.a.label, compared.b.label] == labels
    assert "damaged" not in compared.b.run_ids


def test_runs_that_no_table_holds_together_are_not_compared(root):
    for name in ("none", "contrastive"):
        write_run(root, name, 5, run_id=f"smoke-{name}", whole=True, suite={"name": "smoke"}, suite_hash="6" * 64)
    found = api.results(runs_dir=root)
    for look in (found.table, lambda: found.compare("none", "contrastive")):
        with pytest.raises(api.MissingError, match=r"not comparable: they differ in suite\.name"):
            look()
    with pytest.raises(api.UsageError, match="a side of the comparison has no run"):
        api.compare([], found.runs[0])


def test_a_suite_may_be_a_name_a_file_a_mapping_or_one_that_is_loaded(tiny_suite, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(api, "_carried_out", lambda request, _: asked.append(make_experiments(request)))
    path = tiny_suite()
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    before = deepcopy(content)
    for suite in (str(path), path, content, api.suite(path), api.suite(content)):
        api.run("dpo", suite=suite, model="other", settings={"suite.decoding.top_p": 0.5}, runs_dir=tmp_path)
    assert content == before
    assert all(one == asked[0] for one in asked)
    assert asked[0][0].suite.decoding.top_p == 0.5
    small = api.suite({"extends": "mini", "name": "mini-small", "decoding": {"num_samples": 2}})
    assert small == load_suite("mini").model_copy(
        update={"name": "mini-small", "decoding": small.decoding, "description": small.description}
    )
    assert small.decoding.num_samples == 2
    assert isinstance(small, bench.Suite)
    with pytest.raises(api.UsageError, match=r"suite 'x': unknown key 'decodin', did you mean 'decoding'"):
        api.run("dpo", suite={"extends": "mini", "name": "x", "decodin": {}})


def test_two_runs_are_compared_by_name_folder_or_record(root):
    by_name = bench.compare("mini-none-s0", "mini-contrastive-s0", runs_dir=root)
    by_folder = api.compare(root / "mini-none-s0", str(root / "mini-contrastive-s0"))
    runs = {run.id: run for run in api.results(runs_dir=root).runs}
    by_record = api.compare(runs["mini-none-s0"], [runs["mini-contrastive-s0"]])
    assert by_name == by_folder == by_record
    assert by_name.b.seeds == (0,)
    whole = api.compare(*([run for run in runs.values() if run.method == name] for name in ("none", "contrastive")))
    assert whole.b.seeds == (0, 1)
    assert whole == api.results(runs_dir=root).compare("none", "contrastive")


def test_a_notebook_shows_comparisons_and_tables(results):
    compared, table = results.compare("none", "contrastive"), results.table()
    assert "rtp/toxic/toxic_fraction" in compared._repr_html_()
    assert "clean to toxic" in compared._repr_html_()
    assert "clean to toxic" in str(compared)
    for key in (row.key for row in table.rows):
        assert key.rpartition("/")[2].replace("_", " ") in table._repr_html_()
    assert "contrastive" in str(table)
    bad = "<script>alert(1)</script>"
    side = replace(compared.a, label=bad)
    changes = tuple(replace(one, key=bad) for one in compared.changes)
    shown = replace(compared, a=side, suite=bad, adjective=bad, notes=(bad,), forced=(bad,), changes=changes)
    assert "<script" not in shown._repr_html_()
    assert shown._repr_html_().count("&lt;script") > len(changes)


def test_a_damaged_record_is_left_out_with_a_warning(root):
    (root / "mini-none-s1" / "result.json").write_text("{")
    with pytest.warns(UserWarning, match=r"left out: .*mini-none-s1/result\.json cannot be read") as warned:
        found = api.results(runs_dir=root)
    assert [one.filename for one in warned] == [__file__]
    assert {run.id for run in found.runs} == {"mini-none-s0", "mini-contrastive-s0", "mini-contrastive-s1"}


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
        ({"settings": ["steps=2"]}, r'settings is of the type list; give .*settings=\{"lr": 1e-4\}'),
        ({"seeds": 1}, r"seeds is of the type int; give .*seeds=\[0, 1\]"),
        ({"limit": "4"}, "limit is of the type str"),
        ({"methods": 1}, "methods is of the type int"),
        ({"methods": ["dpo", 1]}, "a method is of the type int"),
    ],
)
def test_a_request_that_is_none_is_refused(asked, said, tmp_path):
    with pytest.raises(api.UsageError, match=said):
        api.run(**{"methods": "dpo", "runs_dir": tmp_path, **asked})


@pytest.mark.parametrize(
    ("side", "said"), [(["id"], "a run of a side is of the type str"), (1, "a side is of the type")]
)
def test_a_side_that_is_no_run_is_refused(side, said, tmp_path):
    with pytest.raises(api.UsageError, match=f"{said}.*api.results reads them"):
        api.compare(side, side, runs_dir=tmp_path)
