"""R-CNN's way through the same SVMs, regressors and scoring."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipelines.artifacts.backbone_info import BackboneInfo
from pipelines.artifacts.detections import decode_detections
from pipelines.artifacts.detectors import FeatureInfo
from pipelines.artifacts.networks import read_backbone, read_head
from pipelines.artifacts.stepped_rows import from_steps, to_steps
from pipelines.artifacts.window_samples import blocks_of, read_block
from pipelines.shards.windowed import ShardInputs
from sppnet.detection.rcnn_crops import CropFeatures, mean_colour, warp_windows
from sppnet.errors import ConfigError
from sppnet.images.network_input import normalise_images
from sppnet.pooling.pyramid import Pyramid, pool_full_maps
from tests.support.chain import CATEGORIES, Chain

SIZE = 163


def with_crops(chain: Chain, root: Path) -> Chain:
    """The chain's recipe with crops in place of its maps, in a workspace that has its images, windows and network."""
    copy = chain.copied(root, ("images", "windows", "network"))
    steps = {name: dict(copy.steps[name]) for name in ("images", "windows", "network")}
    steps["maps"] = {"stage": "crops", "images": "images", "backbone": "network", "size": SIZE, "context": 8}
    for name in ("svms", "regressors", "full", "metrics"):
        steps[name] = {**copy.steps[name], **({"scales": [SIZE]} if "scales" in copy.steps[name] else {})}
    steps["windows"] = {**steps["windows"], "max_windows": 150}
    steps["svms"] = {**steps["svms"], "rounds": 1}
    steps["metrics"] = {**steps["metrics"], "detections": ["full"]}
    return Chain(copy.data, steps, root)


@pytest.fixture(scope="module")
def rcnn(chain: Chain, tmp_path_factory: pytest.TempPathFactory) -> Chain:
    found = with_crops(chain, tmp_path_factory.mktemp("rcnn") / "workspace")
    found.run()
    return found


def test_the_chain_runs_to_detections(rcnn: Chain) -> None:
    summaries = rcnn.summaries
    assert summaries["maps"].units == 0
    assert summaries["maps"].bytes == 0
    detections = rcnn.artifact("full")
    rows = [row for unit in rcnn.units("full") for row in decode_detections(detections.read(unit), unit)]
    assert {row.category for row in rows} <= set(CATEGORIES)
    assert len(rows) > 10
    assert any(row.regressed is not None for row in rows)
    assert rcnn.run()["svms"].units == summaries["svms"].units


def test_a_windows_feature_is_that_of_its_crop(rcnn: Chain) -> None:
    parts = (rcnn.artifact(name) for name in ("images", "windows", "maps"))
    image = next(ShardInputs(*parts, (SIZE,)).open(rcnn.unit("val/000000"))[0])
    pixels = image.maps[SIZE]
    assert pixels.shape == (*image.image_wh.hw, 3)
    features = FeatureInfo.read(rcnn.artifact("svms")).extractor(rcnn.artifact("maps"), rcnn.engine.workspace)
    assert isinstance(features, CropFeatures)
    backbone = read_backbone(rcnn.artifact("network"))
    crop = warp_windows(np.asarray(pixels), image.windows[:1], mean_colour(backbone.preprocessing), SIZE, 8)
    expected = pool_full_maps(backbone(normalise_images(crop, backbone.preprocessing)), Pyramid()).flatten(1)
    found = features(image.maps, image.image_wh, image.windows[:1]).float()
    np.testing.assert_allclose(found.numpy(), expected.detach().numpy(), rtol=2e-3, atol=1e-3)
    assert BackboneInfo.read(rcnn.artifact("maps")).crops is not None


def test_the_scale_must_be_the_crops_side(rcnn: Chain) -> None:
    with pytest.raises(ConfigError, match=r"steps.svms.scales: .*163"):
        rcnn.changed(svms={"scales": [240]})


HEAD = {
    "stage": "finetune",
    "images": "images",
    "windows": "windows",
    "maps": "maps",
    "categories": list(CATEGORIES),
    "scales": [SIZE],
    "hidden": [16, 16],
    "batch": 16,
    "negatives_per_image": 4,
    "schedule": [{"lr": 0.01, "steps": 5}],
}


def test_fine_tuning_pools_the_crops_of_its_windows(rcnn: Chain) -> None:
    tuned = Chain(rcnn.data, {**rcnn.steps, "head": HEAD}, rcnn.root)
    tuned.run()
    head, unit = tuned.artifact("head"), tuned.unit("train/000000")
    parts = [tuned.artifact(name) for name in ("images", "windows", "maps")]
    images = {image.key: image for image in ShardInputs(*parts, (SIZE,)).open(unit)[0]}
    features = FeatureInfo.read(tuned.artifact("svms")).extractor(tuned.artifact("maps"), tuned.engine.workspace)
    commit = head.commit(f"sample/{unit}")
    own = read_block(head, commit, blocks_of([commit])["background"][0])
    assert len(own) > 5
    for key, window, vector in zip(own.keys, own.windows, own.vectors, strict=True):
        image = images[key]
        pooled = features.pooled(image.maps, image.image_wh, image.windows[[window]])
        assert np.array_equal(vector, from_steps(*to_steps(pooled.numpy()))[0])
    assert read_head(head).spec.in_features == features.dimension


@pytest.mark.parametrize("option", ["flips", "random_scale"])
def test_fine_tuning_refuses_of_crops_what_they_have_not(rcnn: Chain, option: str) -> None:
    with pytest.raises(ConfigError, match=rf"steps.head.*{option}: R-CNN's crops have none"):
        Chain(rcnn.data, {**rcnn.steps, "head": {**HEAD, option: True}}, rcnn.root)


def test_other_readers_of_maps_refuse_crops(rcnn: Chain) -> None:
    activations = {"stage": "activations", "images": "images", "maps": "maps"}
    with pytest.raises(ConfigError, match=r"steps.strongest.maps: step 'maps' makes crops, expected maps"):
        Chain(rcnn.data, {**rcnn.steps, "strongest": activations}, rcnn.root)


def test_a_context_without_room_is_refused(rcnn: Chain) -> None:
    with pytest.raises(ConfigError, match="context: 100 pixels a side leave nothing"):
        rcnn.changed(maps={"context": 100})
