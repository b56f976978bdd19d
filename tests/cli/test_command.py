"""The installed command: help, usage errors, pipes, start-up."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import bench as package

pytestmark = pytest.mark.installed
COMMAND = str(Path(sysconfig.get_path("scripts")) / "bench")
VERBS = (
    "run",
    "table",
    "compare",
    "baseline",
    "check",
    "export",
    "runs",
    "data",
    "methods",
    "tasks",
    "suites",
    "scorers",
    "doctor",
)
HEAVY = (
    "torch",
    "transformers",
    "pandas",
    "numpy",
    "lm_eval",
    "datasets",
    "sklearn",
    "peft",
    "yaml",
    "rich",
)


def test_help_names_every_verb_and_fits_80_columns(bench):
    done = bench("--help")
    assert done.returncode == 0
    assert not done.stderr
    listed = [line.split()[0] for line in done.stdout.split("Commands:")[1].splitlines() if line.strip()]
    assert set(VERBS) <= set(listed)
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_bench_alone_is_help(bench):
    assert bench().stdout == bench("-h").stdout
    assert bench().returncode == 0


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_help_and_json(bench, verb):
    done = bench(verb, "--help")
    assert done.returncode == 0
    assert "--json" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_version(bench):
    assert bench("--version").stdout == f"bench {package.__version__}\n"


def test_a_shell_completes_verbs_flags_and_runs(bench, tmp_path):
    assert "_BENCH_COMPLETE=complete_bash" in bench("--show-completion", "bash").stdout
    (tmp_path / "runs" / "mini-dpo-s0-12").mkdir(parents=True)
    for words, found in (
        ("bench ta", "table\ntasks"),
        ("bench run --su", "--suite"),
        ("bench table mi", "mini-dpo-s0-12"),
    ):
        asked = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" ")), "_BENCH_COMPLETE": "complete_bash"}
        done = bench(**asked)
        assert (done.returncode, done.stdout.strip(), done.stderr) == (0, found, "")


def test_module_is_the_command():
    done = subprocess.run([sys.executable, "-m", "bench", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"bench {package.__version__}\n"


@pytest.mark.parametrize("hidden", ["methods/__init__.py", "reports.py"])
def test_a_folder_of_the_same_name_is_in_nobodys_way(tmp_path, hidden):
    (tmp_path / hidden).parent.mkdir(exist_ok=True)
    (tmp_path / hidden).touch()

    def python(*args):
        return subprocess.run([sys.executable, *args], capture_output=True, text=True, check=False, cwd=tmp_path)

    for command in (["methods"], ["runs"]):
        assert python("-m", "bench", *command).returncode == 0
    done = python("-c", "from bench import api; api.results()")
    assert done.returncode == 1
    assert done.stderr.strip().endswith("of contrastive-bench; rename it, or start Python in another folder")


@pytest.mark.parametrize(
    ("args", "rightly"),
    [
        (("--help",), ()),
        (("--version",), ()),
        (("run", "--help"), ("pydantic",)),  # Typer loads it for a verb's own help
        (("table", "--help"), ("pydantic",)),
        (("methods",), ("pydantic", "yaml")),
        (("scorers",), ("pydantic", "yaml")),
        (("tasks",), ("pydantic", "yaml", "numpy")),
        (("run", "--method", "contrastve"), ("pydantic", "yaml", "numpy")),
    ],
)
def test_what_says_little_loads_nothing_heavy(args, rightly):
    """Speed itself is not asserted; what makes it slow is."""
    heavy = {*HEAVY, "pydantic"} - {*rightly}
    program = f"""
import sys
sys.argv = ["bench", *{args!r}]
from bench.cli import main
try:
    main()
except SystemExit:
    print("loaded:", *sorted({heavy!r} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded:"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("metods",), "no such command 'metods'; did you mean 'methods'?"),
        (("xyzzy",), "no such command 'xyzzy'; see 'bench --help'"),
        (("methods", "--jsn"), "no such option: --jsn; did you mean --json?"),
        (("methods", "show"), "missing argument 'name'; see 'bench methods show --help'"),
        (("methods", "show", "contrastve"), "unknown method 'contrastve'; did you mean 'contrastive'?"),
        (("suites", "show", "minni"), "unknown suite 'minni'"),
        (("suites", "show", "none.yaml"), "no such file: none.yaml"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(bench, args, said):
    done = bench(*args)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"bench: error: {said}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("args", [("methods", "show", "nothing"), ("methods", "ls", "--nothing")])
def test_with_json_a_mistake_is_json_too(bench, args):
    done = bench(*args, "--json")
    error = json.loads(done.stdout)["error"]
    assert done.returncode == error["exit_code"] == 2
    assert done.stderr.startswith(f"bench: error: {error['what']}; {error['mend']}")


def test_a_reader_that_goes_away_is_no_error(cache_dir):
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([COMMAND, "suites"], stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert done.stderr == ""
    assert done.returncode == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_a_full_disk_is_one_line_and_exit_3(cache_dir, flags):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([COMMAND, "suites", *flags], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 3
    assert done.stderr.startswith("bench: error: no space left")
    assert str(cache_dir) not in done.stderr  # which has room
    assert done.stderr.count("\n") == 1


def test_output_that_the_terminal_cannot_show_does_not_end_the_command(bench):
    done = bench("suites", PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    done = bench("table", "no-such-run-…", PYTHONIOENCODING="ascii")
    assert "Traceback" not in done.stderr
    assert "\\u2026" in done.stderr
