"""Detections as columns: the same as rows, through Parquet and back, and as one file of many tables."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.artifacts.detections import (
    DetectionRow,
    DetectionTable,
    decode_detection_table,
    decode_detections,
    encode_detection_table,
    write_detections,
)
from pipelines.detecting.detection_sets import final_boxes
from sppnet.boxes import nms
from sppnet.errors import ArtifactError
from tests.support.stored_rows import encode_detections, table_of_rows

edge = st.integers(0, 30).map(float)
box = st.tuples(edge, edge, st.integers(1, 20), st.integers(1, 20)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)
row = st.builds(
    DetectionRow,
    st.sampled_from(["a", "b", "c/d"]),
    st.sampled_from(["car", "dog"]),
    st.integers(-4, 4).map(lambda n: n / 4),
    box,
    st.none() | box,
)
rows = st.lists(row, max_size=12)


def values(found: list[DetectionRow]) -> list[tuple]:
    return [(r.key, r.category, r.score, r.box, r.regressed) for r in found]


@given(rows)
def test_rows_and_columns(found: list[DetectionRow]) -> None:
    table = table_of_rows(found)
    assert values(list(table.rows())) == values(found)
    assert values(decode_detections(encode_detections(found), "x")) == values(found)
    again = decode_detection_table(encode_detection_table(table), "x")
    assert values(list(again.rows())) == values(found)
    assert len(again) == len(found)


def test_many_tables_are_one_file() -> None:
    one = [DetectionRow("a", "car", 0.5, (0.0, 0.0, 1.0, 1.0), None)]
    two = [DetectionRow("b", "dog", -0.5, (0.0, 0.0, 2.0, 1.0), (0.0, 0.0, 1.0, 1.0))]
    sink = io.BytesIO()
    assert write_detections((table_of_rows(part) for part in (one, [], two)), sink) == 2
    assert values(decode_detections(sink.getvalue(), "x")) == values(one + two)


def test_keys_without_detections_are_not_touched() -> None:
    """A shard's table may know the keys of millions of images."""
    found = [DetectionRow("b", "car", 0.5, (0.0, 0.0, 1.0, 1.0), None)]
    table = table_of_rows(found)
    many = replace(table, keys=("a", *table.keys, object()), image=table.image + np.int32(1))
    assert encode_detection_table(many) == encode_detection_table(table)


def test_bytes_that_are_none() -> None:
    with pytest.raises(ArtifactError, match="here: not a Parquet file"):
        decode_detection_table(b"PAR1", "here")


@settings(max_examples=60)
@given(rows, st.sampled_from([0.1, 0.3, 0.6]))
def test_regressed_boxes_are_suppressed_image_by_image(found: list[DetectionRow], iou: float) -> None:
    table = table_of_rows(found)
    assert values(list(final_boxes(table, "windows", iou).rows())) == [
        (r.key, r.category, r.score, r.box, None) for r in found
    ]
    kept = []
    for key in ("a", "b", "c/d"):
        for category in ("car", "dog"):
            own = [n for n, r in enumerate(found) if (r.key, r.category) == (key, category)]
            if own:
                chosen = nms([found[n].regressed or found[n].box for n in own], [found[n].score for n in own], iou)
                kept += [own[i] for i in chosen]
    expected = [
        (found[n].key, found[n].category, found[n].score, found[n].regressed or found[n].box) for n in sorted(kept)
    ]
    assert [v[:4] for v in values(list(final_boxes(table, "regressed", iou).rows()))] == expected


def test_a_shards_rows_in_bulk() -> None:
    """200 categories x 100 windows of 4 images: nothing is done row by row."""
    n = 200 * 100 * 4
    rng = np.random.default_rng(0)
    table = DetectionTable(
        keys=tuple("abcd"),
        categories=tuple(f"n{i}" for i in range(200)),
        image=rng.integers(0, 4, n).astype(np.int32),
        category=rng.integers(0, 200, n).astype(np.int32),
        scores=rng.standard_normal(n).astype(np.float32),
        boxes=rng.uniform(0, 500, (n, 4)).astype(np.float32),
        regressed=np.full((n, 4), np.nan, np.float32),
    )
    again = decode_detection_table(encode_detection_table(table), "x")
    np.testing.assert_array_equal(again.boxes, table.boxes)
    np.testing.assert_array_equal(again.scores, table.scores)
    assert [again.keys[i] for i in again.image[:50]] == [table.keys[i] for i in table.image[:50]]
