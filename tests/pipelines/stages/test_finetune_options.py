"""Fine-tuning's options: mirrored images, splits that give windows on objects only, the best weights."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipelines.artifacts.image_tars import ImageRecord, decode_images, encode_images
from pipelines.artifacts.manifest import Manifest, Shard
from pipelines.artifacts.networks import read_trained_head
from pipelines.artifacts.windows_and_maps import MapRow, decode_maps, encode_maps
from pipelines.engine.commits import Output, Quarantined
from pipelines.engine.work import build_stage, run_unit
from pipelines.engine.workspace import Artifact, Workspace
from pipelines.finetuning.sampling import ImageSampler
from pipelines.shards.reading import map_unit
from pipelines.shards.windowed import ImagePair, LabelledImage, ShardInputs
from pipelines.stages.extract import ExtractConfig
from pipelines.training.config import Rate
from pipelines.training.workers import LocalWorker
from sppnet.detection.features import WindowFeatures
from sppnet.errors import ConfigError
from sppnet.images.decoding import decode_image
from sppnet.pooling.geometry import GEOMETRIES
from sppnet.pooling.image_windows import pool_image_windows
from sppnet.pooling.pyramid import Pyramid
from tests.support.tiny_finetune import LEVELS, finetune_spec, make_config, sample, train, train_until
from tests.support.tiny_workspace import (
    CATEGORIES,
    CHANNELS,
    SCALES,
    make_annotation,
    make_spec,
    make_workspace,
    read_manifest,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def add_flips(workspace: Workspace) -> None:
    """Maps of mirrored images; shifted in value, so that they are told from mirrored maps."""
    maps = workspace.artifact("maps-tiny")
    for scale in SCALES:
        for unit in ("train/000000", "train/000001"):
            rows = [
                MapRow(row.key, row.scale, row.image_wh, np.ascontiguousarray(row.map[:, ::-1]) + np.float16(1))
                for row in decode_maps(maps.read(map_unit(scale, unit)), unit)
            ]
            count = len(rows)
            maps.publish(map_unit(scale, unit, flipped=True), Output(encode_maps(rows), ".parquet", count, count), 0)


@pytest.fixture(scope="module")
def flipped(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = make_workspace(tmp_path_factory.mktemp("flips"), images=12, shard_size=6)
    add_flips(workspace)
    return workspace


def test_mirrored_images_train_beside_plain_ones(flipped: Workspace) -> None:
    spec = finetune_spec(flipped, "head-both", flips=True)
    found = sample(spec)
    names = [
        list(
            zip(
                found["objects"].keys[found["objects"].flipped == way],
                found["objects"].windows[found["objects"].flipped == way],
                strict=True,
            )
        )
        for way in (False, True)
    ]
    assert sorted(names[0]) == sorted(names[1])
    assert 0.3 < found["background"].flipped.mean() < 0.7
    for part, own in found.items():
        if part.startswith("held-out"):
            assert not own.flipped.any()
        assert ((own.vectors.min(axis=1) >= 1) == own.flipped).all()  # the mirrored images' maps are brighter
    plain = sample(finetune_spec(flipped, "head-one-way"))
    assert len(plain["objects"]) == len(names[0])


def test_it_learns_from_flips_and_goes_on_after_an_interruption(flipped: Workspace) -> None:
    short = {"schedule": (Rate(lr=0.05, steps=30),), "flips": True}
    whole, stopped = (finetune_spec(flipped, f"head-flips{n}", **short) for n in (0, 1))
    train(whole)
    train_until(stopped, 27)
    train(stopped)
    data = flipped.artifact(whole.artifact).read("model")
    assert flipped.artifact(stopped.artifact).read("model") == data
    plain = finetune_spec(flipped, "head-unflipped", **{**short, "flips": False})
    train(plain)
    assert flipped.artifact(plain.artifact).read("model") != data


def test_an_image_without_mirrored_maps_is_left_out(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, images=12, shard_size=6)
    add_flips(workspace)
    maps, unit = workspace.artifact("maps-tiny"), map_unit(SCALES[0], "train/000000", flipped=True)
    rows = [row for row in decode_maps(maps.read(unit), unit) if row.key != "im002"]
    workspace.store.delete(f"maps-tiny/_commits/{unit}.json")
    aside = (Quarantined("im002", "nan-features", "a test", "extract"),)
    maps.publish(unit, Output(encode_maps(rows), ".parquet", 5, 5, aside), 0)
    found = sample(finetune_spec(workspace, flips=True, holdout=0))
    keys = {key for own in found.values() for key in own.keys}
    assert keys == {f"im{number:03d}" for number in range(12)} - {"im002"}


def test_positive_splits_give_windows_on_objects_only(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, images=12, shard_size=4, more=12)
    spec = finetune_spec(workspace, positive_splits=("more",), holdout=0.5)
    found = sample(spec)
    rule, seen = make_config(holdout=0.5).rule(0, 12), set()
    for part, own in found.items():
        for key, label in zip(own.keys, own.labels, strict=True):
            seen.add((int(key[2:]) >= 100, bool(label), rule.held_out(key), part.startswith("held-out")))
    assert seen == {
        (False, False, False, False),
        (False, True, False, False),
        (False, False, True, True),
        (False, True, True, True),
        (True, True, False, False),
        (True, True, True, False),  # none of these splits' images is held out
    }
    commits = build_stage(spec).artifact.commits(build_stage(spec).phases()[0].units)
    assert [commit.done for commit in commits] == [4] * 6


UNEVEN = (137, 211)  # resized to these, a mirrored image is not quite the mirror image of a resized one


def images_with(workspace: Workspace, name: str, unit: str, change: Callable[[ImageRecord], ImageRecord]) -> str:
    """Publishes a shard of images anew under another name, each changed. Returns the name."""
    records = [change(record) for record in decode_images(workspace.artifact("images-tiny").read(unit), unit)]
    workspace.artifact(name).publish(unit, Output(encode_images(records), ".tar", len(records), len(records)), 0)
    return name


def mirrored(record: ImageRecord) -> ImageRecord:
    sink = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(decode_image(record.data)[:, ::-1])).save(sink, "PNG")
    return replace(record, data=sink.getvalue())


def extracted(workspace: Workspace, images: str, name: str, *, flips: bool) -> Artifact:
    """The maps of a shard of images by the tiny workspace's backbone."""
    config = ExtractConfig(
        stage="extract", images="images", backbone="network", splits=("train",), scales=UNEVEN, flips=flips
    )
    spec = make_spec(workspace, config, name, images=images, backbone="network-tiny")
    (phase,) = build_stage(spec).phases()
    for unit in phase.units:
        run_unit(spec, unit)
    return workspace.artifact(name)


