"""Read licences and sizes of what the project depends on out of what is installed here, into `dependencies.json`.

Run `python docs/measure_dependencies.py` where all extras are installed, after a change of `constraints.txt`; then
`python docs/generate_lists.py` makes the table. What is not installed here keeps what stood there.
"""

import json
import platform
import tomllib
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

DOCS = Path(__file__).parent
FILE = DOCS / "dependencies.json"
_LICENCE = "License :: OSI Approved :: "
_LONG = 60


def direct() -> dict[str, list[str]]:
    """The names that the project asks for, by extra; the empty one is what it always needs."""
    project = tomllib.loads((DOCS.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = {"": project["dependencies"], **project["optional-dependencies"]}
    return {extra: [Requirement(text).name for text in texts] for extra, texts in groups.items()}


def licence(found: metadata.PackageMetadata) -> str:
    """What a package's metadata say: an SPDX expression, else its classifiers, else the first line of its licence."""
    classifiers = [one.removeprefix(_LICENCE) for one in found.get_all("Classifier") or () if one.startswith(_LICENCE)]
    first = str(found.get("License") or "").strip().partition("\n")[0]
    return str(found.get("License-Expression") or ", ".join(classifiers) or first[:_LONG] or "not stated")


def facts(name: str) -> dict[str, Any]:
    """Version, licence and megabytes of an installed package.

    Raises:
        PackageNotFoundError: it is not installed.
    """
    found = metadata.distribution(name)
    size = sum(file.size or 0 for file in found.files or ())
    return {"version": found.version, "licence": licence(found.metadata), "megabytes": round(size / 1e6, 1)}


def needed(names: list[str]) -> set[str]:
    """The names, and all that they need in turn on this machine."""
    seen: set[str] = set()
    waiting = [*names]
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name not in seen:
            seen.add(name)
            asked = [Requirement(text) for text in metadata.requires(name) or ()]
            waiting += [one.name for one in asked if one.marker is None or one.marker.evaluate({"extra": ""})]
    return seen


def brought(names: list[str], base: dict[str, Any], before: dict[str, Any] | None) -> dict[str, Any] | None:
    """What an extra's packages need in turn, beyond what the base has; `before` where one is not installed here."""
    try:
        return {name: facts(name) for name in sorted(needed(names) - base.keys())}
    except metadata.PackageNotFoundError:
        return before


def measured(before: dict[str, Any]) -> dict[str, Any]:
    """What is written: the direct dependencies, and all that the base and each extra need in turn."""
    packages = dict(before.get("packages", {}))
    for name in {name for names in direct().values() for name in names}:
        try:
            packages[name] = facts(name)
        except metadata.PackageNotFoundError:
            packages.setdefault(name, {"version": None, "licence": "not looked at", "megabytes": None})
    every = {name: facts(name) for name in sorted(needed(direct()[""]))}
    extras = {extra: brought(names, every, before.get("extras", {}).get(extra)) for extra, names in direct().items()}
    return {
        "where": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "when": f"{datetime.now(UTC):%Y-%m-%d}",
        "packages": dict(sorted(packages.items(), key=lambda one: one[0].lower())),
        "base": {
            "count": len(every),
            "megabytes": round(sum(one["megabytes"] for one in every.values())),
            "copyleft": {name: one["licence"] for name, one in every.items() if _asks_back(one["licence"])},
            "packages": every,
        },
        "extras": {extra: found for extra, found in extras.items() if extra},
    }


def _asks_back(licence: str) -> bool:
    return any(name in licence for name in ("GPL", "MPL", "General Public", "Mozilla"))


if __name__ == "__main__":
    before = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    FILE.write_text(json.dumps(measured(before), indent=1) + "\n", encoding="utf-8")
