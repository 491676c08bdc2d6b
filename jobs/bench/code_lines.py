"""How much code a peer takes."""

from __future__ import annotations

import ast
from pathlib import Path


def code_lines(path: Path) -> int:
    """Count the lines of a Python file without docstrings, comments and blanks.

    However it was wrapped: they are the lines of the parsed code, written out again.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return sum(1 for line in ast.unparse(tree).splitlines() if line.strip())
