"""Test views pooled from maps, beside the same views as crops through the whole network (paper, section 3.1.5).

Both sides start from a decoded image and end with scores averaged over the views; they run in this process in turn
(A B A B). The pixels that each convolves bound the ratio; the fully-connected layers cost both the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from jobs.bench.inputs import HIDDEN, IMAGE
from jobs.bench.timing import device_name, medians, pick_device, timed_pairs
from sppnet.arrays import Pixels
from sppnet.classification.classifier import ViewClassifier
from sppnet.classification.views import PAPER_SIZE, ViewSet, named_views
from sppnet.images.network_input import resize_image
from sppnet.networks.backbones import BackboneSpec, build_backbone
from sppnet.networks.network import FcHead, Precision
from sppnet.pooling.pyramid import Pyramid

NETWORKS = ("zf5", "overfeat7")
CLASSES = 1000


def run(
    *,
    repeats: int = 3,
    networks: Sequence[str] = NETWORKS,
    width: float = 1.0,
    size: int = PAPER_SIZE,
    images: int = 1,
    precision: Precision | None = None,
    device: str | torch.device | None = None,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Measure 10 and 96 views of each network.

    Args:
        repeats: Pairs of timed runs a row, after one warm-up of each.
        networks: Architectures of the networks, each with SPP (6, 3, 2, 1), two layers of 4096 and 1000 classes.
        width: Multiplies the convolutions' channels and the layers' outputs.
        size: Side of a view in pixels.
        images: Images of 500 x 375 pixels in a batch.
        precision: Of the arithmetic; by default bfloat16 on a GPU and float32 elsewhere.
        device: Default: the CUDA device if there is one, else the CPU.
        seed: Of the images and the weights.

    Returns:
        One dict per network and view set: `name`, `device`, `precision`, `images`, `views` of one image, `ours_s` and
        `peer_s` (medians a batch, seconds), `peer`, `ratio` (median of `peer_s / ours_s` over the pairs),
        `pixels_ratio` (pixels convolved for the crops over those for the maps) and `threads`.
    """
    device = pick_device(device)
    shown = [_make_image(seed + number) for number in range(images)]
    rows = []
    for architecture in networks:
        backbone, pyramid, head = _make_network(architecture, width, device, seed)
        for name in ("maps10", "maps96"):
            views = named_views(name, size)
            sides = [
                ViewClassifier(
                    backbone,
                    pyramid,
                    head,
                    {"views": views if maps else replace(views, maps=False)},
                    precision=precision or ("bfloat16" if device.type == "cuda" else "float32"),
                    device=device,
                )
                for maps in (True, False)
            ]
            rows.append(_row(f"views {architecture} {name}", sides[0], sides[1], shown, repeats, views))
    return rows


def _row(
    name: str,
    ours: ViewClassifier,
    peer: ViewClassifier,
    images: Sequence[Pixels],
    repeats: int,
    views: ViewSet,
) -> dict[str, Any]:
    def classify(side: ViewClassifier) -> object:
        return side([side.prepare(image) for image in images])

    for side in (ours, peer):
        classify(side)
    pairs = timed_pairs(lambda: classify(ours), lambda: classify(peer), repeats, ours.device)
    return {
        "name": name,
        "device": device_name(ours.device),
        "precision": ours.precision,
        "images": len(images),
        "views": len(views.views(IMAGE)),
        "threads": torch.get_num_threads(),
        "peer": "the same views as crops",
        **medians(pairs),
        "pixels_ratio": _pixels(peer, images[0]) / _pixels(ours, images[0]),
    }


def _pixels(side: ViewClassifier, image: Pixels) -> int:
    """Count the pixels that are convolved for one image."""
    return sum(plane.pixels.shape[0] * plane.pixels.shape[1] for plane in side.prepare(image).planes)


def _make_image(seed: int) -> Pixels:
    """Make a smooth random image of `IMAGE`."""
    return resize_image(np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8), IMAGE)


def _make_network(architecture: str, width: float, device: torch.device, seed: int) -> tuple[Any, Pyramid, FcHead]:
    torch.manual_seed(seed)
    backbone, pyramid = build_backbone(BackboneSpec(architecture, width=width)), Pyramid()
    hidden = (round(HIDDEN[0] * width), round(HIDDEN[1] * width))
    head = FcHead(pyramid.bins * backbone.channels, hidden, CLASSES)
    return backbone.to(device).eval(), pyramid, head.to(device).eval()
