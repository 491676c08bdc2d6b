"""Plain images: every image below a folder is a key without objects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.datasets.plain import ImagesDataset, PlainImages
from sppnet.errors import ConfigError, DataError


def opened(root: Path, **fields: str) -> PlainImages:
    return ImagesDataset(kind="images", root=str(root), **fields).open()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("b.png", "holiday.2024/a.b.jpg", "holiday.2024/deep/c.webp", ".thumbs/b.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(path)
    (tmp_path / "notes.txt").write_text("not an image")
    return tmp_path


def test_every_image_is_a_key_without_objects(root: Path) -> None:
    data = opened(root, split="mine")
    assert data.splits == ("mine",)
    assert data.shards("mine", 2) == (("b", "holiday%2E2024/a%2Eb"), ("holiday%2E2024/deep/c",))
    raw = data.fetch("mine/000000", "holiday%2E2024/a%2Eb")
    assert raw.data == (root / "holiday.2024/a.b.jpg").read_bytes()
    annotation = raw.annotation.checked(frozenset(data.categories()))
    assert (raw.extension, annotation.width, annotation.height, annotation.objects) == ("jpg", 30, 20, ())


def test_what_it_is(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    first = opened(root).describe()
    assert first["listing"].keys() == {"b.png", "holiday.2024/a.b.jpg", "holiday.2024/deep/c.webp"}
    (root / "b.png").write_bytes(b"other")
    assert opened(root).describe() != first


def test_what_is_refused(root: Path) -> None:
    with pytest.raises(DataError, match="missing-image: gone"):
        opened(root).fetch("all/000000", "gone")
    (root / "b.png").write_bytes(b"text")
    with pytest.raises(DataError, match="not-an-image"):
        opened(root).fetch("all/000000", "b")
    (root / "b.jpg").write_bytes(b"x")
    with pytest.raises(ConfigError, match="lists 'b' twice"):
        opened(root).shards("all", 1)
    with pytest.raises(ConfigError, match=r"no images in .*/nowhere"):
        opened(root / "nowhere").shards("all", 1)
