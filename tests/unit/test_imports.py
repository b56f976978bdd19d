"""Imports run one way: methods -> bench, reports -> bench.store and bench.stats, bench.cli -> everything."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = ("bench", "methods", "reports")
FOR_METHODS = (
    "bench.method",
    "bench.policy",
    "bench.engine",
    "bench.sets",
    "bench.errors",
    "bench.progress",
    "bench.spec",
    "bench.hashing",
    "bench.store.files",  # atomic writes
    "methods.learning",
    "methods.decoding",
    "methods.representation",
)
FOR_REPORTS = (
    "bench.store",
    "bench.stats",
    "bench.errors",
    "bench.hashing",
    "bench.spec",  # what a user writes in a file is validated in one way
    "reports",
)


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for package in OURS for path in sorted((ROOT / package).rglob("*.py"))}


def imported(source: str, module: str, *, is_package: bool) -> Iterator[str]:
    """Every module of ours that a source imports, wherever that stands: in functions and for types alone too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")
                kept = parents[: len(parents) - node.level + (1 if is_package else 0)]
                base = ".".join([*kept, *([node.module] if node.module else [])])
            # `from bench import registry` names a module, `from bench.spec import Spec` a thing in one.
            names = [full if (full := f"{base}.{alias.name}") in MODULES else base for alias in node.names]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] in OURS)


def within(name: str, allowed: tuple[str, ...]) -> bool:
    return any(name == each or name.startswith(f"{each}.") for each in allowed)


def is_allowed(module: str, name: str) -> bool:
    """Whether `module` may import `name`."""
    if within(module, ("methods",)):
        own = ".".join(module.split(".")[:2])  # a method may be a folder
        return within(name, FOR_METHODS) or (own != "methods" and within(name, (own,)))
    if within(module, ("reports",)):
        return within(name, FOR_REPORTS)
    if within(module, ("bench.cli", "bench.__main__")):
        return True
    return not within(name, ("methods", "reports", "bench.cli"))


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_one_way(module):
    path = MODULES[module]
    found = imported(path.read_text(encoding="utf-8"), module, is_package=path.name == "__init__.py")
    assert [name for name in found if not is_allowed(module, name)] == []


def test_all_of_ours_is_looked_at():
    assert {"bench.cli.app", "bench.policy", "methods.contrastive", "reports.table.build"} <= set(MODULES)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("bench.run.runner", "def f():\n    import methods.none"),
        ("bench.run.runner", "from reports import table"),
        ("bench.run.runner", "from bench.cli.common import print_json"),
        ("bench.run.runner", "from .cli import common"),
        ("bench.tasks.rtp", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from methods.none import NoEdit"),
        ("methods.none", "from methods.contrastive import ContrastivePerplexity"),
        ("methods.none", "from . import contrastive"),
        ("methods.none", "import bench.store.record"),
        ("methods.none", "from bench import registry"),
        ("methods.none", "import bench"),
        ("methods.learning", "from methods.none import NoEdit"),
        ("reports.table.build", "from bench.run.runner import run_cell"),
        ("reports.table.build", "import methods"),
    ],
)
def test_a_wrong_way_is_seen(module, source):
    assert [name for name in imported(source, module, is_package=False) if not is_allowed(module, name)]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("methods.none", "from bench.policy import HFPolicy\nfrom methods import training"),
        ("methods.folder.part", "from methods.folder import other"),
        ("reports.table.build", "from bench.store.record import Metric\nfrom bench import stats"),
        ("bench.cli.run", "def f():\n    from reports.table.terminal import print_sheet"),
        ("bench.run.runner", "import torch\nfrom bench import registry"),
    ],
)
def test_a_right_way_is_let_pass(module, source):
    assert [name for name in imported(source, module, is_package=False) if not is_allowed(module, name)] == []
