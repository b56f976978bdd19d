"""A model card out of a record that somebody else made: it is what its form says, whatever the record holds."""

import re
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from synthetic import write_run
from typer.testing import CliRunner

from bench.cli.app import app
from bench.cli.export import _WRITERS, _beside, _write, own_suite, write_edit
from bench.errors import UsageError
from bench.run.plan import parse_setting
from bench.store.process import machine
from bench.store.runs import list_runs, load_run
from bench.suites import load_suite
from reports.card import Exported, card, command_of

HOSTILE = "<script>|a\x1b[2J\n---\n```\n# no\n`b` $(touch x) '\"\u202e[l](javascript:x)"


def test_nothing_of_a_record_gets_out_of_its_place(tmp_path):
    base = load_run(write_run(tmp_path, "none", whole=True, model={"id": HOSTILE, "sha256": "0", "licence": HOSTILE}))
    of_hub = {"id": HOSTILE, "sha256": "0", "licence": HOSTILE, "source": "hub"}
    hostile = {"config": {"a": HOSTILE}, "model": of_hub}
    run = load_run(write_run(tmp_path, "contrastive", whole=True, **hostile))
    text = card(run, [base, run], Exported("model", HOSTILE, HOSTILE))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\u202e]", text)
    _, front, body = re.split(r"^---\n", text, maxsplit=2, flags=re.MULTILINE)
    assert set(yaml.safe_load(front)) == {"base_model", "library_name", "license", "pipeline_tag", "tags"}
    assert len(re.findall(r"^```", body, re.MULTILINE)) == 6, "three fences, each closed"
    outside = "".join(re.split(r"^```.*?^```$", body, flags=re.MULTILINE | re.DOTALL))
    assert "<script" not in outside
    assert not re.search(r"^# no", body, re.MULTILINE)
    assert not re.search(r"(?<!\\)\]\(javascript", outside)


@pytest.mark.parametrize(("source", "named"), [("hub", True), ("local", False), ("wheel", False)])
def test_the_hub_is_told_of_a_base_model_that_it_has(tmp_path, source, named):
    """It refuses a card that names another."""
    run = load_run(write_run(tmp_path, "contrastive", whole=True, model__source=source))
    front = card(run, [run], Exported("model", "a", "b")).split("---\n")[1]
    assert ("base_model" in yaml.safe_load(front)) == named


def test_what_a_killed_export_left_goes_with_the_next(tmp_path, monkeypatch):
    left = tmp_path / f".edit.{machine()}-4000000-1.abcdefgh.tmp"
    left.mkdir()
    monkeypatch.setitem(_WRITERS, "recipe", lambda record, found, folder: None)
    _write(tmp_path / "edit", "recipe", None, None, {"README.md": "a card"})
    assert [path.name for path in tmp_path.iterdir()] == ["edit"]


def test_the_command_is_one_for_the_shell(tmp_path):
    run = load_run(write_run(tmp_path, "contrastive", whole=True, config={"a": HOSTILE, "b": 1, "c": None}))
    run.manifest.method["origins"] = {"a": "flag", "b": "suite", "c": "config file", "suite.sets.seed": "flag"}
    run.manifest.suite["sets"] = {"seed": 3}
    words = shlex.split(command_of(run))
    assert words == [
        *("bench", "run", "--method", "contrastive", "--suite", "mini", "--set", words[7]),
        *("--set", "contrastive.c=null", "--set", "suite.sets.seed=3", "--seeds", "0"),
    ]
    assert parse_setting(words[7]) == ("contrastive.a", HOSTILE)


def test_a_suite_that_no_name_says_is_a_file_beside_the_card(tmp_path):
    """A suite's name alone says it where it is ours, but for what the command changes."""
    run = load_run(write_run(tmp_path, "contrastive", whole=True, suite=load_suite("mini").model_dump()))
    assert own_suite(run) is None
    run.manifest.suite["decoding"]["top_p"] = 0.5
    file = tmp_path / "suite.yaml"
    file.write_text(own_suite(run), encoding="utf-8")
    assert load_suite(str(file)).decoding.top_p == 0.5
    assert "--suite suite.yaml" in command_of(run, "suite.yaml")
    run.manifest.method["origins"] = {"suite.decoding.top_p": "flag"}
    assert own_suite(run) is None
    assert "--suite mini --set suite.decoding.top_p=0.5" in command_of(run)
    assert "suite.decoding" not in command_of(run, "suite.yaml")
    text = card(run, [run], Exported("model", "a", "b", "suite.yaml"))
    assert "`suite.yaml` lies beside this card" in text
    assert "--suite PATH/OF/THIS/FOLDER/suite.yaml " in text, "a relative path in it begins where the run was made"
    assert "in the folder in which the run was made" in text
    run.manifest.suite |= {"name": "mine", "gone": 1}
    file.write_text(own_suite(run), encoding="utf-8")
    assert load_suite(str(file)).name == "mine"


def test_its_table_shows_the_base_and_the_method_and_no_other_of_the_same_options(tmp_path):
    for name in ("none", "dpo", "kto"):
        write_run(tmp_path, name, whole=True, config={"steps": 2})
    record = load_run(write_run(tmp_path, "dpo", 1, whole=True, config={"steps": 2}))
    assert {one.id for one in _beside(record, list_runs(tmp_path))} == {"mini-none-s0", "mini-dpo-s0", "mini-dpo-s1"}


def test_an_empty_folder_behind_a_link_is_filled_and_a_mount_point_refused(tmp_path, monkeypatch):
    """Neither can be put in its place as a new folder can."""
    write_run(tmp_path / "runs", "none", whole=True)
    run = load_run(write_run(tmp_path / "runs", "prompt", whole=True))
    info = SimpleNamespace(summary="s", paper="p")
    artifact = SimpleNamespace(parts=None, path=tmp_path / "artifact")
    artifact.path.mkdir()
    found = SimpleNamespace(method=SimpleNamespace(info=info), artifact=artifact)
    monkeypatch.setattr("bench.run.edited.edited", lambda *_: found)
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there", target_is_directory=True)
    unused: Any = None
    write_edit(run, tmp_path / "link", "recipe", unused, tmp_path / "runs")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there" / "README.md").is_file()

    (tmp_path / "out").mkdir()
    monkeypatch.setattr(Path, "is_mount", lambda path: path.name == "out")
    asked = ["export", "mini-prompt-s0", "--runs-dir", str(tmp_path / "runs"), "--recipe", "-o", str(tmp_path / "out")]
    done = CliRunner().invoke(app, asked, standalone_mode=False)
    with pytest.raises(UsageError, match=r"out is a mount point; name a new folder in it: --output .*out/edit"):
        raise done.exception
