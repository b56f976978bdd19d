"""Whose code failed: a package that cannot be loaded, or one that brought a plug-in."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, packages_distributions, requires, version
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any

from bench.errors import MissingError

_OURS = ("bench", "methods", "reports")
_SELF = "contrastive-bench"
NAMED = {
    "yaml": "PyYAML",
    "sklearn": "scikit-learn",
    "profanity_check": "alt-profanity-check",
    "mlflow": "mlflow-skinny",
    "vaderSentiment": "vaderSentiment",
}
"""Distributions of other names than their modules, for those that are not installed."""
_GROUPS = ("bench.methods", "bench.tasks", "bench.scorers", "bench.figures", "bench.trackers")


@dataclass(frozen=True)
class Blamed:
    """A package that cannot be loaded.

    Attributes:
        name: Its name in an index.
        requirement: What to install.
        is_needed: Whether we need it, or what we need does: `bench doctor` finds what else is wrong with these.
        why: Why it cannot be loaded.
    """

    name: str
    requirement: str
    is_needed: bool
    why: str

    @property
    def mend(self) -> str:
        """What mends it."""
        more = "; `bench doctor` looks at all packages" if self.is_needed else ""
        return f"run `pip install --force-reinstall '{self.requirement}'`{more}"


def broken_package(error: BaseException) -> Blamed | None:
    """The package whose import failed, where that is what an error says."""
    module = _missing(error) or _being_imported(error)
    if module is None or module in _OURS:
        return None
    name = _distribution(module)
    detail = next(iter(str(error).strip().splitlines()), "").strip()
    why = f"{type(error).__name__}: {detail:.200}".removesuffix(": ")
    return Blamed(name, *_requirement(name), why)


def brought_by(error: BaseException) -> str | None:
    """The package with its version whose plug-in failed: code of another than ours that stands in the traceback."""
    names = {point.module.partition(".")[0]: point.dist for group in _GROUPS for point in entry_points(group=group)}
    for frame in _frames(error):
        dist = names.get(_top(frame))
        if dist is not None and dist.name != _SELF:
            return f"{dist.name} {dist.version}"
    return None


def refuse_hidden() -> None:
    """Refuse to go on where another folder or file takes the place of a top-level package of ours.

    Raises:
        MissingError: one does: Python looks in the current folder, or in PYTHONPATH, first.
    """
    home = Path(__file__).resolve().parents[1]
    for name in _OURS:
        spec = find_spec(name)
        places = [Path(place) for place in (spec.submodule_search_locations or [spec.origin or ""])] if spec else []
        if places and home not in [place.resolve().parent for place in places]:
            what = f"{places[0]} hides the package '{name}' of {_SELF}"
            raise MissingError(what, mend="rename it, or start Python in another folder")


def load_point(point: EntryPoint, kind: str) -> Any:
    """Import what an entry point names; `kind` is what it is called (`scorer`).

    Raises:
        MissingError: it cannot be imported, for whatever reason; the remedy names the package to install.
    """
    try:
        return point.load()
    except (Exception, SystemExit) as error:
        refuse_hidden()
        blamed = broken_package(error)
        why = blamed.why if blamed else f"{type(error).__name__}: {error}"
        brought = point.dist.name if point.dist else point.value
        mend = blamed.mend if blamed else f"run `pip install --force-reinstall '{brought}'`"
        raise MissingError(f"{kind} '{point.name}' of {brought} cannot be loaded ({why})", mend=mend) from error


def _missing(error: BaseException) -> str | None:
    """The module that an import did not find, or found without what was asked of it."""
    name = error.name.partition(".")[0] if isinstance(error, ImportError) and error.name else None
    return None if name in sys.stdlib_module_names else name  # Python's own is never what is wrong


def _being_imported(error: BaseException) -> str | None:
    """The package, not ours, of which a module's own lines were being run, or could not be compiled."""
    for frame in _frames(error):
        if frame.f_code.co_name == "<module>" and _top(frame) not in (*_OURS, "__main__", ""):
            return _top(frame)
    if isinstance(error, SyntaxError) and error.filename:
        return _of_file(Path(error.filename))
    return None


def _of_file(path: Path) -> str | None:
    for root in sorted(map(Path, filter(None, sys.path)), key=lambda one: -len(one.parts)):  # one may lie in another
        if path.is_relative_to(root) and path.suffix == ".py":
            return path.relative_to(root).with_suffix("").parts[0]
    return None


def _frames(error: BaseException) -> Iterator[FrameType]:
    step = error.__traceback__
    while step is not None:
        yield step.tb_frame
        step = step.tb_next


def _top(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _distribution(module: str) -> str:
    return NAMED.get(module) or next(iter(packages_distributions().get(module, ())), module)


def _requirement(name: str) -> tuple[str, bool]:
    """What to ask pip for: our own requirement of the package where we have one; and whether it is needed at all."""
    try:
        from packaging.requirements import Requirement
        from packaging.utils import canonicalize_name
    except ImportError:  # it is the one that is missing
        return name, True
    wanted = [Requirement(text) for text in required(_SELF)]
    own = next((one for one in wanted if canonicalize_name(one.name) == canonicalize_name(name)), None)
    if own is not None and own.specifier:
        return f"{own.name}{own.specifier}", True
    found: set[str] = set()
    todo = [canonicalize_name(one.name) for one in wanted]
    while todo:
        if (one := todo.pop()) not in found:
            found.add(one)
            todo += [canonicalize_name(Requirement(text).name) for text in required(one) if "extra ==" not in text]
    is_needed = canonicalize_name(name) in found
    try:
        return f"{name}=={version(name)}", is_needed
    except PackageNotFoundError:
        return name, is_needed


def required(name: str) -> Sequence[str]:
    """The requirements of an installed package, as its metadata has them; none where it is not installed."""
    try:
        return requires(name) or ()
    except PackageNotFoundError:
        return ()
