"""How long to wait before something that failed is tried again."""

from __future__ import annotations

import random


def backoff_seconds(failures: int, first: float, longest: float) -> float:
    """Draw the seconds to wait after a failure, evenly up to a bound that doubles: tries of many don't come together.

    Args:
        failures: How often it has failed, at least 1.
        first: Most seconds after the first failure.
        longest: Seconds that no wait exceeds.
    """
    return min(first * 2.0 ** (failures - 1), longest) * random.random()
