"""classify: a row an image and view set, each what the network says of the image's views."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipelines.artifacts.annotations import ImageAnnotation
from pipelines.artifacts.networks import UNIT, encode_network, read_network
from pipelines.artifacts.scores import ScoresInfo, decode_scores
from pipelines.engine.commits import Output
from pipelines.engine.recipe import parse_recipe
from pipelines.engine.work import build_stage
from pipelines.engine.workspace import Workspace
from pipelines.shards.reading import read_images
from pipelines.shards.writing import AnnotatedImage, write_images
from pipelines.stages.classify import Classify, ClassifyConfig
from sppnet.classification.classifier import ViewClassifier
from sppnet.classification.views import named_views
from sppnet.errors import ArtifactError, ConfigError
from sppnet.images.decoding import decode_image
from sppnet.images.network_input import prepare_image
from sppnet.networks.backbones import build_backbone
from sppnet.networks.network import FcHead
from sppnet.pooling.pyramid import Pyramid
from tests.support.tiny_workspace import BACKBONE, CATEGORIES, CHANNELS, make_spec, make_workspace

LABELS = tuple(f"{name}-{number}" for name in CATEGORIES for number in range(2))
PYRAMID = Pyramid((2, 1))
SIZE = 64
SHARD = "train/000001"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The tiny workspace with a trained network, `network-whole`, of crops of 64 pixels."""
    made = make_workspace(tmp_path_factory.mktemp("classify"), images=8, shard_size=3)
    publish_network(made, "network-whole")
    return made


def publish_network(workspace: Workspace, name: str, seed: int = 5, bias: float = 0.0) -> None:
    torch.manual_seed(seed)
    backbone = build_backbone(BACKBONE)
    head = FcHead(PYRAMID.bins * CHANNELS, (12, 10), len(LABELS))
    torch.nn.init.normal_(head.layers["fc8"].weight, std=2.0)
    with torch.no_grad():
        backbone.trunk.state_dict()["conv5.bias"] += bias
    data = encode_network(backbone.eval(), head.eval(), PYRAMID, LABELS, [], sizes=(SIZE, 48))
    workspace.artifact(name).publish(UNIT, Output(data, ".safetensors", 1, 0), 0)


def stage(workspace: Workspace, network: str = "network-whole", artifact: str = "scores-x", **fields) -> Classify:
    config = ClassifyConfig(stage="classify", images="images", network="network", splits=("train",), **fields)
    spec = make_spec(workspace, config, artifact, images="images-tiny", network=network)
    made = build_stage(spec)
    assert isinstance(made, Classify)
    return made


def images_of(workspace: Workspace, unit: str) -> dict[str, np.ndarray]:
    return {r.key: decode_image(r.data) for r in read_images(workspace.artifact("images-tiny"), unit)[0]}


