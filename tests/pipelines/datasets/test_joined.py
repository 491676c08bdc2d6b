"""Several data sets as one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.artifacts.manifest import Manifest
from pipelines.datasets.joined import JoinedDataset
from pipelines.engine.recipe import parse_recipe
from pipelines.engine.runner import Engine
from pipelines.engine.workspace import Workspace
from pipelines.executors.local import LocalExecutor
from sppnet.errors import ConfigError
from tests.support.chain import Silent


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


def engine_of(dataset: dict, root: Path) -> Engine:
    raw = {"version": 1, "name": "a", "steps": {"images": {"stage": "ingest", "dataset": dataset}}}
    return Engine(parse_recipe(raw, "r"), Workspace.open(str(root)))


def test_splits_of_all_parts_in_one_artifact(dataset: dict, tmp_path: Path) -> None:
    engine = engine_of(dataset, tmp_path / "workspace")
    (summary,) = engine.run(LocalExecutor(), Silent())
    assert (summary.done, summary.metrics["objects"]) == (3, 2)
    manifest = Manifest.read(engine.workspace.artifact(engine.steps[0].spec.artifact))
    assert manifest.categories == ("cat", "dog")
    assert {split: set(manifest.keys(f"{split}/000000")) for split in manifest.splits} == {
        "train": {"dog/a", "cat/b"},
        "val": {"c"},
    }


def test_categories_of_its_own(dataset: dict) -> None:
    data = JoinedDataset.model_validate({**dataset, "categories": ["dog", "cat", "emu"]}).open()
    assert data.categories() == ("dog", "cat", "emu")
    assert data.names() == {}
    assert data.describe() != JoinedDataset.model_validate(dataset).open().describe()


def test_two_parts_with_one_split(dataset: dict, tmp_path: Path) -> None:
    dataset["parts"][1]["split"] = "train"
    with pytest.raises(ConfigError, match="two of its parts have a split 'train'"):
        engine_of(dataset, tmp_path / "workspace")


def test_a_part_of_an_unknown_kind(dataset: dict, tmp_path: Path) -> None:
    dataset["parts"][1]["kind"] = "image"
    with pytest.raises(ConfigError, match=r"steps.images.dataset.parts.1: unknown kind 'image'; did you mean 'images'"):
        engine_of(dataset, tmp_path / "workspace")


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
    data = JoinedDataset.model_validate({"kind": "joined", "parts": [det, tiny]}).open()
    assert (data.splits, len(data.categories())) == (("val", "train"), 200)
    (shard, *_) = data.shards("train", 8)
    assert data.fetch("train/000000", shard[0]).annotation.objects[0].category in data.categories()
