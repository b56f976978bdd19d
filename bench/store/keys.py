"""Cache keys: every field that can change an output, with resolved hashes, never a name alone."""

import ast
from collections.abc import Iterable
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


@cache
def code_hash(modules: tuple[str, ...]) -> str:
    """Hash of the code of modules or packages (dotted names): comments, docstrings and layout do not count."""
    return hash_json({name: [_meaning(path) for path in _sources(name)] for name in sorted(modules)})


@cache
def with_imports(module: str) -> tuple[str, ...]:
    """A module (dotted name) and all that it imports, directly or not, from its own top-level package, sorted."""
    package, found, open_ = module.partition(".")[0], set(), [module]
    while open_:
        name = open_.pop()
        if name in found:
            continue
        found.add(name)
        for path in _sources(name):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == package:
                    inner = [f"{node.module}.{alias.name}" for alias in node.names]
                    open_.extend(one if _is_module(one) else node.module for one in inner)
    return tuple(sorted(found))


def _is_module(name: str) -> bool:
    """Whether a dotted name below an existing module is a module too; neither is imported."""
    parent, _, last = name.rpartition(".")
    spec = find_spec(parent)
    folders = [Path(folder) for folder in (spec.submodule_search_locations or [])] if spec else []
    return any((folder / f"{last}.py").is_file() or (folder / last).is_dir() for folder in folders)


def _sources(name: str) -> Iterable[Path]:
    """Source files of a module, or of a package with all that is in it.

    Raises:
        MissingError: there is none: code that cannot be read cannot be told from other code.
    """
    spec = find_spec(name)
    folders = [Path(folder) for folder in (spec.submodule_search_locations or [])] if spec else []
    files = sorted(path for folder in folders for path in folder.rglob("*.py"))
    if spec and not folders and spec.origin and spec.origin.endswith(".py"):
        files = [Path(spec.origin)]
    if not files:
        raise MissingError(f"the source of module '{name}' is not at hand", mend="install it from a wheel or a folder")
    return files


def _meaning(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node, clean=False
        ):
            node.body = node.body[1:]
    return hash_text(ast.dump(tree))


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Installed versions by distribution name; those that are not installed are left out."""
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
