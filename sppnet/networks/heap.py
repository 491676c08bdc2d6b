"""Giving memory back that the heap holds in pieces too small for the next image's activations.

Activations of ever-new sizes leave gaps that fit nothing: a process that convolved forty of VOC's photographs at five
scales grew by 1.1 GB (whole activations: 1.8 GB), of which a single `malloc_trim` gave back all but 0.1. What it may
grow by is bounded here. Giving all back after every image would cost more than it saves, since the system clears each
page that comes anew.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

GROWTH_BYTES = 256 << 20
"""What a process may grow by before the free part of its heap is given back."""
_STATM = Path("/proc/self/statm")


class HeapBound:
    """Keeps a process's heap from growing. Does nothing where the C library isn't glibc or there is no `/proc`.

    Args:
        growth: bytes of resident memory that may come between two times that memory is given back.
    """

    def __init__(self, growth: int = GROWTH_BYTES) -> None:
        self.growth = growth
        self._before = resident_bytes()

    def check(self) -> bool:
        """Give free memory back if the process has grown by too much since this was last done; return whether."""
        trim = _malloc_trim()
        if trim is None or resident_bytes() <= self._before + self.growth:
            return False
        trim(0)
        self._before = resident_bytes()
        return True


def resident_bytes() -> int:
    """Return what this process holds of the machine's memory, 0 where the system doesn't say."""
    try:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    found: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return found
