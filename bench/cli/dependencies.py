"""Whether the packages that this project needs are installed, new enough and can be imported.

Only Python's own library is used here: any other may be what is missing.
"""

import importlib
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib import metadata
from typing import Literal

from bench.packages import NAMED, required

State = Literal["ok", "warn", "fail"]

TESTED = {
    "torch": "2.13.0",
    "transformers": "5.23.0",
    "datasets": "5.2.0",
    "lm-eval": "0.4.13",
    "detoxify": "0.5.4",
    "peft": "0.21.2",
    "accelerate": "1.15.0",
    "gguf": "0.19.0",
    "h5py": "3.16.0",
    "alt-profanity-check": "1.9.1",
    "scikit-learn": "1.9.1",
    "numpy": "2.4.6",
    "pandas": "3.1.1",
}
"""The versions that the figures in the documentation were made with: those of constraints.txt (a test holds this)."""

THROUGH_OTHERS = ("Jinja2", "httpx2", "pyarrow", "tokenizers")
"""What our code uses and what other packages bring: no requirement of ours names it (a test looks for more)."""

_AGAIN = "install with `pip install -c constraints.txt .`"
_REQUIREMENT = re.compile(r"([\w.-]+)(?:\[[\w,-]+\])?\s*>=\s*([\w.]+)")
_MODULES = {name.lower(): module for module, name in NAMED.items()}


@dataclass(frozen=True)
class Check:
    """One line of the report: what was looked at, how it stands, what was found, what to do about it."""

    name: str
    state: State
    found: str
    mend: str | None = None


def packages() -> Iterator[Check]:
    """Each dependency: whether it is there, in the bounds of pyproject.toml, can be imported, and is the tested one.

    What only an extra needs is looked at where it is installed.
    """
    needed, of_extras = _bounds(required("contrastive-bench"))
    for name in sorted({*needed, *TESTED, *THROUGH_OTHERS}, key=lambda one: (one not in TESTED, one.lower())):
        yield _package(name, needed.get(name))
    for name in sorted(of_extras.keys() - needed.keys() - {*THROUGH_OTHERS}):
        if _is_installed(name):
            yield _package(name, of_extras[name], f"run `pip install '{name}>={of_extras[name]}'`")


def lines(checks: Sequence[Check]) -> Iterator[str]:
    """The report: a line a check, and below it what to do."""
    width = max(len(check.name) for check in checks)
    for check in checks:
        yield f"{check.state:<4}  {check.name:<{width}}  {check.found}"
        if check.mend is not None:
            yield f"{'':<4}  {'':<{width}}  -> {check.mend}"


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _bounds(requirements: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Names with the lowest version that is allowed: of what is always needed, and of what extras bring.

    Read by hand: the library that reads them is a dependency, and may be what is missing.
    """
    found: tuple[dict[str, str], dict[str, str]] = ({}, {})
    for text in requirements:
        if one := _REQUIREMENT.match(text):
            found["extra ==" in text][one[1]] = one[2]
    return found


def _package(name: str, lowest: str | None, again: str = _AGAIN) -> Check:
    try:
        found = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Check(name, "fail", "not installed", again)
    if lowest and _numbers(found) < _numbers(lowest):
        return Check(name, "fail", f"{found}, and at least {lowest} is needed", again)
    try:
        with redirect_stdout(sys.stderr):  # some print when they are imported, and the report may be JSON
            importlib.import_module(_MODULES.get(name.lower(), name.replace("-", "_").lower()))
    except (Exception, SystemExit) as error:  # whatever a package raises: it cannot be used
        detail = next(iter(str(error).splitlines()), "")
        mend = f"run `pip install --force-reinstall '{name}=={TESTED.get(name, found)}'`"
        return Check(name, "fail", f"{found} cannot be imported ({type(error).__name__}: {detail:.120})", mend)
    if name in TESTED and found.split("+")[0] != TESTED[name]:
        mend = "install with -c constraints.txt for figures that compare with the documented ones"
        return Check(name, "warn", f"{found}, tested with {TESTED[name]}", mend)
    return Check(name, "ok", found)


def _numbers(version: str) -> list[int]:
    """The leading numbers of a version: 2.13.0+cpu is 2, 13, 0."""
    return [int(number) for number in re.findall(r"\d+", re.split(r"[a-z+]", version, maxsplit=1)[0])]
