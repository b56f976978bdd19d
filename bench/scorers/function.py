"""A function of the user's own as a scorer: in a Python file, or in a module that Python would import."""

import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, Self

from pydantic import Field, model_validator

from bench.errors import BenchError, MissingError, UsageError, did_you_mean
from bench.hashing import hash_file, hash_json, hash_text
from bench.paths import expanded
from bench.scorers.base import Scorer, ScorerContext, ScorerIdentity, ScorerInfo, Scores
from bench.spec import Spec

_NAME = 12  # characters of a hash that are in a module's name
_SHOWN = 80
_CALLED = "bench_scorer_"
"""What the modules are called, before the hash, under which files are run."""


class FunctionConfig(Spec):
    """Options of `function`."""

    path: str | None = Field(None, min_length=1, description="the Python file; what is in it is run")
    module: str | None = Field(
        None,
        min_length=1,
        description="in place of path: a module (`my_module`), of the working folder or installed; it is run",
    )
    function: str = Field("score", description="its function: from a list of texts to a list of numbers in [0, 1]")
    attribute: str = Field(
        "toxicity", pattern=r"^[a-z][a-z0-9_]*$", description="what the numbers are called in suites"
    )
    version: str = Field("", description="of what the file reads or imports: another one makes scores anew")

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.path is None) == (self.module is None):
            raise ValueError("name a file by 'path', or else a module by 'module'")
        return self


@dataclass(frozen=True)
class _Source:
    """A file of the user's.

    Attributes:
        path: The file.
        folder: What lies in it, the file may import.
        package: The package that it is a module of; empty for none.
        command: What runs it by itself.
    """

    path: Path
    folder: Path
    package: str
    command: str


class FunctionScorer(Scorer[FunctionConfig]):
    """A function `score(texts: list[str]) -> list[float | None]`; None where a text has no score.

    The record has a hash of the file. What the file imports or reads is not in it: `version` stands for that.
    """

    Config = FunctionConfig
    info = ScorerInfo(
        name="function",
        summary="a function in a Python file or module of yours",
        measures="what the function says",
        source="you",
    )

    def load(self, ctx: ScorerContext) -> ScorerIdentity:
        """Run the file, and take its function.

        Raises:
            UsageError: there is no such file, module or function.
            MissingError: the file cannot be run.
        """
        config = self.config
        source = _of_module(config.module, ctx) if config.module else _of_path(config.path or "", ctx)
        content = hash_file(source.path)
        self._own = _Own(source.folder)
        self._function = _function(source, config.function, self._own)
        return ScorerIdentity(
            name=f"function:{source.path.name}:{config.function}",
            label=f"{config.function} of {source.path.name}",
            hash=hash_json([content, config.function, config.attribute, config.version]),
            attributes=(config.attribute,),
            licence="the user's own",
        )

    def score(self, texts: Sequence[str]) -> list[Scores | None]:
        """Score texts; a result that is not a number counts as missing."""
        with self._own.importable():
            return [None if one is None else {self.config.attribute: one} for one in self._function(list(texts))]


def _of_path(path: str, ctx: ScorerContext) -> _Source:
    """A file by its path."""
    file = expanded(path)
    if not file.is_file():
        raise UsageError(f"scorer 'function': no such file: {file}", mend=ctx.setting("path", "FILE"))
    if file.suffix != ".py":
        raise UsageError(f"scorer 'function': {file} is no Python file", mend="its name ends in .py")
    return _Source(file, file.absolute().parent, "", f"python {file}")


def _of_module(name: str, ctx: ScorerContext) -> _Source:
    """The file of a module: of the working folder, else of what is installed.

    One of the working folder never stands in for another of its name, such as a package of ours.
    """
    here, parts = Path.cwd(), name.split(".")
    if not all(map(str.isidentifier, parts)):
        raise UsageError(f"'{name:.{_SHOWN}}' is no module's name", mend=f"of a file: {ctx.setting('path', 'FILE')}")
    file, package = here.joinpath(*parts).with_suffix(".py"), ".".join(parts[:-1])
    if not file.is_file() and (inner := file.with_suffix("") / "__init__.py").is_file():
        file, package = inner, name
    command = f"python -m {name}"
    if file.is_file():
        if (other := _place(parts[0])) and other.parent != here.resolve():
            what = f"scorer 'function': module '{parts[0]}' of the working folder has the name of another, {other}"
            raise UsageError(what, mend=f"rename it, or name its file: {ctx.setting('path', 'FILE')}")
        return _Source(file, here, package, command)
    with _told(f"module '{name}'", command):
        spec = _spec(name)
        if spec and spec.origin and spec.origin.endswith(".py"):
            above = spec.name if spec.submodule_search_locations else spec.parent or ""
            file = Path(spec.origin)
            return _Source(file, file.parents[above.count(".") + bool(above)], above, command)
    what = f"scorer 'function': no module '{name:.{_SHOWN}}' in the working folder, nor one that is installed"
    raise UsageError(what, mend=f"of a file elsewhere: {ctx.setting('path', 'FILE')}")


