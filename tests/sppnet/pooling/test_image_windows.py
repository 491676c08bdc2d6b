"""Windows of an image pooled from maps at several scales."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sppnet.errors import ConfigError
from sppnet.pooling.geometry import GEOMETRIES, windows_to_cells
from sppnet.pooling.image_windows import pool_image_windows
from sppnet.pooling.pyramid import Pyramid, bin_edges
from sppnet.pooling.scales import choose_scales, resized_size, scale_windows
from sppnet.sizes import Size

ZF5 = GEOMETRIES["zf5"]
PYRAMID = Pyramid((3, 1))
IMAGE = Size(500, 375)


def make_maps(scales: tuple[int, ...], dtype: torch.dtype = torch.float32) -> dict[int, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    maps = {}
    for scale in scales:
        width, height = resized_size(IMAGE, scale)
        shape = (height // 16 + 1, width // 16 + 1, 8)
        maps[scale] = torch.rand(shape, generator=generator).to(dtype)
    return maps


def make_windows(n: int) -> np.ndarray:
    rng = np.random.default_rng(2)
    corner = rng.uniform(0, (IMAGE[0] - 60, IMAGE[1] - 60), (n, 2))
    side = np.exp(rng.uniform(np.log(30), np.log(320), (n, 2)))
    return np.concatenate([corner, np.minimum(corner + side, IMAGE)], axis=1)


def pool_slowly(grid: torch.Tensor, cells: np.ndarray) -> torch.Tensor:
    x0, y0, x1, y1 = (int(v) for v in cells)
    part = grid[y0:y1, x0:x1]
    bins = [
        part[r0:r1, c0:c1].amax((0, 1))
        for n in PYRAMID.levels
        for r0, r1 in bin_edges(y1 - y0, n)
        for c0, c1 in bin_edges(x1 - x0, n)
    ]
    return torch.stack(bins)


@pytest.mark.parametrize("convention", ["paper", "released"])
def test_every_window_comes_from_the_map_of_its_own_scale(convention: str) -> None:
    maps, windows = make_maps((480, 688, 1200)), make_windows(40)
    got = pool_image_windows(maps, IMAGE, windows, ZF5, PYRAMID, convention)
    assert got.shape == (40, 10, 8)
    choice = choose_scales(windows, IMAGE, (480, 688, 1200), convention)
    assert len(set(choice.tolist())) == 3
    for i, window in enumerate(windows):
        scale = (480, 688, 1200)[choice[i]]
        scaled = scale_windows(window[None], IMAGE, scale, convention)
        cells = windows_to_cells(scaled, Size.of(maps[scale]), ZF5, convention)[0]
        assert torch.equal(got[i], pool_slowly(maps[scale], cells))


def test_order_of_the_mapping_and_a_subset_of_windows_change_nothing() -> None:
    maps, windows = make_maps((480, 688)), make_windows(12)
    whole = pool_image_windows(maps, IMAGE, windows, ZF5, PYRAMID)
    turned = pool_image_windows(dict(reversed(maps.items())), IMAGE, windows, ZF5, PYRAMID)
    assert torch.equal(whole, turned)
    assert torch.equal(whole[3:7], pool_image_windows(maps, IMAGE, windows[3:7], ZF5, PYRAMID))


def test_given_scales_are_used_and_half_precision_is_kept() -> None:
    maps, windows = make_maps((480, 688), torch.float16), make_windows(6)
    choice = np.array([480, 688, 480, 480, 688, 688])
    got = pool_image_windows(maps, IMAGE, windows, ZF5, PYRAMID, scale_choice=choice)
    assert got.dtype == torch.float16
    for i, scale in enumerate(choice.tolist()):
        one = pool_image_windows({scale: maps[scale]}, IMAGE, windows[i : i + 1], ZF5, PYRAMID)
        assert torch.equal(got[i], one[0])


def test_no_windows_give_an_empty_result() -> None:
    got = pool_image_windows(make_maps((480, 688)), IMAGE, np.zeros((0, 4)), ZF5, PYRAMID)
    assert got.shape == (0, 10, 8)


def test_a_scale_without_a_map_is_named() -> None:
    windows = make_windows(2)
    with pytest.raises(ConfigError, match="no map at scale 576, only at 480"):
        pool_image_windows(make_maps((480,)), IMAGE, windows, ZF5, PYRAMID, scale_choice=[480, 576])
    with pytest.raises(ConfigError, match="no maps"):
        pool_image_windows({}, IMAGE, windows, ZF5, PYRAMID)
    with pytest.raises(ValueError, match="2 windows need as many scales"):
        pool_image_windows(make_maps((480,)), IMAGE, windows, ZF5, PYRAMID, scale_choice=[480])
