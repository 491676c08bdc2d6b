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
from pipelines.engine.work import build_stage, run_unit
from pipelines.engine.workspace import Artifact, Output, Quarantined, Workspace
from pipelines.finetuning.batches import WindowPooler
from pipelines.finetuning.plans import Chunk, WindowSet
from pipelines.shards.reading import map_unit
from pipelines.shards.windowed import ShardInputs
from pipelines.stages.extract import ExtractConfig
from pipelines.stages.finetune import Finetune
from pipelines.training.config import Rate
from pipelines.training.workers import LocalWorker
from sppnet.errors import ConfigError
from sppnet.images.decoding import decode_image
from sppnet.pooling.geometry import GEOMETRIES
from sppnet.pooling.image_windows import pool_image_windows
from sppnet.pooling.pyramid import Pyramid
from tests.support.tiny_finetune import LEVELS, finetune_spec, make_planner, train, train_until
from tests.support.tiny_workspace import CATEGORIES, SCALES, make_spec, make_workspace, read_manifest

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


def test_half_of_the_windows_are_pooled_from_mirrored_images(flipped: Workspace) -> None:
    planner, inputs, _ = make_planner(flipped, flips=True)
    chunk = planner.chunk(1, 4)
    assert 0.3 < chunk.flipped.mean() < 0.7
    assert np.array_equal(chunk.flipped, make_planner(flipped, flips=True)[0].chunk(1, 4).flipped)
    held = planner.held_out(2)
    assert held is not None
    assert not held.flipped.any()
    pooler = WindowPooler(inputs, GEOMETRIES["zf5"], Pyramid(LEVELS), "paper", torch.device("cpu"))
    rows = np.arange(0, 128, 5)
    got = pooler.pool(chunk, rows)
    images = {
        (image.key, way): image
        for unit in ("train/000000", "train/000001")
        for way in (False, True)
        for image in replace(inputs, flipped=way).open(unit)[0]
    }
    for place, row in enumerate(rows):
        image = images[chunk.windows.images[row][1], bool(chunk.flipped[row])]
        maps = {scale: torch.from_numpy(grid.copy()) for scale, grid in image.maps.items()}
        x0, y0, x1, y1 = chunk.windows.boxes[row]
        box = (160 - x1, y0, 160 - x0, y1) if chunk.flipped[row] else (x0, y0, x1, y1)
        alone = pool_image_windows(maps, image.image_wh, [box], GEOMETRIES["zf5"], Pyramid(LEVELS), "paper")
        assert torch.equal(got[place], alone.flatten())
        assert (float(got[place].min()) >= 1) == chunk.flipped[row]  # the mirrored images' maps are brighter


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
    planner, inputs, _ = make_planner(workspace, flips=True, holdout=0)
    chunk = planner.chunk(0, 12)
    keys = {key for _, key in chunk.windows.images}
    assert keys == {f"im{number:03d}" for number in range(12)} - {"im002"}
    pooler = WindowPooler(inputs, GEOMETRIES["zf5"], Pyramid(LEVELS), "paper", torch.device("cpu"))
    assert torch.isfinite(pooler.pool(chunk, np.arange(len(chunk.windows)))).all()


def test_positive_splits_give_windows_on_objects_only(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, images=12, shard_size=4, more=12)
    stage = build_stage(finetune_spec(workspace, positive_splits=("more",), holdout=0.5))
    assert isinstance(stage, Finetune)
    planner = stage.task(LocalWorker(torch.device("cpu")))._planner
    rule, seen = stage.config.rule(), set()
    for index in range(6):
        windows = planner.chunk(index, 3).windows
        for (unit, key), label in zip(windows.images, windows.labels, strict=True):
            more = unit.startswith("more/")
            seen.add((more, bool(label), rule.held_out(key)))
    assert seen == {
        (False, False, False),
        (False, True, False),
        (True, True, False),
        (True, True, True),  # none of these splits' images is held out
    }
    held = planner.held_out(2)
    assert held is not None
    assert all(unit.startswith("train/") for unit, _ in held.windows.images)


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
    images = list(inputs.open(unit)[0])
    keys = np.empty(sum(len(image.windows) for image in images), object)
    keys[:] = [(unit, image.key) for image in images for _ in image.windows]
    boxes = np.concatenate([image.windows for image in images])
    none, every = np.zeros(len(boxes), np.int64), np.ones(len(boxes), bool)
    # What a mirrored data set would have: x1' = width - x2.
    across = np.stack([160 - boxes[:, 2], boxes[:, 1], 160 - boxes[:, 0], boxes[:, 3]], axis=1)
    shown = Chunk(WindowSet(keys, boxes, none), none, every)
    ingested = Chunk(WindowSet(keys, across, none), none, ~every)
    options = (GEOMETRIES["zf5"], Pyramid(LEVELS), "paper", torch.device("cpu"))
    rows = np.arange(len(boxes))
    pooled = WindowPooler(inputs, *options).pool(shown, rows)
    assert pooled.max() > 0
    assert torch.equal(pooled, WindowPooler(replace(other, flips=False), *options).pool(ingested, rows))
    straight = WindowPooler(inputs, *options).pool(replace(shown, flipped=~every), rows)
    assert not torch.equal(pooled, straight)


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


def test_a_chunk_reads_on_in_the_split_until_its_background_is_enough(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, images=16, shard_size=2, more=16)
    stage = build_stage(finetune_spec(workspace, positive_splits=("more",), holdout=0, positive_fraction=0.1))
    assert isinstance(stage, Finetune)
    planner = stage.task(LocalWorker(torch.device("cpu")))._planner
    for index in range(4):
        windows = planner.chunk(index, 6).windows
        background = windows.take(np.flatnonzero(windows.labels == 0))
        drawn = {(key, *box) for (_, key), box in zip(background.images, background.boxes.tolist(), strict=True)}
        assert len(drawn) == len(background) == 6 * 29  # none twice
        read = {unit for unit, _ in windows.images}
        assert sum(unit.startswith("train/") for unit in read) > stage.config.shards
        assert sum(unit.startswith("more/") for unit in read) <= stage.config.shards


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
