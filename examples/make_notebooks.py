"""Write each example as a notebook beside it: its `# %%` cells, whose titles become text. Run after a change.

python examples/make_notebooks.py
"""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def notebook(source: str) -> dict[str, Any]:
    """Return a script as a notebook (nbformat 4.5): its docstring is the first cell."""
    parts = re.split(r"^# %%(.*)\n", source, flags=re.MULTILINE)
    found = [cell(0, "markdown", ast.get_docstring(ast.parse(source)) or "")]
    for title, code in zip(parts[1::2], parts[2::2], strict=True):
        if title.strip():
            found.append(cell(len(found), "markdown", title))
        found.append(cell(len(found), "code", code))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": found, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def cell(number: int, kind: str, text: str) -> dict[str, Any]:
    """Return a cell of a notebook, one that was never run."""
    more = {"execution_count": None, "outputs": []} if kind == "code" else {}
    lines = text.strip().splitlines(keepends=True)
    return {"cell_type": kind, "id": f"cell-{number}", "metadata": {}, **more, "source": lines}


def main() -> None:
    """Write the notebooks of all examples that have cells."""
    for path in sorted(FOLDER.glob("*.py")):
        source = path.read_text(encoding="utf-8")
        if re.search(r"^# %%", source, re.MULTILINE):
            text = json.dumps(notebook(source), indent=1, ensure_ascii=False) + "\n"
            path.with_suffix(".ipynb").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
