"""Whole images to class scores of ten views, beside a bare loop under autocast on crops that are on the device already.

The peer is given its crops for nothing, cut, normalised and uploaded; ours starts from the cut pixels.
"""

from __future__ import annotations

from typing import cast

import torch

from jobs.bench.gpu.inputs import Row, Setup, draw_image, zf5_and_overfeat7
from jobs.bench.timing import median_rates, pairs_within
from sppnet.classification.classifier import Output, ViewClassifier
from sppnet.classification.views import PAPER_SIZE, named_views
from sppnet.networks.network import FcHead
from sppnet.pooling.pyramid import Pyramid, pool_full_maps

_VIEWS = ("crops10", "maps10")
_CLASSES = 1000


def run(setup: Setup) -> list[Row]:
    """Measure both networks on crops and on maps."""
    return [_row(setup, name, views) for name in zf5_and_overfeat7(setup) for views in _VIEWS]


def make_classifier(setup: Setup, name: str, views: str, output: Output = "scores") -> ViewClassifier:
    """Return a network with a head of random weights that classifies by a named set of views."""
    backbone = zf5_and_overfeat7(setup)[name]
    pyramid = Pyramid()
    torch.manual_seed(1)
    head = FcHead(pyramid.bins * backbone.channels, (setup.hidden, setup.hidden), _CLASSES).to(setup.device).eval()
    sets = {"views": named_views(views, PAPER_SIZE)}
    return ViewClassifier(backbone, pyramid, head, sets, output, setup.precision, device=setup.device)


def _row(setup: Setup, name: str, views: str) -> Row:
    classifier = make_classifier(setup, name, views)
    images = [classifier.prepare(draw_image(number)) for number in range(setup.batch)]
    head, backbone = cast("FcHead", classifier.head), classifier.backbone
    count = images[0].views
    crops = torch.rand(count * len(images), 3, PAPER_SIZE, PAPER_SIZE, device=setup.device)
    crops = crops.contiguous(memory_format=torch.channels_last)

    @torch.inference_mode()
    def bare() -> torch.Tensor:
        found = []
        for own in torch.split(crops, count):
            with torch.autocast(setup.device.type, dtype=torch.bfloat16):
                pooled = pool_full_maps(backbone(own), classifier.pyramid)
                scores = head.outputs("fc8", pooled).float().softmax(dim=1)
            found.append(scores.mean(dim=0))
        return torch.stack(found).cpu()

    pairs = pairs_within(lambda: classifier(images), bare, setup.seconds / 5, setup.device, min(3, setup.pairs))
    return {
        "name": f"{name}, {views}",
        "dtype": setup.precision,
        "images": len(images),
        "peer": f"autocast, {count} crops of an image at once, on the device already",
        **median_rates(pairs, len(images)),
    }
