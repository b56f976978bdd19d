"""The files that other programs read: hooks, workflows and templates are what these take, and name what there is."""

import configparser
import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def environments() -> set[str]:
    """The environments of tox that have a section."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "tox.ini", encoding="utf-8")
    return {name.removeprefix("testenv:") for name in parser.sections() if name.startswith("testenv:")}


def load(path: Path) -> dict:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_run_environments_of_tox_on_the_pythons_of_the_project(path):
    jobs = load(path)["jobs"]
    steps = [step for job in jobs.values() for step in job["steps"]]
    asked = [name for step in steps for name in re.findall(r"tox -e ([\w-]+)", step.get("run", ""))]
    assert asked
    assert set(asked) <= environments()
    known = [f"3.{minor}" for minor in range(11, 14)]
    assert project()["project"]["requires-python"] == ">=3.11,<3.14"
    for job in jobs.values():
        versions = [step["with"]["python-version"] for step in job["steps"] if "python-version" in step.get("with", {})]
        assert versions
        for version in versions:
            assert version in known or job["strategy"]["matrix"]["python"] == known


def test_every_environment_of_the_default_run_is_in_ci():
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "tox.ini", encoding="utf-8")
    default = {name.strip() for name in parser["tox"]["env_list"].split(",")}
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert default == set(re.findall(r"tox -e ([\w-]+)", text))


def test_hooks_use_the_tools_of_the_lint_group_as_tox_does():
    (repository,) = load(ROOT / ".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    hooks = {hook["id"]: hook for hook in repository["hooks"]}
    assert {hook["language"] for hook in hooks.values()} == {"system"}
    lint = (ROOT / "tox.ini").read_text(encoding="utf-8").partition("[testenv:lint]")[2].partition("[testenv:")[0]
    for hook in hooks.values():
        command = hook["entry"].split(" --")[0]
        assert re.search(rf"^    {command}\b", lint, re.MULTILINE), command
    assert project()["dependency-groups"]["lint"] == ["import-linter", "ruff"]
    pattern = re.compile(hooks["lint-imports"]["files"])
    for changed in ("bench/run/plan.py", "methods/dpo.py", "reports/__init__.py", "pyproject.toml"):
        assert pattern.search(changed)
    assert not pattern.search("docs/index.md")


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_issue_forms_have_what_a_form_needs(path):
    form = load(path)
    assert form["name"]
    assert form["description"]
    kinds = {"markdown", "input", "textarea", "dropdown", "checkboxes"}
    assert {part["type"] for part in form["body"]} <= kinds
    asked = [part for part in form["body"] if part["type"] != "markdown"]
    assert len({part["id"] for part in asked}) == len(asked) > 0
    assert all(part["attributes"]["label"] for part in asked)
    assert any(part.get("validations", {}).get("required") for part in asked)


def test_there_are_forms_for_what_people_report():
    assert [path.stem for path in FORMS] == ["bug", "new-method", "wrong-figure"]
    assert (ROOT / ".github" / "pull_request_template.md").is_file()
