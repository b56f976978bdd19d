"""`bench doctor` says how this machine stands."""

import ast
import json
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packages import runner
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bench.assets.embedded import EMBEDDED
from bench.cli import _cannot_start, dependencies, doctor
from bench.cli.app import app
from bench.cli.failures import guard

pytestmark = pytest.mark.installed
ROOT = Path(__file__).parents[2]


def test_the_tested_versions_are_those_of_the_constraints():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    pinned = {pin.name.lower().replace("_", "-"): str(pin.specifier).removeprefix("==") for pin in pins}
    assert {name: pinned.get(name) for name in dependencies.TESTED} == dependencies.TESTED


def test_report_with_an_empty_cache(bench, cache_dir):
    done = bench("doctor", "--json")
    checks = {check["name"]: check for check in json.loads(done.stdout)}
    assert done.returncode == (3 if any(check["state"] == "fail" for check in checks.values()) else 0)
    assert {"python", "torch", "devices", "threads", "disk", "memory", "cache", "assets", "pip", "git"} <= set(checks)
    assert checks["python"]["state"] == checks["torch"]["state"] == "ok"
    assert checks["assets"]["found"].startswith(f"0 of {len(EMBEDDED)} cached")
    assert str(cache_dir) in checks["cache"]["found"]


def test_a_damaged_asset_fails_with_the_mend_and_exit_3(capsys, cache_dir):
    (cache_dir / "data" / EMBEDDED["rtp"].stem).mkdir(parents=True)
    assert guard(lambda: app(["doctor"], standalone_mode=False)) == 3
    lines = capsys.readouterr().out.splitlines()
    (at,) = [index for index, line in enumerate(lines) if line.startswith("fail")]
    assert "damaged: rtp" in lines[at]
    assert "bench data fetch rtp" in lines[at + 1]


@pytest.mark.parametrize("words", [["doctor"], ["doctor", "--json"], ["runs", "--json"]])
def test_without_typer_it_speaks_as_it_was_asked_to(words, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench", *words])
    monkeypatch.setattr(
        dependencies, "packages", lambda: [dependencies.Check("typer", "fail", "not installed", "mend")]
    )
    assert _cannot_start(ModuleNotFoundError("No module named 'typer'", name="typer")) == 3
    told = capsys.readouterr()
    assert told.err.startswith("bench: error: the package typer")
    if words == ["doctor", "--json"]:
        assert json.loads(told.out) == [{"name": "typer", "state": "fail", "found": "not installed", "mend": "mend"}]
    else:
        assert told.out.startswith("fail  typer  not installed") == (words == ["doctor"])


@pytest.mark.parametrize(("free", "state"), [(0.5e9, "fail"), (2e9, "warn"), (50e9, "ok")])
def test_room_is_judged(free, state):
    found = doctor._enough(free, 1e9, 3e9, "free some")
    assert found[0] == state
    assert found[2] == (None if state == "ok" else "free some")


@pytest.mark.parametrize("inner", ["", "cache"])
def test_a_cache_that_is_a_file_or_lies_in_one_fails(tmp_path, inner):
    (tmp_path / "file").touch()
    check = list(doctor._room(tmp_path / "file" / inner))[-1]
    assert (check.name, check.state, check.mend) == ("cache", "fail", "choose a folder by BENCH_CACHE")
    assert check.found.endswith(f"{tmp_path / 'file'} is a file")


def test_every_dependency_is_looked_at():
    wanted = {Requirement(text).name for text in metadata.requires("contrastive-bench") if "extra ==" not in text}
    checks = {check.name: check for check in dependencies.packages()}
    assert wanted <= set(checks)
    of_extras = {Requirement(text).name for text in metadata.requires("contrastive-bench") if "extra ==" in text}
    installed = {name for name in of_extras if list(metadata.Distribution.discover(name=name))}
    assert installed <= set(checks)
    assert {check.state for check in checks.values()} == {"ok"}


def test_every_package_that_our_code_imports_is_looked_at():
    """Those as well that come with others: nothing else would say that one of them is broken."""
    sources = [path for package in ("bench", "methods", "reports") for path in (ROOT / package).rglob("*.py")]
    modules = {module for path in sources for module in imported(path.read_text(encoding="utf-8"))}
    brought = metadata.packages_distributions()
    names = {canonicalize_name(name) for module in modules for name in brought.get(module, [])}
    required = [Requirement(text).name for text in metadata.requires("contrastive-bench")]
    looked_at = {canonicalize_name(name) for name in (*required, *dependencies.THROUGH_OTHERS)}
    assert len(names) > 20
    assert names - looked_at - {"contrastive-bench"} == set()


def imported(source):
    """The top-level modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (one.name.partition(".")[0] for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def test_an_extra_that_is_installed_and_broken_fails_with_its_own_remedy(monkeypatch):
    monkeypatch.setattr(dependencies, "TESTED", {})
    monkeypatch.setattr(dependencies, "THROUGH_OTHERS", ())
    texts = ["pytest>=99; extra == 'a'", "no-such-package>=1; extra == 'b'"]
    monkeypatch.setattr(dependencies, "required", lambda _: texts)
    (check,) = dependencies.packages()
    assert (check.name, check.state) == ("pytest", "fail")
    assert check.mend == "run `pip install 'pytest>=99'`"


def test_without_what_the_command_line_needs_the_packages_are_said(cache_dir, tmp_path):
    shadow = tmp_path / "shadow"
    shadow.mkdir()
    (shadow / "sitecustomize.py").write_text("import sys\nsys.modules['typer'] = None\n")
    done = runner(shadow, cache_dir, tmp_path)(sys.executable, "-m", "bench", "doctor")
    assert done.returncode == 3
    assert "the package typer cannot be loaded" in done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("fail")]
    assert line.split()[1] == "typer"
    assert "ok    torch" in done.stdout


def test_packages_that_are_absent_other_or_old_are_said(monkeypatch):
    monkeypatch.setattr(dependencies, "TESTED", {"no-such-package": "1", "pytest": "0.1"})
    assert dependencies._package("no-such-package", None).state == "fail"
    other = dependencies._package("pytest", "0.1")
    assert (other.state, other.found.partition(", ")[2]) == ("warn", "tested with 0.1")
    old = dependencies._package("pytest", "99.0")
    assert (old.state, old.found.partition(", ")[2]) == ("fail", "and at least 99.0 is needed")


def test_a_package_that_is_broken_is_said_with_the_mend(bench, tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "h5py.py").write_text("raise ImportError('libhdf5.so: no such file')")
    done = bench("doctor", PYTHONPATH=str(tmp_path / "broken"))
    assert done.returncode == 3
    lines = done.stdout.splitlines()
    (at,) = [index for index, line in enumerate(lines) if line.startswith("fail")]
    assert "cannot be imported (ImportError: libhdf5.so: no such file)" in lines[at]
    assert "pip install --force-reinstall 'h5py==" in lines[at + 1]


def test_a_python_that_is_too_old_fails(monkeypatch):
    monkeypatch.setattr(doctor.sys, "version_info", (3, 10, 0))
    (check,) = doctor._python()
    assert check.state == "fail"
    assert check.mend == "use Python 3.11 to 3.13"
