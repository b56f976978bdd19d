"""Methods, tasks and scorers by name, from installed packages' entry points, loaded only when asked for."""

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from bench.errors import MissingError, UsageError, did_you_mean

Kind = Literal["methods", "tasks", "scorers"]


@cache
def _points(kind: Kind) -> dict[str, EntryPoint]:
    return {point.name: point for point in sorted(entry_points(group=f"bench.{kind}"))}


def names(kind: Kind) -> list[str]:
    """The installed names of one kind, sorted; nothing is imported."""
    return list(_points(kind))


def load(kind: Kind, name: str) -> Any:
    """Import and return what `name` stands for: a class (methods, tasks) or a factory (scorers).

    Raises:
        UsageError: `name` is not installed; the message suggests the closest name.
        MissingError: its package cannot be imported.
    """
    points = _points(kind)
    if name not in points:
        raise UsageError(f"unknown {kind[:-1]} '{name}'", mend=did_you_mean(name, points))
    try:
        return points[name].load()
    except ImportError as error:
        raise MissingError(f"{kind[:-1]} '{name}' cannot be loaded ({error})", mend="install what it needs") from error


def origin(kind: Kind, name: str) -> str:
    """The distribution that brought `name`, with its version."""
    dist = _points(kind)[name].dist
    return f"{dist.name} {dist.version}" if dist else "unknown"
