"""Suites that come with the package, one YAML file each."""

from importlib.resources import files
from pathlib import Path
from typing import Any

from bench.errors import UsageError, did_you_mean
from bench.spec import SuiteSpec, read_yaml, validate

DEFAULT = "mini"


def names() -> list[str]:
    """Names of the suites that come with the package."""
    return sorted(Path(entry.name).stem for entry in files(__name__).iterdir() if entry.name.endswith(".yaml"))


def read_suite(name: str) -> tuple[dict[str, Any], str]:
    """A suite's raw content, and where it stands: by name, or by the path of a YAML file.

    Raises:
        UsageError: there is no such suite, or the file is not YAML.
    """
    if name in names():
        return read_yaml(Path(str(files(__name__) / f"{name}.yaml"))), f"suite '{name}'"
    if name.endswith((".yaml", ".yml")) or "/" in name:
        return read_yaml(Path(name)), name
    raise UsageError(f"unknown suite '{name}'", mend=f"{did_you_mean(name, names())} (or give a path to a YAML file)")


def load_suite(name: str) -> SuiteSpec:
    """A suite by name or path, validated.

    Raises:
        UsageError: it is not valid; the message has every error.
    """
    raw, where = read_suite(name)
    return validate(SuiteSpec, raw, where)
