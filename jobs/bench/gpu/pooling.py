"""Pooling on the device: beside RoI pooling, RoI align, and a plain copy of the output's size."""

from __future__ import annotations

import numpy as np
import torch
from torchvision.ops import roi_align, roi_pool

from jobs.bench.gpu.inputs import Row, Setup, windows_of
from jobs.bench.inputs import IMAGE
from jobs.bench.timing import medians, pairs_within
from sppnet.devices import upload
from sppnet.networks.backbones import BackboneSpec, build_backbone
from sppnet.pooling.geometry import windows_to_cells
from sppnet.pooling.image_batches import BatchWindows, pool_image_batch
from sppnet.pooling.packed_maps import PackedMaps
from sppnet.pooling.pyramid import Pyramid
from sppnet.pooling.scales import resized_size, scale_windows
from sppnet.sizes import Size


def run(setup: Setup) -> list[Row]:
    """Measure one map's windows beside three peers, and a batch of images at all scales beside a copy."""
    rows: list[Row] = []
    for what in ("random", "proposals"):
        for dtype in (torch.float16, torch.float32):
            rows += _one_map(setup, what, dtype)
    return [*rows, *_a_batch(setup)]


def _one_map(setup: Setup, what: str, dtype: torch.dtype) -> list[Row]:
    spec = BackboneSpec("zf5", width=setup.width)
    backbone = build_backbone(spec)
    scale = max(scale for scale in setup.scales if scale <= 688)
    size = backbone.map_size(resized_size(IMAGE, scale))
    maps = torch.randn(*size.hw, backbone.channels, generator=torch.Generator().manual_seed(0)).relu()
    maps = maps.to(setup.device, dtype)
    if what == "random":
        cells = _random_cells(setup.windows, size)
    else:
        cells = windows_to_cells(scale_windows(windows_of(setup, 0), IMAGE, scale), size, backbone.geometry)
    packed, pyramid = PackedMaps.of([maps]), Pyramid()
    sent, map_of = upload(cells, setup.device), torch.zeros(len(cells), dtype=torch.int32, device=setup.device)
    # torchvision's CPU kernel takes float32 only, and both get NCHW: their own layout, outside the timing.
    nchw = (maps if setup.device.type == "cuda" else maps.float()).permute(2, 0, 1)[None].contiguous()
    boxes = torch.cat([torch.zeros(len(cells), 1, device=setup.device), sent - sent.new_tensor([0, 0, 1, 1])], dim=1)
    boxes = boxes.to(nchw.dtype)
    pooled = packed.pool(map_of, sent, pyramid)
    target = torch.empty_like(pooled)
    expected = torch.cat([roi_pool(nchw, boxes, n, 1.0).flatten(2) for n in pyramid.levels], dim=2).transpose(1, 2)
    peers = {
        "torchvision roi_pool at 6, 3, 2, 1": lambda: [roi_pool(nchw, boxes, n, 1.0) for n in pyramid.levels],
        "torchvision roi_align at 6, 3, 2, 1": lambda: [
            roi_align(nchw, boxes, n, 1.0, sampling_ratio=2) for n in pyramid.levels
        ],
        "device copy of the output": lambda: target.copy_(pooled),
    }
    common = {
        "name": f"pool {what} windows at {scale}",
        "dtype": str(dtype).removeprefix("torch."),
        "windows": len(cells),
        "equal": bool(torch.equal(pooled.to(expected.dtype), expected)),
        "output_mb": pooled.numel() * pooled.element_size() / 1e6,
    }
    rows = []
    for name, peer in peers.items():
        pairs = pairs_within(
            lambda: [packed.pool(map_of, sent, pyramid) for _ in range(setup.inner)],
            lambda peer=peer: [peer() for _ in range(setup.inner)],  # type: ignore[misc]
            setup.seconds / 20,
            setup.device,
            setup.pairs,
        )
        found = medians(pairs)
        rows.append(
            {
                **common,
                "peer": name,
                **found,
                "ours_s": found["ours_s"] / setup.inner,
                "peer_s": found["peer_s"] / setup.inner,
            }
        )
    return rows


def _a_batch(setup: Setup) -> list[Row]:
    """Measure a batch of images at all scales, from windows in pixels to distinct pooled vectors, beside a copy."""
    backbone = build_backbone(BackboneSpec("zf5", width=setup.width))
    sizes = {scale: backbone.map_size(resized_size(IMAGE, scale)) for scale in setup.scales}
    generator = torch.Generator().manual_seed(0)
    one = {
        scale: torch.randn(*size.hw, backbone.channels, generator=generator).relu().to(setup.device, torch.float16)
        for scale, size in sizes.items()
    }
    boxes = [windows_of(setup, seed) for seed in range(setup.batch)]
    windows = BatchWindows.of(boxes, [IMAGE] * setup.batch, setup.device)
    maps = [one] * setup.batch

    def ours() -> torch.Tensor:
        return pool_image_batch(maps, windows, setup.scales, backbone.geometry, Pyramid()).vectors

    pooled = ours()
    target = torch.empty_like(pooled)
    pairs = pairs_within(ours, lambda: target.copy_(pooled), setup.seconds / 10, setup.device, setup.pairs)
    return [
        {
            "name": f"place, tell apart and pool {setup.batch} images at {len(setup.scales)} scales",
            "dtype": "float16",
            "windows": setup.windows * setup.batch,
            "distinct": len(pooled),
            "output_mb": pooled.numel() * 2 / 1e6,
            "peer": "device copy of the output",
            **medians(pairs),
        }
    ]


def _random_cells(windows: int, size: Size) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
    """Draw windows' corners uniformly: nearly all distinct, larger than proposals. int32 `[n, 4]` cells."""
    rng = np.random.default_rng(0)
    x = np.sort(np.stack([rng.choice(size.width + 1, 2, replace=False) for _ in range(windows)]), axis=1)
    y = np.sort(np.stack([rng.choice(size.height + 1, 2, replace=False) for _ in range(windows)]), axis=1)
    return np.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], axis=1).astype(np.int32)
