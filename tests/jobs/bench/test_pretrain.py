"""The benchmark of pre-training: that both sides do what they say, on a network so small that it takes no time."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from jobs.bench import pretrain
from jobs.bench.pretrain import BareLoop, bare_crop, run
from jobs.bench.registry import measure, measure_names
from jobs.bench.training_images import make_images
from pipelines.executors.local import LocalExecutor
from pipelines.pretraining.config import PretrainConfig
from sppnet.errors import ConfigError
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
