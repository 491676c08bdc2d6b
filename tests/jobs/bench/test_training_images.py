"""Images for the benchmarks: drawn ones like photographs, or those of a folder of class folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jobs.bench.training_images import DRAWN, make_images, read_folder, store_images
from pipelines.engine.workspace import Workspace
from sppnet.errors import ConfigError
from sppnet.images.decoding import decode_image


def test_drawn_images_are_jpegs_like_photographs_and_seeded() -> None:
    records = make_images(12)
    assert [record.annotation.objects[0].category for record in records[8:]] == ["class8", "class9", "class0", "class1"]
    assert all(decode_image(record.data).shape == (*DRAWN.hw, 3) for record in records[:2])
    assert 40_000 < np.mean([len(record.data) for record in records]) < 140_000
    assert records[3].data == make_images(4)[3].data != make_images(4, seed=1)[3].data


def test_a_folder_of_class_folders_is_read_evenly(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(6):
            Image.fromarray(np.full((20, 30, 3), number * 9, np.uint8)).save(tmp_path / name / f"{number}.png")
    (tmp_path / "dog" / "broken.png").write_bytes(b"\x89PNG")
    records = read_folder(tmp_path, 4)
    assert [record.annotation.objects[0].category for record in records] == ["cat", "cat", "dog", "dog"]
    assert (records[0].extension, records[0].annotation.width, records[0].annotation.height) == ("png", 30, 20)
    assert len(read_folder(tmp_path, 100)) == 12
    artifact = Workspace.open(str(tmp_path / "workspace")).artifact("images-x")
    assert store_images(artifact, records).count("train") == 4
    for folder in (tmp_path / "cat", tmp_path / "none"):
        with pytest.raises(ConfigError, match="has no images of two classes"):
            read_folder(folder, 10)
