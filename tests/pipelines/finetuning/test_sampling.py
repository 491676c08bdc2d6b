"""Samples of an image, each as if it were pooled alone, and the blocks that they are cut into."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.artifacts.stepped_rows import from_steps, to_steps
from pipelines.artifacts.window_samples import WindowSamples
from pipelines.engine.workspace import Workspace
from pipelines.finetuning.sampling import BLOCK_BYTES, BlockCutter, ImageSampler, block_rows
from pipelines.shards.windowed import ImagePair, LabelledImage, ShardInputs
from sppnet.boxes import iou_matrix
from sppnet.detection.features import WindowFeatures
from sppnet.pooling.geometry import GEOMETRIES
from sppnet.pooling.image_windows import pool_image_windows
from sppnet.pooling.pyramid import Pyramid
from tests.support.tiny_finetune import LEVELS, finetune_spec, make_config, sample
from tests.support.tiny_workspace import CATEGORIES, CHANNELS, SCALES, SIZE, make_annotation, make_workspace

pytestmark = pytest.mark.usefixtures("one_thread")

UNITS = ("train/000000", "train/000001")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("samples"), images=12, shard_size=6)


def inputs(workspace: Workspace) -> ShardInputs:
    return ShardInputs(*(workspace.artifact(f"{kind}-tiny") for kind in ("images", "windows", "maps")), SCALES)


def boxes_of(found: WindowSamples, images) -> np.ndarray:
    """The windows behind samples."""
    used = {key: [o.box for o in make_annotation(key, int(key[2:])).objects if not o.difficult] for key in images}
    rows = zip(found.keys, found.windows, strict=True)
    return np.array([images[key].windows[w] if w >= 0 else used[key][-1 - w] for key, w in rows], np.float32)


@pytest.mark.parametrize("random_scale", [False, True])
def test_samples_are_the_windows_of_their_images_pooled_alone(workspace: Workspace, random_scale: bool) -> None:
    spec = finetune_spec(workspace, f"head-{random_scale}", random_scale=random_scale, negatives_per_image=4)
    found = sample(spec)
    images = {image.key: image for unit in UNITS for image in inputs(workspace).open(unit)[0]}
    rule = make_config().rule(0, 12)
    for part, own in found.items():
        assert own.vectors.dtype == np.float16
        assert own.vectors.shape == (len(own), 10 * CHANNELS)
        assert {rule.held_out(key) for key in own.keys} == {part.startswith("held-out")}
        assert set(own.scales.tolist()) == (set(SCALES) if random_scale else {0})
        assert not own.flipped.any()
        for row, box in enumerate(boxes_of(own, images)):
            image = images[own.keys[row]]
            maps = {scale: torch.from_numpy(grid.copy()) for scale, grid in image.maps.items()}
            scale = [own.scales[row]] if random_scale else None
            options = (GEOMETRIES["zf5"], Pyramid(LEVELS), "paper", scale)
            alone = pool_image_windows(maps, image.image_wh, box[None], *options).flatten()
            assert np.array_equal(own.vectors[row], from_steps(*to_steps(alone[None].numpy()))[0])
            things = [thing for thing in make_annotation(image.key, int(image.key[2:])).objects if not thing.difficult]
            overlap = iou_matrix(box[None], np.array([thing.box for thing in things]))[0]
            if part.endswith("objects"):
                assert overlap.max() >= 0.5
                assert things[int(overlap.argmax())].category == CATEGORIES[own.labels[row] - 1]
            else:
                assert 0.1 <= overlap.max() < 0.5
                assert own.labels[row] == 0
    counts = np.unique(found["background"].keys, return_counts=True)[1]
    assert set(counts.tolist()) == {4}


def test_a_shards_samples_do_not_depend_on_others(workspace: Workspace, tmp_path: Path) -> None:
    spec = finetune_spec(workspace, "head-all")
    sample(spec)
    other = make_workspace(tmp_path, images=6, shard_size=6)
    alone = finetune_spec(other, "head-all")
    sample(alone)
    unit = f"sample/{UNITS[0]}"
    assert other.artifact("head-all").read(unit) == workspace.artifact("head-all").read(unit)
    commit = other.artifact("head-all").commit(unit)
    assert (commit.keys, commit.done) == (6, 6)
    assert commit.rows == sum(rows for _, rows in commit.metrics["blocks"])
    assert commit.metrics["objects"] > 20


def rows_of(count: int, start: int = 0) -> WindowSamples:
    names = np.empty(count, object)
    names[:] = "im"
    numbers = np.arange(start, start + count, dtype=np.int32)
    vectors = numbers[:, None].astype(np.float16)
    return WindowSamples(names, numbers, np.ones(count, np.int32), numbers * 0, np.zeros(count, bool), vectors)


def test_blocks_hold_every_sample_once_in_a_random_order() -> None:
    def cut(seed: int) -> tuple[list[list[int]], list[tuple[str, int]]]:
        cutter = BlockCutter(rows=5, seed=seed)
        found = [block for start in range(0, 200, 40) for block in cutter.add({"objects": rows_of(40, start)})]
        found += cutter.add({"background": rows_of(7, 200)})
        found += cutter.rest()
        return [block.windows.tolist() for block in found], cutter.blocks

    blocks, told = cut(3)
    assert told == [("objects", 5)] * 40 + [("background", 5), ("background", 2)]
    assert [len(block) for block in blocks] == [rows for _, rows in told]
    assert sorted(chain(*blocks)) == list(range(207))
    # Cut as soon as there are 16 blocks: each holds some of the first two images.
    assert set(chain(*blocks[:16])) == set(range(80))
    assert sum(min(block) < 40 <= max(block) for block in blocks[:16]) > 10
    assert cut(3)[0] == blocks != cut(4)[0]


def test_a_block_has_bounded_bytes() -> None:
    assert block_rows(25_600) == 163
    assert block_rows(25_600) * 25_600 * 2 <= BLOCK_BYTES
    assert block_rows(10**8) == 1


def test_mirrored_boxes_are_pooled_from_mirrored_maps(workspace: Workspace) -> None:
    """With maps that are mirrored themselves, each window is pooled from its own."""
    image = next(iter(inputs(workspace).open(UNITS[0])[0]))
    turned = {scale: np.ascontiguousarray(grid[:, ::-1]) + np.float16(1) for scale, grid in image.maps.items()}
    note = make_annotation(image.key, int(image.key[2:]))
    plain = LabelledImage(image.key, image.image_wh, image.windows, image.maps, note)
    pair = ImagePair(plain, replace(image, maps=turned))
    rule = make_config(flips=True, holdout=0).rule(5, 12)
    sampler = ImageSampler(rule, WindowFeatures(GEOMETRIES["zf5"], CHANNELS, Pyramid(LEVELS), SCALES))
    found = sampler.sample(pair, positives_only=False)
    objects = found["objects"]
    half = len(objects) // 2
    assert objects.flipped.tolist() == [False] * half + [True] * half
    assert objects.windows[:half].tolist() == objects.windows[half:].tolist()
    for part in found.values():
        for row, box in enumerate(boxes_of(part, {image.key: image})):
            x0, y0, x1, y1 = box
            way = bool(part.flipped[row])
            own = (SIZE.width - x1, y0, SIZE.width - x0, y1) if way else (x0, y0, x1, y1)
            maps = {scale: torch.from_numpy(np.array(grid)) for scale, grid in (turned if way else image.maps).items()}
            alone = pool_image_windows(maps, image.image_wh, [own], GEOMETRIES["zf5"], Pyramid(LEVELS), "paper")
            assert np.array_equal(part.vectors[row], alone.flatten().numpy())
            assert (float(part.vectors[row].min()) >= 1) == way
