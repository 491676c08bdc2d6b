"""How long the parts of a unit's work took, for the commits' figures."""

from __future__ import annotations

import time
from collections import defaultdict

import torch


class Stopwatch:
    """Sums the seconds of named parts, laps that follow one another.

    Work on a GPU counts for the lap in which it runs, not the one that started it: each lap waits for the device.

    Args:
        device: Where the work runs.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._last = time.perf_counter()

    def lap(self, name: str | None = None) -> None:
        """End a lap: add the time since the last one to a part, or to none."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        now = time.perf_counter()
        if name is not None:
            self._seconds[name] += now - self._last
        self._last = now

    def figures(self) -> dict[str, float]:
        """`<name>_seconds` of every part, to a hundredth of a millisecond."""
        return {f"{name}_seconds": round(value, 5) for name, value in self._seconds.items()}
