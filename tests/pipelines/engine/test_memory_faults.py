"""Memory that runs out is told as such, whatever library asked for it; nothing else is."""

from __future__ import annotations

import errno
import pickle

import cv2
import numpy as np
import pyarrow as pa
import pytest
import torch

from pipelines.engine.memory_faults import MemoryRanOutError, memory_fault, telling_memory_faults

TOO_MUCH = 1 << 55  # no machine has it, so that nothing is ever taken


@pytest.mark.parametrize(
    "ask",
    [
        lambda: bytearray(TOO_MUCH),
        lambda: np.empty(TOO_MUCH, np.uint8),
        lambda: torch.empty(TOO_MUCH, dtype=torch.uint8),
        lambda: pa.allocate_buffer(TOO_MUCH),
    ],
    ids=["python", "numpy", "torch", "arrow"],
)
def test_a_library_that_asks_for_too_much(ask) -> None:
    line = r"^memory ran out.*; make fewer units at once: --cpus N"
    with pytest.raises(MemoryRanOutError, match=line) as caught, telling_memory_faults():
        ask()
    assert caught.value.exit_code == 3
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301  # Ray's way home


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MemoryError(), "memory ran out; make fewer"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "memory ran out ([Errno 12] Cannot allocate memory); make"),
        (cv2.error("error: (-4:Insufficient memory) Failed to allocate 9 bytes\nin 'x'"), "memory ran out (error: (-4"),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried\nto"),
            "the GPU's memory ran out (CUDA out of memory. Tried",
        ),
        (MemoryError("a" * 500), f"memory ran out ({'a' * 200}...); make"),
    ],
)
def test_one_line_of_bounded_length(error: Exception, line: str) -> None:
    told = str(memory_fault(error))
    assert told.startswith(line)
    assert "\n" not in told


@pytest.mark.parametrize("error", [ValueError("memory"), OSError(errno.EIO, "bad"), RuntimeError("shape"), KeyError(1)])
def test_other_errors_come_out_as_they_are(error: Exception) -> None:
    assert memory_fault(error) is None
    with pytest.raises(type(error)) as caught, telling_memory_faults():
        raise error
    assert caught.value is error
