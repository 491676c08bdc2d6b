"""Several data sets as one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.datasets.contents import Contents
from pipelines.datasets.joined import Joined, JoinedDataset
from pipelines.datasets.kinds import parse_dataset
from pipelines.engine.recipe import parse_recipe
from sppnet.errors import ConfigError
from tests.support.data_sets import check_items, items_of, read_all


@pytest.fixture
def dataset(tmp_path: Path) -> dict:
    for name in ("classes/train/dog/a.png", "classes/train/cat/b.png", "new/c.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(tmp_path / name)
    parts = [
        {"kind": "folders", "root": str(tmp_path / "classes"), "splits": ["train"]},
        {"kind": "images", "root": str(tmp_path / "new"), "split": "val"},
    ]
    return {"kind": "joined", "parts": parts}


def opened(dataset: dict, **fields: object) -> Joined:
    return JoinedDataset.model_validate({**dataset, **fields}).open()


def test_splits_of_all_parts_are_read(dataset: dict) -> None:
    data = opened(dataset)
    assert data.splits == ("train", "val")
    assert data.categories(Contents()) == ("cat", "dog")
    found = {split: read_all(data, split) for split in data.splits}
    assert [reasons for _, reasons in found.values()] == [{}, {}]
    objects = {split: {r.key: len(r.annotation.objects) for r in records} for split, (records, _) in found.items()}
    assert objects == {"train": {"dog/a": 1, "cat/b": 1}, "val": {"c": 0}}
    with pytest.raises(ConfigError, match="no split 'test' in the data set; it has: train, val"):
        data.items("test", Contents())


def test_items_are_what_workers_read(dataset: dict) -> None:
    check_items(lambda: opened(dataset))


def test_items_are_those_of_the_parts(dataset: dict) -> None:
    parts = [items_of(parse_dataset(part).open()) for part in dataset["parts"]]
    assert items_of(opened(dataset)) == {**parts[0], **parts[1]}


def test_files_of_the_same_name_in_two_parts(tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        Image.fromarray(np.full((30, 40, 3), number, np.uint8)).save(tmp_path / f"{number}/c.png")
    parts = [{"kind": "images", "root": str(tmp_path / str(n)), "split": f"s{n}"} for n in range(2)]
    joined = {"kind": "joined", "parts": parts}
    check_items(lambda: opened(joined))
    contents = Contents()
    items = [opened(joined).items(f"s{n}", contents)[0] for n in range(2)]
    assert items[0].image != items[1].image
    assert [row.place for row in contents.table()] == ["0/c.png", "1/c.png"]


def test_categories_of_its_own(dataset: dict) -> None:
    data = opened(dataset, categories=["dog", "cat", "emu"])
    assert data.categories(Contents()) == ("dog", "cat", "emu")
    assert data.names() == {}


def test_two_parts_with_one_split(dataset: dict) -> None:
    dataset["parts"][1]["split"] = "train"
    with pytest.raises(ConfigError, match="two of its parts have a split 'train'"):
        opened(dataset)


def test_a_part_of_an_unknown_kind(dataset: dict) -> None:
    dataset["parts"][1]["kind"] = "image"
    raw = {"version": 1, "name": "a", "steps": {"images": {"stage": "ingest", "dataset": dataset}}}
    with pytest.raises(ConfigError, match=r"steps.images.dataset.parts.1: unknown kind 'image'; did you mean 'images'"):
        parse_recipe(raw, "r")


def test_the_scaled_down_det(shared: Path) -> None:
    devkit = shared / "data/ilsvrc_det"
    det = {
        **{"kind": "det", "root": str(shared / "data/ilsvrc_det_val50/VOCdevkit/DET50"), "layout": "voc"},
        **{"splits": {"val": {"lists": "ImageSets/Main/val.txt", "numbers": str(devkit / "det_lists/val.txt")}}},
        **{"synsets": str(devkit / "meta_det.mat"), "subcategories": "none"},
    }
    tiny = {
        **{"kind": "folders", "root": str(shared / "data/pretrain/tinyimagenet_det"), "splits": ["train"]},
        **{"boxes": "boxes_train.csv", "classes": "classes.csv"},
    }
    data = opened({"kind": "joined", "parts": [det, tiny]})
    assert (data.splits, len(data.categories(Contents()))) == (("val", "train"), 200)
    annotation = data.annotation(data.places("train")[0], 64, 64)
    assert annotation.objects[0].category in data.categories(Contents())
