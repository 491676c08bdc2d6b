"""Plain images: every image below a folder is a key without objects."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.datasets.contents import Contents
from pipelines.datasets.plain import ImagesDataset, PlainImages
from pipelines.datasets.protocol import Place
from sppnet.errors import ConfigError, DataError
from tests.support.data_sets import changes, check_items, items_of, read_all


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
    assert [place.key for place in data.places("mine")] == ["b", "holiday%2E2024/a%2Eb", "holiday%2E2024/deep/c"]
    records, reasons = read_all(data, "mine")
    assert (len(records), reasons) == (3, {})
    assert records[1].data == (root / "holiday.2024/a.b.jpg").read_bytes()
    annotation = records[1].annotation
    assert (records[1].extension, annotation.width, annotation.height, annotation.objects) == ("jpg", 30, 20, ())


def test_items_are_what_workers_read(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    check_items(lambda: opened(root))
    other = Path(shutil.copytree(root, tmp_path_factory.mktemp("other") / "data"))
    assert items_of(opened(other)) == items_of(opened(root))
    path = root / "holiday.2024/a.b.jpg"
    same_size = path.read_bytes()[:-1] + b"x"
    assert changes(lambda: opened(root), lambda: path.write_bytes(same_size)) == (["holiday%2E2024/a%2Eb"], [], 1)


def test_what_is_refused(root: Path) -> None:
    with pytest.raises(DataError, match="missing-image: gone"):
        opened(root).image(Place("all", "", "gone"))
    with pytest.raises(ConfigError, match="no split 'train' in the data set; it has: all"):
        opened(root).items("train", Contents())
    (root / "b.png").write_bytes(b"text")
    assert read_all(opened(root), "all")[1] == {"b": "not-an-image"}
    (root / "b.jpg").write_bytes(b"x")
    with pytest.raises(ConfigError, match="lists 'b' twice"):
        opened(root).items("all", Contents())
    with pytest.raises(ConfigError, match=r"no images in .*/nowhere"):
        opened(root / "nowhere").items("all", Contents())
