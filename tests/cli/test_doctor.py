"""`bench doctor` says how this machine stands."""

import json
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from bench.assets.embedded import EMBEDDED
from bench.cli import doctor

ROOT = Path(__file__).parents[2]


def test_the_tested_versions_are_those_of_the_constraints():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    pinned = {pin.name.lower().replace("_", "-"): str(pin.specifier).removeprefix("==") for pin in pins}
    assert {name: pinned.get(name) for name in doctor.TESTED} == doctor.TESTED


def test_report_with_an_empty_cache(bench, cache_dir):
    done = bench("doctor", "--json")
    checks = {check["name"]: check for check in json.loads(done.stdout)}
    assert done.returncode == (3 if any(check["state"] == "fail" for check in checks.values()) else 0)
    assert {"python", "torch", "devices", "threads", "disk", "memory", "cache", "assets", "pip", "git"} <= set(checks)
    assert checks["python"]["state"] == checks["torch"]["state"] == "ok"
    assert checks["assets"]["found"].startswith(f"0 of {len(EMBEDDED)} cached")
    assert str(cache_dir) in checks["cache"]["found"]


def test_a_damaged_asset_fails_with_the_mend_and_exit_3(bench, cache_dir):
    (cache_dir / "data" / EMBEDDED["rtp"].stem).mkdir(parents=True)
    done = bench("doctor")
    assert done.returncode == 3
    lines = done.stdout.splitlines()
    (at,) = [index for index, line in enumerate(lines) if line.startswith("fail")]
    assert "damaged: rtp" in lines[at]
    assert "bench data fetch rtp" in lines[at + 1]


@pytest.mark.parametrize(("free", "state"), [(0.5e9, "fail"), (2e9, "warn"), (50e9, "ok")])
def test_room_is_judged(free, state):
    found = doctor._enough(free, 1e9, 3e9, "free some")
    assert found[0] == state
    assert found[2] == (None if state == "ok" else "free some")


def test_every_dependency_is_looked_at():
    wanted = {Requirement(text).name for text in metadata.requires("contrastive-bench") if "extra ==" not in text}
    checks = {check.name: check for check in doctor._packages()}
    assert wanted <= set(checks)
    assert {check.state for check in checks.values()} == {"ok"}


def test_packages_that_are_absent_other_or_old_are_said(monkeypatch):
    monkeypatch.setattr(doctor, "TESTED", {"no-such-package": "1", "pytest": "0.1"})
    assert doctor._package("no-such-package", None).state == "fail"
    other = doctor._package("pytest", "0.1")
    assert (other.state, other.found.partition(", ")[2]) == ("warn", "tested with 0.1")
    old = doctor._package("pytest", "99.0")
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
