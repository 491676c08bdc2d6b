from __future__ import annotations

import pytest

from pipelines.artifacts.file_contents import ContentRow, decode_contents, encode_contents
from sppnet.errors import ArtifactError

ROWS = [ContentRow("sha256", "JPEGImages/a.jpg", "12:1.5", '"ab"'), ContentRow("voc", "Annotations/ü.xml", "", "[1]")]


def test_rows_come_back_in_order() -> None:
    assert decode_contents(encode_contents(ROWS), "here") == ROWS
    assert decode_contents(encode_contents([]), "here") == []


def test_another_file_is_told() -> None:
    with pytest.raises(ArtifactError, match=r"^here: not a Parquet file"):
        decode_contents(b"[]", "here")


def test_a_damaged_column_is_told() -> None:
    data = bytearray(encode_contents([ContentRow("sha256", f"{n}.jpg", "", '"ab"') for n in range(500)]))
    data[8:200] = bytes(192)
    with pytest.raises(ArtifactError, match=r"^here: damaged"):
        decode_contents(bytes(data), "here")
