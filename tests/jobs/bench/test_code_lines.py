from __future__ import annotations

from pathlib import Path

from jobs.bench.code_lines import code_lines

TEXT = '''"""What it is."""

import os  # a comment

# another


def work(
    a: int,
    b: int,
) -> int:
    """Add."""
    return (
        a
        + b
    )


class Empty:
    """Nothing more."""
'''


def test_lines_are_counted_without_docstrings_comments_blanks_and_wraps(tmp_path: Path) -> None:
    file = tmp_path / "code.py"
    file.write_text(TEXT)
    assert code_lines(file) == 5  # import, def, return, class, pass
