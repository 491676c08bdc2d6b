"""MATLAB files that claim more than they hold are refused; real ones and scipy's own pass."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from pipelines.datasets import mat_bounds
from pipelines.datasets.mat_bounds import check_mat
from pipelines.datasets.matlab import read_mat
from sppnet.errors import ConfigError

HEADER = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
CELL, STRUCT, CHARACTERS, DOUBLE = 1, 2, 4, 6


def element(kind: int, data: bytes) -> bytes:
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def array(kind: int, sides: tuple[int, ...], body: bytes, name: bytes = b"") -> bytes:
    head = element(6, struct.pack("<II", kind, 0)) + element(5, struct.pack(f"<{len(sides)}i", *sides))
    return element(14, head + element(1, name) + body)


NUMBER = array(DOUBLE, (1, 1), element(9, struct.pack("<d", 1.0)))


def nested(depth: int) -> bytes:
    made = NUMBER
    for _ in range(depth):
        made = array(CELL, (1, 1), made, b"boxes")
    return HEADER + made


@pytest.mark.parametrize("compressed", [False, True])
def test_what_scipy_writes_passes(compressed: bool) -> None:
    sink = io.BytesIO()
    cells = np.array([np.arange(8.0).reshape(2, 4), "name", np.zeros((0, 4))], object)
    rows = np.array([("a", 1, cells), ("b", 2, cells)], dtype=[("name", object), ("number", object), ("deep", object)])
    variables = {"boxes": cells, "images": "text", "empty": "", "rows": rows, "flags": np.ones(3, bool)}
    savemat(sink, variables, do_compression=compressed)
    check_mat(sink.getvalue())
    savemat(sink := io.BytesIO(), {"boxes": np.ones((3, 4))}, format="4")
    check_mat(sink.getvalue())


def test_published_files_pass(shared: Path) -> None:
    for name in ("ilsvrc_det/meta_det.mat", "fixtures/selective_search_demo/000004_boxes.mat"):
        check_mat((shared / "data" / name).read_bytes())


NAMES = element(5, struct.pack("<i", 1)) + element(1, b"x" * 50_000)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (nested(5000), "nested more than 32 deep"),
        (HEADER + element(15, zlib.compress(nested(5000)[128:])), "nested more than 32 deep"),
        (HEADER + element(15, zlib.compress(bytes(80 << 20), 9)), "inflates to more than"),
        (HEADER + array(CELL, (1, 1 << 30), NUMBER, b"boxes"), "claims 1073741824 values"),
        (HEADER + array(CELL, (1, 9), NUMBER, b"boxes"), "fewer cells or fields"),
        (HEADER + array(CHARACTERS, (1, 1 << 30), element(16, b""), b"boxes"), "claims 1073741824 values"),
        (HEADER + array(STRUCT, (1, 40_000), NAMES, b"boxes"), "claims 2000000000 values"),
        (HEADER + struct.pack("<II", 14, 1 << 31), "larger than what it is in"),
        (HEADER + array(CELL, (1, 1), NUMBER[:4] + b"\xff\xff\xff\x7f" + NUMBER[8:], b"boxes"), "larger than what"),
    ],
)
def test_claims_are_refused(data: bytes, told: str) -> None:
    with pytest.raises(ConfigError, match=rf"^w\.mat: not a MATLAB file that can be read \(.*{told}"):
        read_mat(data, ["boxes"], "w.mat")


def test_parts_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    data = HEADER + array(CELL, (1, 100), NUMBER * 100, b"boxes")
    check_mat(data)
    monkeypatch.setattr(mat_bounds, "MOST_ELEMENTS", 400)
    with pytest.raises(ValueError, match="more than 400 parts"):
        check_mat(data)
