from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from pipelines.artifacts.detections import DetectionRow, DetectionTable
from pipelines.outputs.table import HEADER, encode_csv, write_csv
from tests.support.stored_rows import table_of_rows
from tests.support.written_detections import ROWS, halves


def read(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode(), newline="")))


def test_rows_come_back(table: DetectionTable, tmp_path: Path) -> None:
    (path,) = write_csv(halves(table), lambda key: f"{key}.jpg", "val", tmp_path)
    header, *rows = read(path.read_bytes())
    assert tuple(header) == HEADER
    assert rows[0] == ["a/1.jpg", "car", "0.5", "0", "0", "10", "20"]
    assert [np.float32(row[2]) for row in rows] == [np.float32(row.score) for row in ROWS]
    found = [[float(edge) for edge in row[3:]] for row in rows]
    np.testing.assert_allclose(found, [row.box for row in ROWS], rtol=1e-6)
    assert encode_csv(table, lambda key: f"{key}.jpg") == path.read_bytes()


def test_names_with_commas_and_quotes_are_quoted() -> None:
    odd = table_of_rows([DetectionRow('a,"b"\nc', "cat, wild", 1.0, (0, 0, 1, 1), None)])
    assert read(encode_csv(odd, str))[1][:2] == ['a,"b"\nc', "cat, wild"]
