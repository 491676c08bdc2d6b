"""How long to wait before something that failed is tried again."""

from __future__ import annotations

import random


def backoff_seconds(failures: int, first: float, longest: float) -> float:
    """Return the seconds to wait after a failure: doubled with each, and jittered so that tries don't come together.

    Args:
        failures: How often it has failed, at least 1.
        first: Seconds after the first failure.
        longest: Seconds that the wait never exceeds before it is jittered by half.
    """
    return min(first * 2.0 ** (failures - 1), longest) * (0.5 + random.random())
