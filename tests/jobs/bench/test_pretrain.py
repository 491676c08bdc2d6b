"""The benchmark of pre-training: that both sides do what they say, on a network so small that it takes no time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from jobs.bench import pretrain
from jobs.bench.pretrain import BareLoop, bare_crop, run
from jobs.bench.registry import measure, measure_names
from jobs.bench.training_images import DRAWN_HW, make_images, read_folder, store_images
from pipelines.artifacts.manifest import Manifest
from pipelines.engine.workspace import Workspace
from pipelines.executors.local import LocalExecutor
from pipelines.pretraining.config import PretrainConfig
from sppnet.errors import ConfigError
from sppnet.images.decoding import decode_image
from sppnet.networks.backbones import BackboneSpec, build_backbone
from sppnet.networks.network import FcHead, SppNetwork
from sppnet.pooling.pyramid import Pyramid

SMALL: dict[str, Any] = {
    "repeats": 1,
    "size": 112,
    "short_side": 128,
    "batch": 4,
    "steps": 1,
    "count": 20,
    "threads": 2,
    "width": 1 / 32,
    "device": "cpu",
}


def test_rows_have_both_sides_and_their_ratio() -> None:
    rows = run(**SMALL)
    assert [row["name"] for row in rows] == ["train", "input"]
    for row in rows:
        assert (row["device"], row["size"], row["batch"], row["threads"]) == ("cpu", 112, 4, 2)
        assert row["ratio"] == pytest.approx(row["ours_per_s"] / row["peer_per_s"])
        assert row["target"] == pretrain.TARGETS[row["name"]]
    assert [row["dtype"] for row in rows] == ["float32", "uint8"]


def test_under_ray_start_and_end_are_taken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """The executor here is this process; the time is made up: 5 s for a training and 2 s a step."""
    trained: list[int] = []

    class Local(LocalExecutor):
        def __init__(self, address: str) -> None:
            assert address == "local"

        def train(self, spec: Any, phase: Any, unit: str) -> Any:
            commit = super().train(spec, phase, unit)
            trained.append(commit.metrics["steps"])
            return commit

    monkeypatch.setattr("pipelines.executors.ray_core.RayExecutor", Local)

    def made_up(work: Any, device: torch.device) -> float:
        before = len(trained)
        work()
        return 5.0 + 2.0 * trained[-1] if len(trained) > before else 1.0

    monkeypatch.setattr(pretrain, "seconds", made_up)
    rows = run(**SMALL, ray=True)
    assert trained == [1, 3]
    assert rows[2]["name"] == "train, Ray Train"
    assert rows[2]["ours_per_s"] == 4 / 2.0
    assert rows[2]["ratio"] == rows[2]["ours_per_s"] / rows[0]["peer_per_s"]


def test_drawn_images_are_jpegs_like_photographs_and_seeded() -> None:
    records = make_images(12)
    assert [record.annotation.objects[0].category for record in records[8:]] == ["class8", "class9", "class0", "class1"]
    assert all(decode_image(record.data).shape == (*DRAWN_HW, 3) for record in records[:2])
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
    workspace = Workspace.open(str(tmp_path / "workspace"))
    manifest = store_images(workspace.artifact("images-x"), records)
    assert manifest.count("train") == 4
    assert Manifest.read(workspace.store, manifest.digest) == manifest
    for folder in (tmp_path / "cat", tmp_path / "none"):
        with pytest.raises(ConfigError, match="has no images of two classes"):
            read_folder(folder, 10)


def test_the_bare_loop_trains() -> None:
    torch.manual_seed(0)
    backbone, pyramid = build_backbone(BackboneSpec("zf5", width=1 / 32)), Pyramid((2, 1))
    network = SppNetwork(backbone, pyramid, FcHead(pyramid.bins * backbone.channels, (32, 32), 5, 0.0))
    config = PretrainConfig(stage="pretrain", images="i", size=(64,), batch=6, schedule=({"lr": 0.1, "steps": 9},))
    loop = BareLoop(network, config, torch.device("cpu"))
    losses = [float(loop.step()) for _ in range(40)]
    assert losses[-1] < 0.9 * losses[0]


def test_the_bare_crop_is_one_of_the_five() -> None:
    record = make_images(1)[0]
    crop = bare_crop(record.data, 256, 224)
    assert crop.shape == (224, 224, 3)


def test_the_registry_knows_it_and_its_options() -> None:
    assert "pretrain" in measure_names()
    with pytest.raises(ConfigError, match="bench pretrain: no option 'windows'; there are: repeats, images, ray"):
        measure("pretrain", repeats=1, windows=3)
    with pytest.raises(ConfigError, match="has no images of two classes"):
        measure("pretrain", repeats=1, images="nowhere", ray=None)
