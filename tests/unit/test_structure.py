"""The structure that a reader may rely on: no circle among modules, files and functions of a size to be read."""

import ast
import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_spec = importlib.util.spec_from_file_location("module_circles", ROOT / "tests" / "module_circles.py")
module_circles = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(module_circles)
MODULES = module_circles.modules()


def test_no_circle_among_modules():
    graph = module_circles.graph_of()
    assert {"bench.cli.app", "bench.policy", "methods.contrastive", "reports.table.build"} <= set(graph)
    assert module_circles.circles(graph) == []


@pytest.mark.parametrize(
    ("graph", "found"),
    [
        ({"a": {"b"}, "b": {"a"}}, [["a", "b"]]),
        ({"a": {"b"}, "b": {"c"}, "c": {"b"}}, [["b", "c"]]),
        ({"a": {"b"}, "b": set()}, []),
        ({"a": {"a"}}, [["a"]]),
    ],
)
def test_a_circle_is_found(graph, found):
    assert module_circles.circles(graph) == found


def test_imports_count_in_functions_and_not_for_types():
    known = dict.fromkeys(("bench", "bench.a", "bench.b", "bench.c"), Path())
    source = (
        "from typing import TYPE_CHECKING\nfrom bench import a\nif TYPE_CHECKING:\n    from bench.b import x\n"
        "def f():\n    from bench.c import y\n"
    )
    assert module_circles.imports(source, known) == {"bench.a", "bench.c"}


def test_files_and_functions_are_of_a_size_to_be_read():
    long = []
    for name, path in MODULES.items():
        source = path.read_text(encoding="utf-8")
        if source.count("\n") > 400:
            long.append(name)
        long += [
            f"{name}.{node.name}"
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno - node.lineno >= 60
        ]
    assert long == []