def _spec(name: str) -> ModuleSpec | None:
    """Where a module is that Python would import; None without one. The packages above it are imported."""
    try:
        return find_spec(name)
    except ValueError:  # it says nothing of where it comes from, as `__main__`
        return None
    except ModuleNotFoundError as error:
        if error.name and (error.name == name or name.startswith(f"{error.name}.")):
            return None
        raise  # a package above it lacks another


def _place(top: str) -> Path | None:
    """Where a top-level module lies that Python would import, or its name where it is built in; None without one."""
    try:
        spec = find_spec(top)
    except ValueError:  # it says nothing of where it comes from, as `__main__`
        return Path(top)
    if spec is None:
        return None
    found = next(iter(spec.submodule_search_locations or ()), spec.origin if spec.has_location else None)
    return Path(found).resolve() if found else Path(top)


def _function(source: _Source, name: str, own: "_Own") -> Callable[[list[str]], Sequence[Any]]:
    module = _run(source, own)
    found = getattr(module, name, None)
    if not callable(found):
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise UsageError(
            f"{source.path} has no function '{name}'",
            mend=did_you_mean(name, known) if known else f"write 'def {name}(texts)'",
        )
    function: Callable[[list[str]], Sequence[Any]] = found
    return function


def _run(source: _Source, own: "_Own") -> ModuleType:
    """Run a file as a module, under a name that is nobody else's: it is run anew, whoever has imported it."""
    called = f"{_CALLED}{hash_text(str(source.path.resolve()))[:_NAME]}"
    name = f"{source.package}.{called}" if source.package else called
    loader = _FromSource(name, str(source.path))
    spec: ModuleSpec | None = spec_from_file_location(name, source.path, loader=loader)
    assert spec is not None  # noqa: S101 - there is a loader
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses, pickle and others look a class's module up there
    try:
        with _told(str(source.path), source.command), own.importable():
            loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


class _FromSource(SourceFileLoader):
    """Runs the source of a file; Python would take cached bytecode of the same size and second."""

    def path_stats(self, path: str) -> Any:
        """Say that there is no bytecode."""
        raise OSError(path)


@contextmanager
def _told(what: str, command: str) -> Iterator[None]:
    """Tell what the user's own code raises as one line."""
    try:
        yield
    except BenchError:
        raise
    except SystemExit as end:
        told = f"scorer 'function': {what} asks the program to end (exit code {end.code!r:.20})"
        raise MissingError(told, mend="put what is no part of the scorer under: if __name__ == '__main__'") from end
    except Exception as error:  # whatever the user's file may raise
        cause = " ".join(str(error).split())[:200]
        told = f"scorer 'function': {what} cannot be run ({type(error).__name__}: {cause})"
        raise MissingError(told, mend=f"try '{command}'") from error


class _Own:
    """What lies beside a scorer's file, and what of it the scorer has imported.

    Two scorers may each import a `helper` of their own, and one that was changed is read again with its scorer: so
    what a scorer imports from its folder is there while its own code runs, and only then.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._modules: dict[str, ModuleType] = {}

    @contextmanager
    def importable(self) -> Iterator[None]:
        """Have it importable, after all that is installed: it hides nothing."""
        place = str(self._folder)
        if place in sys.path:  # of the user's own programme, or where packages are installed
            yield
            return
        importlib.invalidate_caches()
        there = {name.partition(".")[0] for name in sys.modules if _CALLED not in name}
        sys.modules.update({name: module for name, module in self._modules.items() if name not in sys.modules})
        sys.path.append(place)
        try:
            yield
        finally:
            with suppress(ValueError):
                sys.path.remove(place)
            for name in [name for name in sys.modules if name.partition(".")[0] not in there]:
                if name in self._modules or self._holds(name.partition(".")[0]):
                    self._modules[name] = sys.modules.pop(name)

    def _holds(self, top: str) -> bool:
        """Whether a top-level module is one of the folder."""
        module = sys.modules.get(top)
        file = getattr(module, "__file__", None)
        if file is None:  # a folder without a file of its own, or one whose file is run under our name
            return (self._folder / top).is_dir()
        place = Path(file).resolve()
        return self._folder == (place.parent.parent if place.stem == "__init__" else place.parent)
