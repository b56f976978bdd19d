"""Options in their order of precedence, and JSON output."""

import json
from pathlib import Path

import pytest
import typer
from synthetic import write_run
from typer.testing import CliRunner

from bench.cli.app import app as command_line
from bench.cli.common import RUNS, CacheDir, Commands, Config, Offline, RunsDir
from bench.cli.output import print_json
from bench.errors import UsageError


def call(*args: str) -> dict[str, object]:
    seen: dict[str, object] = {}

    def verb(
        config: Config = None,
        runs_dir: RunsDir = RUNS,
        offline: Offline = False,
        cache_dir: CacheDir = None,
        n: int = 1,
    ) -> None:
        seen.update(config=config, runs_dir=runs_dir, offline=offline, cache_dir=cache_dir, n=n)

    app = Commands(rich_markup_mode=None)
    app.command()(verb)
    app(list(args), prog_name="verb", standalone_mode=False)
    return seen


@pytest.fixture
def config(tmp_path, monkeypatch):
    for name in ("BENCH_RUNS", "BENCH_OFFLINE", "BENCH_CACHE", "BENCH_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "config.yaml"
    path.write_text("runs-dir: from-file\noffline: true\nn: 3\n")
    return path


def test_defaults_without_anything(config):
    assert call() == {"config": None, "runs_dir": Path("runs"), "offline": False, "cache_dir": None, "n": 1}


def test_file_goes_before_default(config):
    seen = call("--config", str(config))
    assert (seen["runs_dir"], seen["offline"], seen["n"]) == (Path("from-file"), True, 3)


def test_a_tilde_is_the_users_home_wherever_a_path_is_given(config, monkeypatch):
    home = config.parent
    monkeypatch.setenv("HOME", str(home))
    assert call("--runs-dir=~/runs")["runs_dir"] == home / "runs"
    config.write_text("runs-dir: ~/mine\ncache-dir: ~nobody-has-this-name/x\n")
    seen = call("--config=~/config.yaml")
    assert (seen["runs_dir"], seen["cache_dir"]) == (home / "mine", Path("~nobody-has-this-name/x"))
    monkeypatch.setenv("BENCH_CACHE", "~/cache")
    assert call()["cache_dir"] == home / "cache"


def test_the_commands_options_are_read_so(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_run(tmp_path / "runs", "none", whole=True)
    write_run(tmp_path / "runs", "dpo", whole=True, toxicity=0.2)
    monkeypatch.chdir(tmp_path / "runs")
    words = ["plot", "cost", "--all", "--runs-dir=~/runs", "--output=~/a.svg", "--output=~/b.svg"]
    done = CliRunner().invoke(command_line, words)
    assert done.exit_code == 0, done.output
    assert {path.name for path in tmp_path.glob("*.svg")} == {"a.svg", "b.svg"}
    assert not list((tmp_path / "runs").glob("~*"))


def test_variable_goes_before_file(config, monkeypatch):
    monkeypatch.setenv("BENCH_RUNS", "from-variable")
    monkeypatch.setenv("BENCH_CONFIG", str(config))
    seen = call()
    assert (seen["runs_dir"], seen["n"]) == (Path("from-variable"), 3)


def test_flag_goes_before_variable(config, monkeypatch):
    monkeypatch.setenv("BENCH_RUNS", "from-variable")
    assert call("--runs-dir", "from-flag", "--config", str(config))["runs_dir"] == Path("from-flag")


def test_underscores_in_a_file_are_taken(config):
    config.write_text("runs_dir: x")
    assert call("--config", str(config))["runs_dir"] == Path("x")


def test_an_unknown_key_is_refused_with_a_suggestion(config):
    config.write_text("ofline: true")
    with pytest.raises(UsageError, match=r"config.yaml: unknown key 'ofline'; did you mean 'offline'\?"):
        call("--config", str(config))


def test_a_value_of_the_wrong_type_is_refused(config):
    config.write_text("n: many")
    with pytest.raises(typer.BadParameter):
        call("--config", str(config))


def test_json_is_ascii_and_refuses_nan(capsys):
    print_json({"a": "é\u202e\x9b", "b": None})
    told = capsys.readouterr().out
    assert told.isascii()  # what steers a terminal comes to none
    assert json.loads(told) == {"a": "é\u202e\x9b", "b": None}
    with pytest.raises(ValueError, match="JSON"):
        print_json(float("nan"))
    print_json([json.loads("1")])
