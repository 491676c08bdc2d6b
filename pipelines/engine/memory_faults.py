"""Memory that runs out, of the machine or of a GPU: one line that says so and what to do, whoever asked for it.

It says nothing of the unit: with fewer beside it, it may well pass. So it counts as the infrastructure's failure.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from sppnet.errors import IncompleteError

FEWER_UNITS = "make fewer units at once: --cpus N on one machine, fewer CPUs per node on a cluster"
_FEWER_ON_GPU = "let fewer units share one (--gpus 1), or end what else is on it"
# torch and OpenCV have no class of their own for the machine's memory.
_SIGNS = ("can't allocate memory", "not enough memory", "(-4:Insufficient memory)")
_LONGEST = 200


class MemoryRanOutError(IncompleteError):
    """A unit, or a driver, did not get the memory that it asked for."""


def memory_fault(error: BaseException) -> MemoryRanOutError | None:
    """Return what an error says of memory, as an error of one line; None for an error of another kind."""
    if isinstance(error, MemoryRanOutError):
        return error
    text = " ".join(str(error).split())
    if type(error).__name__ == "OutOfMemoryError" and isinstance(error, RuntimeError):  # torch's: the GPU's
        return MemoryRanOutError(f"the GPU's memory ran out{_told(text)}; {_FEWER_ON_GPU}")
    machine = isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
    if machine or any(sign in text for sign in _SIGNS):
        return MemoryRanOutError(f"memory ran out{_told(text)}; {FEWER_UNITS}")
    return None


def _told(text: str) -> str:
    return f" ({text if len(text) <= _LONGEST else f'{text[:_LONGEST]}...'})" if text else ""


@contextmanager
def telling_memory_faults() -> Iterator[None]:
    """Guard a unit's work: memory that runs out is raised as `MemoryRanOutError`."""
    try:
        yield
    except Exception as error:
        fault = memory_fault(error)
        if fault is None:
            raise
        raise fault from error
