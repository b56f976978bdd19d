"""Count circles among modules: `python tests/module_circles.py` prints each, and how many there are.

An import counts wherever it stands, in functions too; one for types alone (`if TYPE_CHECKING`) is none when the program
runs. Importing a thing out of a package counts as importing the package.
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("bench", "methods", "reports")


def modules(root: Path = ROOT) -> dict[str, Path]:
    """All modules of the product by dotted name."""
    found = {}
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(source: str, known: Mapping[str, Path]) -> set[str]:
    """The modules that a source imports when the program runs."""
    return {name for name in _imports(ast.parse(source), known) if name in known}


def _imports(node: ast.AST, known: Mapping[str, Path]) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module:
            for alias in child.names:
                full = f"{child.module}.{alias.name}"
                yield full if full in known else child.module
        else:
            yield from _imports(child, known)


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other, directly or not (Tarjan's strongly connected components)."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        order[name] = lowest[name] = len(order)
        stack.append(name)
        for other in sorted(graph[name]):
            if other not in order:
                visit(other)
                lowest[name] = min(lowest[name], lowest[other])
            elif other in stack:
                lowest[name] = min(lowest[name], order[other])
        if lowest[name] == order[name]:
            place = stack.index(name)
            group, stack[place:] = stack[place:], []
            if len(group) > 1 or name in graph[name]:
                found.append(sorted(group))

    for name in sorted(graph):
        if name not in order:
            visit(name)
    return found


def graph_of(root: Path = ROOT) -> dict[str, set[str]]:
    """What each module imports."""
    known = modules(root)
    return {name: imports(path.read_text(encoding="utf-8"), known) for name, path in known.items()}


if __name__ == "__main__":
    groups = circles(graph_of())
    for group in groups:
        print(" - ".join(group))
    print(f"{len(groups)} circles among {len(modules())} modules")
    sys.exit(bool(groups))