def test_mirrored_windows_are_those_of_an_image_that_was_ingested_mirrored(tmp_path: Path) -> None:
    """From pixels to pooled vectors, by a real backbone, to the last bit."""
    workspace, unit = make_workspace(tmp_path, images=3, shard_size=3), "train/000000"
    plain = images_with(workspace, "images-plain", unit, lambda record: record)
    turned = images_with(workspace, "images-turned", unit, mirrored)
    inputs = ShardInputs(
        workspace.artifact(plain),
        workspace.artifact("windows-tiny"),
        extracted(workspace, plain, "maps-flips", flips=True),
        UNEVEN,
        flips=True,
    )
    other = replace(
        inputs, images=workspace.artifact(turned), maps=extracted(workspace, turned, "maps-turned", flips=False)
    )
    rule = make_config(flips=True, holdout=0, scales=UNEVEN).rule(5, 12)
    sampler = ImageSampler(rule, WindowFeatures(GEOMETRIES["zf5"], CHANNELS, Pyramid(LEVELS), UNEVEN))
    note = make_annotation("im000", 0)

    def pooled(source: ShardInputs, turn: bool) -> torch.Tensor:
        """All windows of the first image, those of an image that was ingested mirrored with boxes turned likewise."""
        image = next(iter(source.open(unit)[0]))
        boxes = image.windows
        if turn:  # what a mirrored data set would have: x1' = width - x2
            boxes = np.stack([160 - boxes[:, 2], boxes[:, 1], 160 - boxes[:, 0], boxes[:, 3]], axis=1)
        maps = {scale: torch.from_numpy(grid.copy()) for scale, grid in image.maps.items()}
        return pool_image_windows(maps, image.image_wh, boxes, GEOMETRIES["zf5"], Pyramid(LEVELS), "paper").flatten(1)

    turned_windows = pooled(replace(other, flips=False), turn=True).numpy()
    plain, mirror = (next(iter(replace(inputs, flipped=way).open(unit)[0])) for way in (False, True))
    pair = ImagePair(LabelledImage(plain.key, plain.image_wh, plain.windows, plain.maps, note), mirror)
    found = sampler.sample(pair, positives_only=False)
    count = 0
    for own in found.values():
        for window, vector in zip(own.windows[own.flipped], own.vectors[own.flipped], strict=True):
            if window >= 0:
                assert vector.max() > 0
                assert np.array_equal(vector, turned_windows[window])
                count += 1
    assert count > 10
    straight = pooled(replace(inputs, flips=False), turn=False).numpy()
    assert not np.array_equal(straight, turned_windows)


