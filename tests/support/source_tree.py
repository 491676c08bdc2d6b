"""The project's own source as a graph: modules, what they import, the rooms they live in, and the circles in it."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("sppnet", "pipelines", "jobs")
NAMES = [path.relative_to(ROOT).as_posix() for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
"""Every source file, as a path from the root."""

Graph = Mapping[str, set[str]]


@cache
def parse(name: str) -> ast.Module:
    """Parses a file, once a session."""
    return ast.parse((ROOT / name).read_text())


@cache
def imports(name: str) -> frozenset[str]:
    """Every dotted name that a file imports anywhere, functions and type checking included."""
    return frozenset(_imports(name))


def _imports(name: str) -> Iterator[str]:
    for node in ast.walk(parse(name)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative import"
            assert node.module
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def importers(module: str) -> set[str]:
    """The files that import a module or one of its submodules."""
    return {name for name in NAMES if any(found == module or found.startswith(f"{module}.") for found in imports(name))}


def module_of(name: str) -> str:
    """A file's dotted name."""
    return name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def room_of(module: str) -> str:
    """The folder below its package that a module lives in, or a module beside the folders; the report has its own."""
    parts = module.split(".")
    return ".".join(parts[: 3 if parts[:2] == ["jobs", "report"] else 2])


def file_graph() -> dict[str, set[str]]:
    """Which modules each module imports."""
    modules = {module_of(name): name for name in NAMES}
    return {
        module: {found for found in imports(name) if found in modules} - {module} for module, name in modules.items()
    }


def room_graph(files: Graph) -> dict[str, set[str]]:
    """Which rooms each room imports."""
    rooms: dict[str, set[str]] = defaultdict(set)
    for module, found in files.items():
        rooms[room_of(module)] |= {room_of(other) for other in found} - {room_of(module)}
    return dict(rooms)


def circles(graph: Graph) -> list[list[str]]:
    """The groups of two and more nodes of which each reaches every other."""
    reached = {node: _reachable(graph, node) for node in graph}
    groups = {frozenset(other for other in reached[node] if node in reached.get(other, ())) for node in graph}
    return sorted(sorted(group) for group in groups if len(group) > 1)


def _reachable(graph: Graph, start: str) -> set[str]:
    """All nodes that a way from `start` leads to; `start` itself only if a way leads back."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        new = graph.get(waiting.pop(), set()) - found
        found |= new
        waiting += new
    return found
