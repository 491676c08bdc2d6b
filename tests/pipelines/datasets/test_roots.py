"""A root that holds nothing of what its kind takes: each reason is said in its own words, with the field."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.datasets.contents import Contents
from pipelines.datasets.kinds import parse_dataset
from sppnet.errors import ConfigError
from tests.support.made_tars import jpeg, write_tar

KINDS = ("voc", "folders", "images")
NOTHING = {
    "voc": "no split 'train': ",
    "folders": "split 'train' has no class folders with images: ",
    "images": "no images in ",
}


def refusal(kind: str, root: Path | str) -> str:
    data = parse_dataset({"kind": kind, "root": str(root)}).open()
    with pytest.raises(ConfigError) as caught:
        data.items(data.splits[0], Contents())
    return str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_four_reasons_have_four_messages(kind: str, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(jpeg())
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("x")
    assert refusal(kind, tmp_path / "gone").startswith(f"dataset.root: {tmp_path}/gone does not exist")
    assert refusal(kind, tmp_path / "photo.jpg").startswith(f"dataset.root: {tmp_path}/photo.jpg is a file")
    assert refusal(kind, tmp_path / "empty").startswith(f"dataset.root: {tmp_path}/empty is empty")
    assert refusal(kind, tmp_path / "notes").startswith(f"dataset.root: {NOTHING[kind]}")
    assert refusal(kind, "memory://roots/gone").startswith("dataset.root: memory://roots/gone holds no objects")


@pytest.mark.parametrize("kind", ["voc", "folders"])
def test_tars_where_images_are_wanted(kind: str, tmp_path: Path) -> None:
    write_tar(tmp_path / "t-0.tar", ("a.jpg", jpeg()))
    told = refusal(kind, tmp_path)
    assert told.startswith(f"dataset.root: {tmp_path} holds tars such as t-0.tar, and kind '{kind}' takes image files")
