"""Cache keys: every field that can change an output, with resolved hashes, never a name alone."""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from bench.errors import MissingError
from bench.hashing import hash_json, hash_text

NUMERIC = ("torch", "transformers", "numpy", "tokenizers")
"""Packages whose version can change any figure."""
SCORING = ("scikit-learn", "alt-profanity-check", "detoxify")
"""Packages whose version can change a score."""
OURS = ("bench", "methods")
"""The packages whose imports are followed module by module."""
NOT_BEHIND_FIGURES = (
    "bench",  # the version's number, and the lazy `bench.load`, which reads finished records
    "bench.assets.base_results",  # keeps what was computed, bit for bit
    "bench.assets.catalogue",  # finds and fetches: what it hands over stands in the keys by the hash of its content
    "bench.assets.local",  # says which files of a folder are read: that shows in the hash of its content
    "bench.errors",  # words for failures: a run that fails has no figures
    "bench.progress",  # tells how far the work is
    "bench.registry",  # looks up entry points: the modules that it loads are named to the keys themselves
    "bench.store.aside",  # renames what is damaged
    "bench.store.files",  # JSON to and from files: the values stay the same
    "bench.store.keys",  # hashes and versions: what it does differently shows in the keys themselves
    "bench.store.lease",  # says which process holds what
    "bench.store.leftovers",  # removes what killed processes left
    "bench.store.legacy",  # reads records of earlier versions: a run reads and writes those of today
    "bench.store.lock",  # waits for other processes
    "bench.store.process",  # names processes
    "bench.store.seal",  # refuses what was changed in the cache: what is made anew in its place is the same
    "bench.store.temporary",  # names temporary files
)
"""Modules that figures do not follow from, though what computes them imports these; they are not followed further."""


@dataclass(frozen=True)
class _Parsed:
    """What a source says: its meaning, as a hash, and the dotted names that it imports, some of them no modules."""

    meaning: str
    imports: tuple[str, ...]


@cache
def code_hash(modules: tuple[str, ...]) -> str:
    """Hash of the code of modules (dotted names): comments, docstrings and layout do not count.

    A package stands for its `__init__.py` alone: see `whole` for all that is in it.

    Raises:
        MissingError: a source is not there: code that cannot be read cannot be told from other code.
    """
    return hash_json({name: _parsed(name).meaning for name in sorted(modules)})


@cache
def with_imports(*roots: str) -> tuple[str, ...]:
    """The modules whose code counts for roots (dotted names): they and all that they import, directly or not, sorted.

    Imports are followed within `bench` and `methods`, those in functions too, but not those that only a type checker
    sees. A third party's root stands for its whole top-level package, and what that imports from ours.
    `NOT_BEHIND_FIGURES` is left out.

    Raises:
        MissingError: a root has no source.
    """
    reached: set[str] = set()
    waiting: list[str] = []
    for root in roots:
        if _is_ours(root) and _file(root) is None:
            raise _no_source(root)
        waiting.extend(_ancestry(root) if _is_ours(root) else whole(root.partition(".")[0]))
    while waiting:
        name = waiting.pop()
        if name in reached or name in NOT_BEHIND_FIGURES or _file(name) is None:
            continue
        reached.add(name)
        waiting.extend(part for imported in _parsed(name).imports if _is_ours(imported) for part in _ancestry(imported))
    return tuple(sorted(reached))


def whole(package: str) -> tuple[str, ...]:
    """A package and every module in it, or a module alone; nothing is imported.

    Raises:
        MissingError: it has no source.
    """
    names = {package} if _file(package) else set()
    for folder in _folders(package):
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            names.add(".".join((package, *(parts[:-1] if parts[-1] == "__init__" else parts))))
    if not names:
        raise _no_source(package)
    return tuple(sorted(names))


def source(path: Path) -> str:
    """The text of a source file."""
    return path.read_text(encoding="utf-8")


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] in OURS


def _ancestry(name: str) -> list[str]:
    """A module and the packages that it lies in, whose `__init__.py` are run before it is."""
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]


@cache
def _folders(name: str) -> tuple[Path, ...]:
    """The folders of a package; of a module that is none, nothing."""
    top, *inner = name.split(".")
    spec = find_spec(top)
    folders = [Path(folder, *inner) for folder in (spec.submodule_search_locations or ())] if spec else []
    return tuple(folder for folder in folders if folder.is_dir())


@cache
def _file(name: str) -> Path | None:
    """The source of a module, or a package's `__init__.py`; None where there is none. No inner package is imported."""
    parent, _, last = name.rpartition(".")
    if not parent and not _folders(name):
        spec = find_spec(name)
        return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None
    paths = [folder / "__init__.py" for folder in _folders(name)]
    paths += [folder / f"{last}.py" for folder in (_folders(parent) if parent else ())]
    return next((path for path in paths if path.is_file()), None)


def _no_source(name: str) -> MissingError:
    return MissingError(f"the source of module '{name}' is not at hand", mend="install it from a wheel or a folder")


def _parsed(name: str) -> _Parsed:
    path = _file(name)
    if path is None:
        raise _no_source(name)
    return _parse(source(path), name if path.name == "__init__.py" else name.rpartition(".")[0])


@cache
def _parse(text: str, package: str) -> _Parsed:
    """Parse a source that lies in a package; each text once."""
    tree = ast.parse(text)
    imports = tuple(sorted(set(_imports(tree, package))))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node, clean=False
        ):
            node.body = node.body[1:]
    return _Parsed(hash_text(ast.dump(tree)), imports)


def _imports(node: ast.AST, package: str) -> Iterator[str]:
    """The dotted names that a source imports; of `from a import b` both `a` and `a.b`, which may be a module."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
        origin = ".".join([*above, *([node.module] if node.module else [])])
        yield origin
        yield from (f"{origin}.{alias.name}" for alias in node.names)
    else:
        is_for_types = isinstance(node, ast.If) and _asks_for_type_checking(node.test)
        for inner in node.orelse if isinstance(node, ast.If) and is_for_types else ast.iter_child_nodes(node):
            yield from _imports(inner, package)


def _asks_for_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Installed versions by distribution name; those that are not installed are left out."""
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
