"""Suites that come with the package, one YAML file each."""

from collections.abc import Mapping
from copy import deepcopy
from importlib.resources import files
from pathlib import Path
from typing import Any

from bench.errors import UsageError, did_you_mean
from bench.parsing import read_yaml
from bench.paths import expanded
from bench.spec import SuiteSpec, validate

DEFAULT = "mini"


def names() -> list[str]:
    """Names of the suites that come with the package."""
    return sorted(Path(entry.name).stem for entry in files(__name__).iterdir() if entry.name.endswith(".yaml"))


def read_suite(name: str, content: Mapping[str, Any] | None = None) -> tuple[dict[str, Any], str]:
    """A suite's raw content, and where it stands: by name, or by the path of a YAML file; or `content`, so called.

    `extends: NAME` takes another suite and puts what stands beside it on top: mappings key by key, all else whole.
    A path after `extends` or `proof` is told from where the suite's file lies.

    Raises:
        UsageError: there is no such suite, the file is not YAML, or suites extend each other in a circle.
    """
    at = name if content is None else ""  # without a file, paths are relative to the working folder
    raw, where = _read(name) if content is None else (_told(at, deepcopy(dict(content))), f"suite '{name}'")
    seen = [at]
    while "extends" in raw:
        if "name" not in raw:
            raise UsageError(f"{where}: a suite that extends another needs a name of its own")
        base = _beside(at, str(raw.pop("extends")))
        if base in seen:
            raise UsageError(f"{where}: 'extends' leads back to '{base}'")
        seen.append(base)
        at = base
        raw = _merged(_read(base)[0], raw)
    return raw, where


def _beside(suite: str, base: str) -> str:
    """A suite's name, or a path, which is told from where the extending suite's file lies."""
    return base if base in names() or "/" not in f"{suite}{base}" else str(Path(suite).parent / base)


def _told(at: str, raw: dict[str, Any]) -> dict[str, Any]:
    """The same with the suite of its proof as it is found from the working folder."""
    return {**raw, "proof": _beside(at, raw["proof"])} if isinstance(raw.get("proof"), str) else raw


def _read(name: str) -> tuple[dict[str, Any], str]:
    if name in names():
        return read_yaml(Path(str(files(__name__) / f"{name}.yaml"))), f"suite '{name}'"
    if name.endswith((".yaml", ".yml")) or "/" in name:
        return _told(name, read_yaml(expanded(name))), name
    raise UsageError(f"unknown suite '{name}'", mend=f"{did_you_mean(name, names())} (or give a path to a YAML file)")


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Two mappings as one: of a key that both have, the mappings merged, or what is above."""
    both = {
        key: _merged(below[key], value) if isinstance(value, dict) and isinstance(below.get(key), dict) else value
        for key, value in above.items()
    }
    if "scorer" in above and _name(above["scorer"]) != _name(below.get("scorer")):
        both["scorer"] = above["scorer"]  # options of one scorer are not another's
    return {**below, **both}


def _name(scorer: Any) -> Any:
    return scorer.get("name") if isinstance(scorer, dict) else None


def load_suite(name: str) -> SuiteSpec:
    """A suite by name or path, validated.

    Raises:
        UsageError: it is not valid; the message has every error.
    """
    raw, where = read_suite(name)
    return validate(SuiteSpec, raw, where)
