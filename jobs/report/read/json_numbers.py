"""Numbers out of JSON that may hold anything."""

from __future__ import annotations

import math
from typing import Any


def finite(value: Any) -> float:
    """Take a number; raise `ValueError` or `TypeError` for anything that isn't one, infinities and NaN included."""
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"a figure of {number}")
    return number


def finite_or_none(value: Any) -> float | None:
    """Take a number, or None for null and NaN; raise like `finite` for what is neither."""
    number = None if value is None else float(value)
    return number if number is not None and math.isfinite(number) else None
