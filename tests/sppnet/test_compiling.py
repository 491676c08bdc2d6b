"""Kernels compile where nothing can be cached, as in a container whose file system is read-only."""

from __future__ import annotations

import subprocess
import sys

import numba
import pytest

from sppnet.compiling import compiled
from tests.support.waiting import PATIENCE

_READ_ONLY = """
import importlib, sys
from numba.core import caching

def refuse(self):
    raise OSError("read-only file system")

caching._CacheLocator.ensure_cache_path = refuse
for name in sys.argv[1:]:
    importlib.import_module(name)
from sppnet.boxes import nms
print(nms([[0, 0, 4, 4], [0, 0, 4, 3], [9, 9, 12, 12]], [0.5, 0.7, 0.1]).tolist())
"""


def test_compiles_where_no_cache_folder_is_writable(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: object) -> None:
        raise OSError("read-only file system")

    def plus_one(x: int) -> int:
        return x + 1

    monkeypatch.setattr("numba.core.caching._CacheLocator.ensure_cache_path", refuse)
    with pytest.raises(RuntimeError, match="no locator"):
        numba.njit(cache=True)(plus_one)
    assert compiled()(plus_one)(1) == 2


def test_division_by_zero_is_numpys() -> None:
    def ratio(a: float, b: float) -> float:
        return a / b

    assert compiled()(ratio)(1.0, 0.0) == float("inf")


def test_every_kernel_loads_where_no_cache_folder_is_writable() -> None:
    modules = (
        "sppnet.boxes_numba",
        "sppnet.detection.svm_solvers",
        "sppnet.pooling.kernel_numba",
        "sppnet.proposals.grouping_numba",
        "sppnet.proposals.regions_numba",
        "sppnet.proposals.segmentation_numba",
    )
    done = subprocess.run(
        [sys.executable, "-c", _READ_ONLY, *modules], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "[1, 2]"