def test_rows_are_the_networks_scores(workspace: Workspace) -> None:
    made = stage(workspace, views=("full", "maps10"))
    output = made.run(SHARD)
    rows = decode_scores(output.data, "here")
    images = images_of(workspace, SHARD)
    assert [(row.key, row.views) for row in rows] == [(key, name) for key in images for name in ("full", "maps10")]
    assert (output.rows, output.done, output.quarantined) == (6, 3, ())
    assert output.metrics == {"images": 3, "views": 33}
    network = read_network(workspace.artifact("network-whole")).network
    sets = {name: named_views(name, SIZE) for name in ("full", "maps10")}
    classifier = ViewClassifier(network.backbone, network.pyramid, network.head, sets)
    for row in rows:
        (found,) = classifier([classifier.prepare(images[row.key])])
        np.testing.assert_allclose(row.values, found[list(sets).index(row.views)], rtol=2e-5, atol=1e-6)
        assert row.values.dtype == np.float32
        assert row.values.sum() == pytest.approx(1, abs=1e-5)
        if row.views == "full":
            with torch.inference_mode():
                shown = prepare_image(images[row.key], 73, network.backbone.preprocessing)
                np.testing.assert_allclose(row.values, network(shown).softmax(1)[0], rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("fields", [{"batch": 1}, {"batch": 2, "ahead": 1}, {"ahead": 9}])
def test_batches_change_nothing(workspace: Workspace, fields: dict) -> None:
    plain = decode_scores(stage(workspace).run(SHARD).data, "")
    other = decode_scores(stage(workspace, **fields).run(SHARD).data, "")
    assert [row.key for row in plain] == [row.key for row in other]
    for a, b in zip(plain, other, strict=True):
        np.testing.assert_allclose(a.values, b.values, rtol=2e-5, atol=1e-6)


def test_labels_are_recorded_once_beside_the_rows(workspace: Workspace) -> None:
    made = stage(workspace, artifact="scores-info", views=("crop", "maps98"))
    made.prepare()
    info = ScoresInfo.read(workspace.artifact("scores-info"))
    assert info == ScoresInfo("scores", LABELS, 6, ("crop", "maps98"))
    body = json.loads(workspace.store.read("scores-info/output.json"))
    assert body["views"][0]["size"] == SIZE  # as it was trained
    assert body["views"][1]["scales"] == [64, 73, 86, 103, 128, 160]
    with pytest.raises(ArtifactError, match="does not exist"):
        ScoresInfo.read(workspace.artifact("scores-none"))
    workspace.store.put("scores-bad/output.json", b'{"output": "scores"}')
    with pytest.raises(ArtifactError, match=r"scores-bad/output.json is corrupt"):
        ScoresInfo.read(workspace.artifact("scores-bad"))


@pytest.mark.parametrize(("layer", "dimension"), [("pool5", 5 * CHANNELS), ("fc6", 12), ("fc7", 10)])
def test_features_of_every_layer(workspace: Workspace, layer: str, dimension: int) -> None:
    made = stage(workspace, artifact=f"scores-{layer}", output=layer, views=("full", "crops10"))
    made.prepare()
    assert ScoresInfo.read(made.artifact) == ScoresInfo(layer, (), dimension, ("full", "crops10"))
    full = decode_scores(made.run(SHARD).data, "")
    half = decode_scores(stage(workspace, output=layer, views=("full", "crops10"), dtype="float16").run(SHARD).data, "")
    for a, b in zip(full, half, strict=True):
        assert a.values.shape == (dimension,)
        assert (a.values.dtype, b.values.dtype) == (np.float32, np.float16)
        np.testing.assert_allclose(a.values, b.values, rtol=2e-3, atol=1e-4)
        assert a.values.min() >= 0
        assert a.values.max() > 0


def test_imported_weights_give_pool5_only(workspace: Workspace) -> None:
    made = stage(workspace, "network-tiny", "scores-pool5tiny", output="pool5", size=SIZE)
    made.prepare()
    assert ScoresInfo.read(made.artifact).dimension == 50 * CHANNELS
    assert decode_scores(made.run(SHARD).data, "")[0].values.shape == (50 * CHANNELS,)
    other = stage(workspace, "network-tiny", "scores-levels", output="pool5", size=SIZE, levels=(4, 3, 2, 1))
    assert decode_scores(other.run(SHARD).data, "")[0].values.shape == (30 * CHANNELS,)
    with pytest.raises(ConfigError, match="step classify: output: scores needs a network with fully-connected layers"):
        stage(workspace, "network-tiny", "scores-none2", size=SIZE).prepare()


def test_custom_views(workspace: Workspace) -> None:
    three = {"scales": [80, 100], "positions": 3, "flip": True, "full": [100]}
    made = stage(workspace, views=("three", "full"), custom={"three": three}, scale=100)
    output = made.run(SHARD)
    assert output.metrics == {"images": 3, "views": 3 * (2 * 3 * 2 + 2)}  # `full` is one of them
    rows = decode_scores(output.data, "")
    assert {row.views for row in rows} == {"three", "full"}


def test_images_that_fail_are_quarantined_one_by_one(workspace: Workspace, tmp_path: Path) -> None:
    """A broken image, one that grows too large at a scale, and the rest is done."""
    own = Workspace.open(str(tmp_path))
    publish_network(own, "network-whole")
    good, broken, thin = (noise(key, *size) for key, size in (("a", (90, 70)), ("b", (90, 70)), ("c", (900, 9))))
    broken = replace(broken, data=broken.data[:-40])
    manifest = write_images(own.artifact("images-tiny"), {"train": [good, broken, thin]}, CATEGORIES, 3)
    (unit,) = manifest.units("train")
    output = stage(own, max_pixels=200_000).run(unit)
    assert [row.key for row in decode_scores(output.data, "")] == ["a"]
    assert [(q.key, q.reason, q.stage) for q in output.quarantined] == [
        ("b", "truncated", "classify"),
        ("c", "too-large", "classify"),
    ]
    assert output.quarantined[1].detail == "7300 x 73 pixels at scale 73, the limit is 200000 pixels"


def noise(key: str, width: int, height: int) -> AnnotatedImage:
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "PNG")
    return AnnotatedImage("png", sink.getvalue(), ImageAnnotation(key, width, height, ()))


