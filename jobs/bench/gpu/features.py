"""The features of one image's windows, beside R-CNN's way batched: 227 x 227 crops that are on the device already.

The peer is given its crops for nothing, warped, normalised and in the same precision; ours starts from the image's
pixels.
"""

from __future__ import annotations

from typing import cast

import torch

from jobs.bench.gpu.inputs import Row, Setup, draw_image, make_features, windows_of, zf5_and_overfeat7
from jobs.bench.inputs import IMAGE
from jobs.bench.timing import medians, pairs_within, seconds
from sppnet.detection.features import WindowFeatures
from sppnet.detection.rcnn_crops import SIZE
from sppnet.devices import upload
from sppnet.networks.backbones import Backbone
from sppnet.networks.device_networks import device_network
from sppnet.networks.low_rank import lower_rank
from sppnet.networks.map_maker import MapMaker
from sppnet.networks.network import FcHead, Layer
from sppnet.pooling.image_batches import BatchWindows
from sppnet.pooling.pyramid import pool_full_maps
from sppnet.sizes import Size

_LAYERS: tuple[Layer, ...] = ("pool5", "fc7")


def run(setup: Setup) -> list[Row]:
    """Measure ZF-5 at one scale and at all: pooled vectors, fc7, and fc7 at a low rank."""
    backbone = zf5_and_overfeat7(setup)["zf5"]
    middle = sorted(setup.scales)[len(setup.scales) // 2]
    lowered = _Lowered(setup, backbone)
    rows = []
    for scales in ((middle,), setup.scales):
        for layer in _LAYERS:
            features = make_features(setup, backbone, layer, scales)
            rows.append(_row(setup, backbone, features, features, {}))
            if layer == "fc7":
                rows.append(_row(setup, backbone, lowered.like(features), features, lowered.figures))
    return rows


class _Lowered:
    """The head at a low rank, made once, and how far its fc7 is from the exact one on windows of an image."""

    def __init__(self, setup: Setup, backbone: Backbone) -> None:
        features = make_features(setup, backbone, "fc7", setup.scales)
        self._made: dict[str, FcHead] = {}
        seconds_taken = seconds(lambda: self._make(cast("FcHead", features.head), setup.rank), setup.device)
        maps, windows = _inputs(setup, backbone, setup.scales)
        pooled = features.pooled_batch(maps, windows).vectors.flatten(1)
        exact, lower = features.upper(pooled), self.like(features).upper(pooled)
        self.figures: Row = {
            "rank": setup.rank,
            "weights_error": self._errors,
            "fc7_error": float((lower - exact).norm() / exact.norm()),
            "factors_s": seconds_taken,
        }

    def _make(self, head: FcHead, rank: int) -> None:
        found = lower_rank(head, rank)
        self._made["head"], self._errors = found.head, found.errors

    def like(self, features: WindowFeatures) -> WindowFeatures:
        """Return features with the thin matrices."""
        return WindowFeatures(
            features.geometry,
            features.channels,
            features.pyramid,
            features.scales,
            features.layer,
            head=self._made["head"],
            precision=features.precision,
            device=features.device,
        )


def _inputs(
    setup: Setup, backbone: Backbone, scales: tuple[int, ...]
) -> tuple[list[dict[int, torch.Tensor]], BatchWindows]:
    maps = MapMaker(backbone, setup.precision)([draw_image(0)], scales)
    return maps, BatchWindows.of([windows_of(setup, 0)], [IMAGE], setup.device)


def _row(setup: Setup, backbone: Backbone, ours: WindowFeatures, theirs: WindowFeatures, figures: Row) -> Row:
    maker = MapMaker(backbone, setup.precision)
    pixels = upload(draw_image(0), setup.device)
    boxes = windows_of(setup, 0)
    distinct = 0

    @torch.inference_mode()
    def own() -> torch.Tensor:
        nonlocal distinct
        windows = BatchWindows.of([boxes], [IMAGE], setup.device)
        pooled = ours.pooled_batch(maker([pixels], ours.scales), windows)
        distinct = len(pooled.vectors)
        return ours.upper(pooled.vectors.flatten(1))[pooled.row_of]

    network = device_network(backbone, setup.precision)
    crops = torch.rand(setup.crops, network.channels, SIZE, SIZE, device=setup.device, dtype=network.dtype)
    crops = crops.contiguous(memory_format=torch.channels_last)
    layout = network.layout(Size.square(SIZE))
    batches = max(1, setup.windows // setup.crops)

    @torch.inference_mode()
    def peer() -> torch.Tensor:
        found = [pool_full_maps(network(crops, layout), theirs.pyramid).flatten(1) for _ in range(batches)]
        return theirs.upper(torch.cat(found))

    pairs = pairs_within(own, peer, setup.seconds / 8, setup.device, min(3, setup.pairs))
    return {
        "name": f"{ours.layer}{' at low rank' if figures else ''}, {len(ours.scales)} scale(s)",
        "dtype": setup.precision,
        "windows": setup.windows,
        "distinct": distinct,
        "peer": f"{batches * setup.crops} crops of {SIZE} x {SIZE} on the device, {setup.crops} at once",
        **medians(pairs),
        **figures,
    }
