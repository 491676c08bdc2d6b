"""Pooling 2,000 windows of a map of scale 688, beside torchvision's RoI pooling at the same four levels.

Both run in this process on the same inputs, in turn (A B A B), so that a busy machine slows both. On a CUDA device a
plain device copy of the output's size is a second peer: the least that writing the answer can cost.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from jobs.bench.inputs import CHANNELS, IMAGE, MAP, SCALE, proposal_windows
from jobs.bench.timing import device_name, medians, pick_device, timed_pairs
from sppnet.pooling.geometry import GEOMETRIES, windows_to_cells
from sppnet.pooling.pyramid import Pyramid
from sppnet.pooling.scales import scale_windows
from sppnet.pooling.windows import pool_windows


def run(
    *, repeats: int = 7, windows: int = 2000, device: str | torch.device | None = None, seed: int = 0
) -> list[dict[str, Any]]:
    """Measure pooling on one device.

    Args:
        repeats: pairs of timed runs per row, after one warm-up of each.
        windows: number of windows.
        device: where the map lies; default: the CUDA device if there is one, else the CPU.
        seed: of the map's values and the windows.

    Returns:
        One dict per input and peer: `name`, `device`, `dtype`, `windows`, `distinct` windows on the map, `ours_s` and
        `peer_s` (medians, seconds), `peer`, `ratio` (median of `peer_s / ours_s` over the pairs), `equal` (every
        value; None for the copy, which pools nothing), `threads`.
    """
    device = pick_device(device)
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randn(*MAP.hw, CHANNELS, generator=generator).relu()
    inputs = {"random windows": random_cells(windows, seed), "proposals": proposal_cells(windows, seed)}
    rows = []
    for what, cells in inputs.items():
        for dtype in (torch.float32, torch.float16):
            rows += _rows(what, maps.to(device, dtype), cells, repeats)
    return rows


def random_cells(windows: int, seed: int) -> NDArray[np.int32]:
    """Draw windows' corners uniformly: nearly all distinct, larger than proposals. int32 `[n, 4]` cells."""
    rng = np.random.default_rng(seed)
    width, height = MAP
    x = np.sort(np.stack([rng.choice(width + 1, 2, replace=False) for _ in range(windows)]), axis=1)
    y = np.sort(np.stack([rng.choice(height + 1, 2, replace=False) for _ in range(windows)]), axis=1)
    return np.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], axis=1).astype(np.int32)


def proposal_cells(windows: int, seed: int) -> NDArray[np.int32]:
    """Return `proposal_windows` as cells of ZF-5 at 688. int32 `[n, 4]`."""
    scaled = scale_windows(proposal_windows(windows, seed), IMAGE, SCALE)
    return windows_to_cells(scaled, MAP, GEOMETRIES["zf5"])


def _rows(what: str, maps: torch.Tensor, cells: NDArray[np.int32], repeats: int) -> list[dict[str, Any]]:
    pyramid = Pyramid()
    device = maps.device
    # torchvision's CPU kernel takes float32 only, and gets NCHW: its own layout, outside the timing.
    peer_maps = (maps if device.type == "cuda" else maps.float()).permute(2, 0, 1)[None].contiguous()
    boxes = torch.from_numpy(np.concatenate([np.zeros((len(cells), 1)), cells - [0, 0, 1, 1]], axis=1))
    boxes = boxes.to(device, peer_maps.dtype)

    def ours() -> torch.Tensor:
        return pool_windows(maps, cells, pyramid)

    def peer() -> list[torch.Tensor]:
        from torchvision.ops import roi_pool

        return [roi_pool(peer_maps, boxes, n, 1.0) for n in pyramid.levels]

    pooled = ours()
    expected = torch.cat([level.flatten(2) for level in peer()], dim=2).transpose(1, 2)
    common = {
        "name": f"pool {what}",
        "device": device_name(device),
        "dtype": str(maps.dtype).removeprefix("torch."),
        "windows": len(cells),
        "distinct": len(np.unique(cells, axis=0)),
        "threads": torch.get_num_threads(),
    }
    peer_dtype = str(peer_maps.dtype).removeprefix("torch.")
    equal = torch.equal(pooled.to(expected.dtype), expected)
    times = medians(timed_pairs(ours, peer, repeats, device))
    rows = [common | {"peer": f"torchvision roi_pool, {peer_dtype}"} | times | {"equal": equal}]
    if device.type == "cuda":
        target = torch.empty_like(pooled)
        copy = medians(timed_pairs(ours, lambda: target.copy_(pooled), repeats, device))
        rows.append(common | {"peer": "device copy of the output"} | copy | {"equal": None})
    return rows