def test_values_that_are_not_finite_are_quarantined(workspace: Workspace) -> None:
    publish_network(workspace, "network-nan", bias=float("nan"))
    output = stage(workspace, "network-nan").run(SHARD)
    assert (output.rows, output.done) == (0, 0)
    assert {(q.reason, q.detail) for q in output.quarantined} == {("nan-features", "scores are not finite as float32")}
    publish_network(workspace, "network-large", bias=1e5)
    output = stage(workspace, "network-large", output="pool5", dtype="float16").run(SHARD)
    assert {q.detail for q in output.quarantined} == {"pool5 are not finite as float16"}
    assert stage(workspace, "network-large", output="pool5").run(SHARD).done == 3


def test_units_are_the_shards_of_the_splits(workspace: Workspace) -> None:
    made = stage(workspace, gpus=0.5, cpus=2)
    (phase,) = made.phases()
    assert phase.units == ("train/000000", "train/000001", "train/000002")
    assert (phase.resources.gpus, phase.resources.cpus) == (0.5, 2)


def recipe_with(**fields):
    steps = {
        "images": {"stage": "ingest", "dataset": {"kind": "voc", "root": "x"}},
        "network": {"stage": "weights", "path": "x", "architecture": "zf5"},
        "scores": {"stage": "classify", "images": "images", "network": "network", **fields},
    }
    return parse_recipe({"version": 1, "name": "r", "steps": steps}, "r")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"views": ["maps12"], "size": 64}, "views: 'maps12': no such view set; there are: crop, full"),
        ({"views": ["full", "full"]}, "views: a set is named twice"),
        ({"splits": ["test"]}, "splits: split test is not among those of its input: train, val"),
        ({"size": 224, "scale": 200, "views": ["crop"]}, "views: 'crop': size: a view of 224 pixels does not fit"),
        ({"size": 64, "scales": [60], "views": ["maps96"]}, "does not fit into an image of scale 60"),
        ({"custom": {"full": {"scales": [256]}}}, "custom: 'full' is the name of a built-in view set"),
        ({"custom": {"mine": {"scale": [256]}}}, r"custom.mine.scale: unknown key"),
        ({"size": 64, "views": ["mine"], "custom": {"mine": {}}}, "views: 'mine': a view set without views"),
        ({"size": 64, "views": ["m"], "custom": {"m": {"scales": [80], "positions": 4}}}, "positions: must be one of"),
        ({"levels": [2, 1]}, "levels: is for pool5 features only; scores has the network's own"),
        ({"levels": [2, 2], "output": "pool5"}, "pyramid levels must be distinct integers"),
        ({"levels": "none", "output": "pool5"}, "levels: input should be a valid tuple"),
        ({"views": []}, "views: tuple should have at least 1 item"),
        ({"output": "fc8"}, "output: input should be 'scores', 'pool5', 'fc6' or 'fc7'"),
    ],
)
def test_configs_that_can_not_be(fields: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        recipe_with(**fields)


def test_levels_by_name() -> None:
    assert recipe_with(output="pool5", levels="spp4").steps["scores"].levels == (4, 3, 2, 1)


def test_what_changes_the_artifact() -> None:
    def semantic(**fields):
        return recipe_with(**fields).steps["scores"].semantic()

    assert semantic() == semantic(batch=3, ahead=9, cpus=2, gpus=1, device="cpu", splits=["train"])
    changed = ({"views": ["crop"]}, {"size": 64}, {"scale": 300}, {"output": "fc7"}, {"precision": "bfloat16"})
    assert all(semantic() != semantic(**fields) for fields in changed)


def test_sizes_that_only_the_network_tells(workspace: Workspace) -> None:
    with pytest.raises(ConfigError, match="step classify: views: 'crop': size: a view of 64 pixels does not fit"):
        stage(workspace, artifact="scores-small", scale=60, views=("crop",)).prepare()