def test_a_split_of_positives_may_not_share_an_image(tmp_path: Path) -> None:
    """Held out of `train`, it would train in the other split."""
    workspace = make_workspace(tmp_path, images=4, shard_size=4)
    manifest = read_manifest(workspace)
    workspace.store.delete(f"manifests/{manifest.digest}.json")
    more = Shard("trainval/000000", "trainval/000000", ("im100", "im002"))
    Manifest({**manifest.splits, "trainval": (more,)}, CATEGORIES).write(workspace.store)
    with pytest.raises(ConfigError, match=r"positive_splits: image 'im002' of 'trainval' is one of 'train' too"):
        build_stage(finetune_spec(workspace, positive_splits=("trainval",))).prepare()
    build_stage(finetune_spec(workspace)).prepare()


SHORT = (Rate(lr=0.05, steps=30),)


def test_it_learns_from_splits_of_positives_and_goes_on_after_an_interruption(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, images=12, shard_size=4, more=12)
    fields = {"schedule": SHORT, "positive_splits": ("more",)}
    whole, stopped = (finetune_spec(workspace, f"head-more{n}", **fields) for n in (0, 1))
    train(whole)
    train_until(stopped, 27)
    train(stopped)
    data = workspace.artifact(whole.artifact).read("model")
    assert workspace.artifact(stopped.artifact).read("model") == data
    alone = finetune_spec(workspace, "head-alone", schedule=SHORT)
    train(alone)
    assert workspace.artifact(alone.artifact).read("model") != data


def test_the_best_head_is_published_and_its_curve_tells_which(flipped: Workspace) -> None:
    # A rate that ruins the weights at the end: the last measurement is not the best.
    fields = {"schedule": (Rate(lr=0.05, steps=40), Rate(lr=2.0, steps=20)), "measure_every": 10, "keep": "best"}
    whole, stopped = (finetune_spec(flipped, f"head-best{n}", **fields) for n in (0, 1))
    train(whole)
    head = read_trained_head(flipped.artifact(whole.artifact))
    errors = {point["step"]: point["held_out_error"] for point in head.curve if "held_out_error" in point}
    kept = [point for point in head.curve if "kept" in point]
    assert list(errors) == [10, 20, 30, 40, 50, 60]
    assert [point["step"] for point in kept] == [min(errors, key=lambda step: errors[step])]
    assert errors[kept[0]["step"]] < errors[60]
    metrics = flipped.artifact(whole.artifact).commit("model").metrics
    assert (metrics["kept_step"], metrics["held_out_error"]) == (kept[0]["step"], kept[0]["held_out_error"])

    vectors, labels = build_stage(whole).task(LocalWorker(torch.device("cpu")))._held_out
    with torch.inference_mode():
        wrong = head.head(vectors.float()).argmax(dim=1) != labels
    assert float(wrong.float().mean()) == pytest.approx(kept[0]["held_out_error"], abs=0.02)

    train_until(stopped, 58)  # the kept weights are those of a step before the last checkpoint
    train(stopped)
    data = flipped.artifact(whole.artifact).read("model")
    assert flipped.artifact(stopped.artifact).read("model") == data
