from __future__ import annotations

import pytest

from pipelines.datasets.hugging_face_rows import RowColumns, annotation_of_row, image_of_row
from sppnet.errors import DataError

COLUMNS = RowColumns("image", "label", "objects", "xywh")


def reason(row: dict[str, object], classes: tuple[str, ...] = ("cat",)) -> str:
    with pytest.raises(DataError) as caught:
        annotation_of_row(row, COLUMNS, classes, "k", 40, 30)
    return caught.value.reason


def test_what_an_image_is_called() -> None:
    for cell, extension in (
        (b"\x89PNG....", "png"),
        ({"bytes": b"\xff\xd8", "path": None}, "jpg"),
        ({"bytes": b"\xff\xd8", "path": "a/b.JPEG"}, "jpeg"),
        ({"bytes": b"RIFF", "path": "a/b.txt"}, "webp"),
        (b"?", "jpg"),  # whatever it is, decoding it tells
    ):
        assert image_of_row({"image": cell}, COLUMNS, "k").extension == extension


def test_rows_that_can_t_be_used() -> None:
    for cell in (None, b"", {"bytes": None, "path": "a.jpg"}, {"path": "a.jpg"}, "text"):
        with pytest.raises(DataError, match="k: the row has no bytes of an image"):
            image_of_row({"image": cell}, COLUMNS, "k")
    assert reason({"label": 1.5}) == reason({"label": True}) == reason({"label": ""}) == "bad-annotation"
    assert reason({"label": 1}) == reason({"label": -1}) == "unknown-category"
    assert reason({"objects": {"bbox": [[0, 0, 1, 1]], "category": []}}) == "bad-annotation"
    assert reason({"objects": [None]}) == "bad-annotation"
    assert reason({"objects": [{"bbox": [0, 0, 1, 1]}]}) == "bad-annotation"
    assert annotation_of_row({"objects": None, "label": 0}, COLUMNS, ("cat",), "k", 40, 30).objects == ()
