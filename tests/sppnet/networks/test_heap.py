"""The bound on the heap: it gives back what is free, once the process has grown."""

from __future__ import annotations

import subprocess
import sys

import pytest

# In a process of its own: what other tests have left free would be given back too.
PROGRAM = """
import torch
from sppnet.networks.heap import HeapBound, resident_bytes

MB = 1 << 20
bound = HeapBound(growth=32 * MB)
assert not bound.check()
# Blocks small enough for the heap; every other one stays, so that no free memory lies at the heap's end.
blocks = [torch.ones(64 * 1024 // 4) for _ in range(3200)]
full = resident_bytes()
del blocks[::2]
assert resident_bytes() > full - 10 * MB
assert bound.check()
assert resident_bytes() < full - 60 * MB
assert not bound.check()
assert all(float(block[0]) == 1.0 for block in blocks)
print("given back")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's heap")
def test_gaps_are_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.stdout == "given back\n", done.stderr
