"""Files of images to detections: ImageDetector, beside the same steps one image at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from jobs.bench.gpu.inputs import (
    Row,
    Setup,
    image_files,
    make_features,
    make_regressors,
    make_svms,
    zf5_and_overfeat7,
)
from jobs.bench.timing import median_rates, pairs_within
from sppnet.detection.ensemble import Rules, ScoredWindows, choose_windows
from sppnet.detection.image_detector import ImageDetector, WindowedFile
from sppnet.errors import DataError
from sppnet.images.decoding import decode_image
from sppnet.networks.backbones import Backbone
from sppnet.networks.map_maker import MapMaker
from sppnet.sizes import Size

CORPUS = 40_000
"""Images that the paper's 8 GPU-hours are told of (DET's test images)."""


def run(setup: Setup) -> list[Row]:
    """Measure both networks at all scales, fc7 and box regression, by several ways of decoding and convolving."""
    files = image_files(setup)
    rows = []
    for name, backbone in zf5_and_overfeat7(setup).items():
        for options in ({}, {"graphs": False}, {"nvjpeg": True}, {"images_at_once": setup.batch // 2}):
            if setup.device.type == "cuda" or not options:
                rows.append(_row(setup, name, backbone, files, **options))
    return rows


def _row(
    setup: Setup,
    name: str,
    backbone: Backbone,
    files: Sequence[WindowedFile],
    *,
    graphs: bool = True,
    nvjpeg: bool = False,
    images_at_once: int = 1,
) -> Row:
    maker = MapMaker(backbone, setup.precision, together=images_at_once, graphs=graphs)
    features = make_features(setup, backbone, "fc7", setup.scales)
    svms, regressors = make_svms(setup, features), make_regressors(setup, backbone)
    detector = ImageDetector(maker, features, svms, regressors, batch=setup.batch, threads=setup.threads, nvjpeg=nvjpeg)
    found = 0

    def ours() -> None:
        nonlocal found
        results = list(detector(files))
        wrong = [one for one in results if isinstance(one, DataError)]
        if wrong:
            raise wrong[0]
        found = sum(len(one.category) for one in results if not isinstance(one, DataError))

    few = files[: max(1, len(files) // 16)]

    @torch.inference_mode()
    def one_by_one() -> None:
        rules = Rules()
        for file in few:
            pixels = decode_image(file.data)
            (maps,) = maker([pixels], setup.scales)
            windows = file.windows.astype(np.float32)
            pooled = features.pooled_tensors(maps, Size.of(pixels), windows)
            scores = svms.scores(features.upper(pooled)).cpu().numpy()
            kept = choose_windows([ScoredWindows(windows, scores)], rules.least, rules.nms_iou, rules.per_image)
            rows = torch.from_numpy(kept.window).long().to(setup.device)
            regressors.deltas(pooled[rows]).cpu()

    pairs = pairs_within(ours, one_by_one, setup.seconds / 8, setup.device, min(2, setup.pairs))
    rates = median_rates([(own, peer * len(files) / len(few)) for own, peer in pairs], len(files))
    how = f"{', without graphs' * (not graphs)}{', nvJPEG' * nvjpeg}"
    how += f", {images_at_once} at once" * (images_at_once > 1)
    return {
        "name": f"{name}, {len(setup.scales)} scales, JPEG to detections{how}",
        "dtype": setup.precision,
        "images": len(files),
        "windows": setup.windows,
        "categories": setup.categories,
        "detections_an_image": found / len(files),
        "peer": "the same steps, an image at a time, suppression on the CPU",
        **rates,
        "device_minutes_for_40000": CORPUS / rates["ours_per_s"] / 60,
    }
