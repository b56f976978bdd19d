"""The table of licences names what pyproject.toml asks for, in the versions of constraints.txt."""

import importlib.util
import json
import re
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
FLAGS = re.MULTILINE | re.IGNORECASE
_spec = importlib.util.spec_from_file_location("measure_dependencies", ROOT / "docs" / "measure_dependencies.py")
measure = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(measure)
FOUND = json.loads(measure.FILE.read_text(encoding="utf-8"))
KEPT = FOUND["packages"]
BROUGHT = {"": FOUND["base"]["packages"], **FOUND["extras"]}
"""All that the base and each extra need in turn, by extra; None of one that was not installed."""


def constraints() -> dict[str, str]:
    lines = re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in lines}


def test_each_dependency_is_in_the_table_and_no_other():
    assert {*KEPT} == {name for names in measure.direct().values() for name in names}


@pytest.mark.parametrize("name", KEPT)
def test_it_is_of_the_version_that_is_tested_with(name):
    """Whatever is installed here: a new version's licence is looked at before it is told."""
    pinned = constraints().get(canonicalize_name(name))
    assert KEPT[name]["version"] in (pinned, f"{pinned}+cpu"), "run python docs/measure_dependencies.py"
    assert (KEPT[name]["licence"] == "not looked at") is (pinned is None)


def test_what_they_bring_in_turn_is_in_the_table_in_the_versions_that_are_tested_with():
    table = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
    assert len(BROUGHT[""]) == FOUND["base"]["count"]
    assert {extra for extra in measure.direct() if extra} == set(FOUND["extras"])
    pinned = constraints()
    for extra, packages in BROUGHT.items():
        for name, facts in (packages or {}).items():
            assert facts["version"] in (pinned[name], f"{pinned[name]}+cpu"), "run python docs/measure_dependencies.py"
            written = re.escape(name).replace(r"\-", "[-_.]")
            assert re.search(rf"^\| `{written}` \|.*\| {re.escape(facts['licence'])} \|", table, FLAGS), name
            assert facts["licence"] != "not stated", (extra, name)


def test_what_is_installed_says_so_itself():
    """Of the same version alone: another machine may have others, or none."""
    looked = 0
    for name, kept in [*KEPT.items(), *(one for some in BROUGHT.values() for one in (some or {}).items())]:
        try:
            found = measure.facts(name)
        except PackageNotFoundError:
            continue
        if found["version"] == kept["version"]:
            assert found["licence"] == kept["licence"], name
            looked += 1
    assert looked
