from __future__ import annotations

from pathlib import Path

import pytest

from jobs.bench.sides.files import image_records, window_rows
from pipelines.artifacts.windows_and_maps import encode_windows
from sppnet.errors import ConfigError, DataError
from tests.support.made_tars import jpeg, write_tar


def test_images_come_from_a_folder_from_tars_or_are_drawn(tmp_path: Path) -> None:
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    for number in range(6):
        (photographs / f"p{number}.jpg").write_bytes(jpeg(number, (40 + number, 30)))
    assert [record.key for record in image_records(str(photographs), 3)] == ["p0", "p2", "p4"]
    assert [record.width for record in image_records(str(photographs), 9)] == [40, 41, 42, 43, 44, 45]
    write_tar(tmp_path / "tars" / "0.tar", ("x.jpg", jpeg()), ("x.cls", b"1"), ("deep/y.jpg", jpeg(7)))
    assert [record.key for record in image_records(str(tmp_path / "tars"), 5)] == ["x", "deep_y"]
    drawn = image_records(None, 2)
    assert [record.data for record in drawn] == [record.data for record in image_records(None, 3)[:2]]
    assert all(400 <= record.width <= 500 for record in drawn)
    with pytest.raises(ConfigError, match=r"images: .* holds neither \.tar nor \.jpg files"):
        image_records(str(tmp_path / "nothing"), 2)


def test_windows_are_made_up_within_their_image_or_read(tmp_path: Path) -> None:
    records = image_records(None, 2)
    made = window_rows(records, 50)
    for record, row in zip(records, made, strict=True):
        assert row.windows.shape == (50, 4)
        assert (row.windows >= 0).all()
        assert (row.windows[:, 2:] <= [record.width, record.height]).all()
    file = tmp_path / "windows.parquet"
    file.write_bytes(encode_windows(made))
    read = window_rows(records, str(file))
    assert [row.windows.tolist() for row in read] == [row.windows.tolist() for row in made]
    file.write_bytes(encode_windows(made[:1]))
    with pytest.raises(DataError, match="no-windows"):
        window_rows(records, str(file))
