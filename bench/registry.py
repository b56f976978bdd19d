"""Methods, tasks, scorers and trackers by name, from installed packages' entry points, loaded only when asked for."""

from collections.abc import Iterable
from functools import cache
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from typing import TYPE_CHECKING, Any, Literal

from bench.errors import MissingError, UsageError, did_you_mean
from bench.packages import load_point

if TYPE_CHECKING:
    from packaging.requirements import Requirement

Kind = Literal["methods", "tasks", "scorers", "trackers"]


@cache
def _points(kind: Kind) -> dict[str, EntryPoint]:
    return {point.name: point for point in sorted(entry_points(group=f"bench.{kind}"))}


def names(kind: Kind) -> list[str]:
    """The installed names of one kind, sorted; nothing is imported."""
    return list(_points(kind))


def load(kind: Kind, name: str) -> Any:
    """Import and return the class that `name` stands for.

    Raises:
        UsageError: `name` is not installed; the message suggests the closest name.
        MissingError: its package cannot be imported.
    """
    points = _points(kind)
    if name not in points:
        raise UsageError(f"unknown {kind[:-1]} '{name}'", mend=did_you_mean(name, points))
    return load_point(points[name], kind[:-1])


def requirements(kind: Kind, name: str, extras: Iterable[str]) -> "list[Requirement]":
    """What extras of the distribution that brought `name` ask for on this machine; nothing is imported."""
    from packaging.requirements import Requirement

    dist = _points(kind)[name].dist
    asked = [Requirement(text) for text in (dist.requires or [] if dist else [])]
    return [
        one
        for extra in extras
        for one in asked
        if one.marker and one.marker.evaluate({"extra": extra}) and not one.marker.evaluate({"extra": ""})
    ]


def check_extras(kind: Kind, name: str, extras: Iterable[str]) -> None:
    """Find out whether the optional dependencies that `name` needs are installed; nothing is imported.

    Raises:
        MissingError: one is not, or is too old.
    """
    for extra in extras:
        lacking = [f"{one.name}{one.specifier}" for one in requirements(kind, name, [extra]) if not _installed(one)]
        if lacking:
            package = origin(kind, name).partition(" ")[0]
            what = f"{kind[:-1]} '{name}' needs {' and '.join(lacking)}"
            raise MissingError(what, mend=f"pip install '{package}[{extra}]'")


def _installed(wanted: "Requirement") -> bool:
    try:
        return wanted.specifier.contains(version(wanted.name), prereleases=True)
    except PackageNotFoundError:
        return False


def origin(kind: Kind, name: str) -> str:
    """The distribution that brought `name`, with its version."""
    dist = _points(kind)[name].dist
    return f"{dist.name} {dist.version}" if dist else "unknown"
