"""Fine-tuning's options: mirrored images, and splits that give windows on objects only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_finetune import LEVELS, StoppedError, finetune_spec, make_planner, stop_at
from tiny_workspace import SCALES, make_workspace

from pipelines.schemas import MapRow, decode_maps, encode_maps
from pipelines.shards import map_unit
from pipelines.stage import build_stage
from pipelines.stages.finetune import Finetune
from pipelines.training import LocalWorker, Rate, train_unit
from pipelines.window_batches import WindowPooler
from pipelines.workspace import Output, Quarantined, Workspace
from sppnet.detector import pool_image_windows
from sppnet.geometry import GEOMETRIES
from sppnet.pyramid import Pyramid


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """These layers are so small that threads only wait for one another."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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
    train_unit(whole, "model", LocalWorker(torch.device("cpu")))
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, 27)
        with pytest.raises(StoppedError):
            train_unit(stopped, "model", LocalWorker(torch.device("cpu")))
    train_unit(stopped, "model", LocalWorker(torch.device("cpu")))
    data = flipped.artifact(whole.artifact).read("model")
    assert flipped.artifact(stopped.artifact).read("model") == data
    plain = finetune_spec(flipped, "head-unflipped", **{**short, "flips": False})
    train_unit(plain, "model", LocalWorker(torch.device("cpu")))
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
