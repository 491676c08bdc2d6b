"""The paper's headline: the features of one image's 2,000 windows, beside R-CNN's way with the same network.

Ours convolves the image once a scale and pools the windows; the peer warps and convolves each window (Tables 9 and
10). Both run in this process in turn, in the same precision, from the decoded image to the features. Where the peer
would take minutes, `crops` of its windows are run and its time is theirs times windows / crops: it is linear in them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from jobs.bench.inputs import HIDDEN, IMAGE, proposal_windows
from jobs.bench.timing import device_name, medians, pick_device, seconds
from sppnet.arrays import Float64s, Pixels
from sppnet.detection.features import WindowFeatures
from sppnet.detection.rcnn_crops import SIZE, CropFeatures
from sppnet.networks.backbones import BackboneSpec, build_backbone
from sppnet.networks.map_maker import MapMaker
from sppnet.networks.network import FcHead, Layer, Precision
from sppnet.pooling.pyramid import Pyramid
from sppnet.pooling.scales import PAPER_SCALES
from sppnet.sizes import Size


def run(
    *, repeats: int = 3, windows: int = 2000, crops: int | None = None, device: str | torch.device | None = None
) -> list[dict[str, Any]]:
    """Measure ZF-5's features of one image of 500 x 375 pixels, at one scale and at five, pooled and fc7.

    Args:
        repeats: Pairs of timed runs per row, after one warm-up of each.
        windows: Number of windows.
        crops: How many of them the peer convolves; default: all on a GPU, 64 on a CPU.
        device: Default: the CUDA device if there is one, else the CPU.

    Returns:
        One dict per case: `name`, `device`, `dtype`, `windows`, `distinct` windows, `crops`, `ours_s`, `peer_s`
        (medians; the peer's scaled to all windows), `peer`, `ratio` (median over the pairs), `threads`.
    """
    place = pick_device(device)
    count = min(windows, crops or (windows if place.type == "cuda" else 64))
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*IMAGE.hw, 3), dtype=np.uint8)
    boxes = proposal_windows(windows, 0)
    rows = []
    for layer in ("pool5", "fc7"):
        for scales in ((688,), PAPER_SCALES):
            sides = _Sides(layer, scales, "bfloat16", place)
            rows.append(_row(sides, image, boxes, count, repeats))
    return rows


class _Sides:
    """Both ways with one network."""

    def __init__(self, layer: Layer, scales: tuple[int, ...], precision: Precision, device: torch.device) -> None:
        torch.manual_seed(0)
        self.layer, self.scales, self.precision, self.device = layer, scales, precision, device
        self.backbone = build_backbone(BackboneSpec("zf5")).to(device).eval()
        pyramid = Pyramid()
        head = FcHead(pyramid.bins * self.backbone.channels, HIDDEN, 21).to(device).eval() if layer != "pool5" else None
        shared: dict[str, Any] = {
            "geometry": self.backbone.geometry,
            "channels": self.backbone.channels,
            "pyramid": pyramid,
            "layer": layer,
            "head": head,
            "precision": precision,
            "device": device,
        }
        self.maker = MapMaker(self.backbone, precision)
        self.features = WindowFeatures(scales=scales, **shared)
        self.crops = CropFeatures(scales=(SIZE,), backbone=self.backbone, convolutions=precision, **shared)

    def theirs(self, image: Pixels, boxes: Float64s) -> torch.Tensor:
        return self.crops({SIZE: image}, Size.of(image), boxes)

    @torch.inference_mode()
    def ours(self, image: Pixels, boxes: Float64s) -> torch.Tensor:
        (maps,) = self.maker([image], self.scales)
        return self.features(maps, Size.of(image), boxes)


def _row(sides: _Sides, image: Pixels, boxes: Float64s, crops: int, repeats: int) -> dict[str, Any]:
    part = boxes[np.linspace(0, len(boxes) - 1, crops).astype(int)]
    sides.ours(image, boxes)
    sides.theirs(image, part)
    scaled = len(boxes) / crops
    pairs = [
        (
            seconds(lambda: sides.ours(image, boxes), sides.device),
            scaled * seconds(lambda: sides.theirs(image, part), sides.device),
        )
        for _ in range(repeats)
    ]
    return {
        "name": f"{sides.layer} at {len(sides.scales)} scale{'s' * (len(sides.scales) > 1)}",
        "device": device_name(sides.device),
        "dtype": sides.precision,
        "windows": len(boxes),
        "distinct": len(np.unique(boxes, axis=0)),
        "crops": crops,
        "peer": "R-CNN's way: a 227 x 227 crop a window, same network",
        **medians(pairs),
        "threads": torch.get_num_threads(),
    }
