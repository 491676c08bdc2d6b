from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sppnet.errors import ConfigError
from sppnet.pooling.geometry import GEOMETRIES, Convention
from sppnet.pooling.image_batches import BatchWindows, pool_image_batch
from sppnet.pooling.image_windows import pool_image_windows
from sppnet.pooling.pyramid import Pyramid
from sppnet.sizes import Size

SCALES = (160, 320, 640)
ZF5 = GEOMETRIES["zf5"]
CPU = torch.device("cpu")


def some_windows(rng: np.random.Generator, size: Size, count: int) -> np.ndarray:
    corners = rng.uniform(0, [size.width, size.height], (count, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(0, 90, (count, 2))], axis=1)
    return np.concatenate([boxes.round(), boxes[: count // 2]])


def some_maps(rng: np.random.Generator, size: Size) -> dict[int, torch.Tensor]:
    return {
        scale: torch.from_numpy(rng.random((*(side * scale // size.short_side // 16 for side in size.hw), 4))).half()
        for scale in SCALES
    }


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["paper", "released"]), st.sampled_from([(6, 3, 2, 1), (2, 1)]))
def test_a_batch_is_its_images_one_by_one(seed: int, convention: Convention, levels: tuple[int, ...]) -> None:
    rng = np.random.default_rng(seed)
    sizes = [Size(*rng.integers(40, 200, 2).tolist()) for _ in range(3)]
    windows = [some_windows(rng, size, count) for size, count in zip(sizes, (7, 0, 30), strict=True)]
    maps = [some_maps(rng, size) for size in sizes]
    batch = BatchWindows.of(windows, sizes, CPU)
    assert batch.counts == (10, 0, 45)
    assert batch.starts.tolist() == [0, 10, 10]
    pooled = pool_image_batch(maps, batch, SCALES, ZF5, Pyramid(levels), convention)
    alone = [
        pool_image_windows(one, size, boxes, ZF5, Pyramid(levels), convention)
        for one, size, boxes in zip(maps, sizes, windows, strict=True)
    ]
    assert torch.equal(pooled.vectors[pooled.row_of], torch.cat(alone))
    assert sorted(set(pooled.row_of.tolist())) == list(range(len(pooled.vectors)))


def test_equal_cells_are_pooled_once_but_not_those_of_other_images() -> None:
    rng = np.random.default_rng(0)
    size = Size(100, 80)
    boxes = np.array([[10, 10, 60, 60], [10.2, 10.1, 60, 60.3], [10, 10, 60, 60]])
    batch = BatchWindows.of([boxes, boxes[:1]], [size, size], CPU)
    pooled = pool_image_batch([some_maps(rng, size), some_maps(rng, size)], batch, SCALES, ZF5, Pyramid())
    assert pooled.row_of.tolist() == [0, 0, 0, 1]
    assert pooled.vectors.shape == (2, 50, 4)


def test_what_does_not_fit_is_refused() -> None:
    size, boxes = Size(100, 80), np.array([[0.0, 0, 50, 50]])
    batch = BatchWindows.of([boxes], [size], CPU)
    maps = some_maps(np.random.default_rng(0), size)
    with pytest.raises(ConfigError, match="no map at scale 480, only at 160, 320, 640"):
        pool_image_batch([maps], batch, (480,), ZF5, Pyramid())
    with pytest.raises(ConfigError, match="no scales"):
        pool_image_batch([maps], batch, (), ZF5, Pyramid())
    with pytest.raises(ConfigError, match="5000 cells"):
        pool_image_batch([{160: torch.zeros(2, 5000, 1)}], batch, (160,), ZF5, Pyramid())
    with pytest.raises(ValueError, match="finite"):
        BatchWindows.of([boxes * np.nan], [size], CPU)
