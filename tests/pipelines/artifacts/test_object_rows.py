"""Rows of images with objects: columns and notes as `datasets` 5.2 wrote and read them where this was tried."""

from __future__ import annotations

import io
import json

import pyarrow.parquet as pq

from pipelines.artifacts.object_rows import ObjectsRow, write_object_rows
from sppnet.sizes import Size


def test_columns_rows_and_what_they_are_taken_for() -> None:
    full = ObjectsRow(
        "a/1.jpg", b"jpeg", Size(40, 30), [(1, 0.5, [0.0, 1.0, 2.0, 3.0]), (0, -0.25, [4.0, 5.0, 6.0, 7.0])]
    )
    empty = ObjectsRow("b.png", b"png", Size(7, 9), [])
    sink = io.BytesIO()
    write_object_rows([[full], [empty]], ("cat", "dog"), sink)
    file = pq.ParquetFile(io.BytesIO(sink.getvalue()))
    assert file.metadata.num_row_groups == 2
    rows = file.read().to_pylist()
    assert rows[0] == {
        "image": {"bytes": b"jpeg", "path": "a/1.jpg"},
        "width": 40,
        "height": 30,
        "objects": {"bbox": [[0, 1, 2, 3], [4, 5, 6, 7]], "category": [1, 0], "score": [0.5, -0.25]},
    }
    assert rows[1]["objects"] == {"bbox": [], "category": [], "score": []}
    features = json.loads(file.schema_arrow.metadata[b"huggingface"])["info"]["features"]
    assert list(features) == file.schema_arrow.names
    assert features["image"] == {"_type": "Image"}
    assert features["objects"]["category"] == [{"names": ["cat", "dog"], "_type": "ClassLabel"}]
    assert features["objects"]["bbox"] == [[{"dtype": "float32", "_type": "Value"}]]
