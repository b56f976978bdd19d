"""Cache keys: every field that can change an output, with resolved hashes, never a name alone."""

import ast
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from bench.hashing import hash_json, hash_text

NUMERIC = ("torch", "transformers", "numpy", "tokenizers")
"""Packages whose version can change any figure."""


@cache
def code_hash(modules: tuple[str, ...]) -> str:
    """Hash of the code of modules or packages (dotted names): comments, docstrings and layout do not count."""
    return hash_json({name: [_meaning(path) for path in _sources(name)] for name in sorted(modules)})


def _sources(name: str) -> Iterable[Path]:
    spec = find_spec(name)
    if spec is None or not spec.origin:
        return []
    path = Path(spec.origin)
    return sorted(path.parent.rglob("*.py")) if path.name == "__init__.py" else [path]


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
