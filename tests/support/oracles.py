"""The committed test vectors of `tests/oracles`, whose README says what each row holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "oracles"


def read_oracle(name: str) -> list[dict[str, Any]]:
    """Reads the rows of one oracle, such as `bins`."""
    rows: list[dict[str, Any]] = json.loads((FOLDER / f"{name}.json").read_text())
    assert rows, f"{name}: no rows"
    return rows
