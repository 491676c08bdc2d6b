"""What must hold on a GPU, each a function that raises `AssertionError`: the tests marked `gpu` run them too.

On a CPU they compare it with itself, or torch's way with OpenCV's and numba's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import cast

import numpy as np
import torch

from jobs.bench.gpu.classifying import make_classifier
from jobs.bench.gpu.inputs import (
    Setup,
    draw_image,
    image_files,
    make_features,
    make_regressors,
    make_svms,
    windows_of,
    zf5_and_overfeat7,
)
from jobs.bench.inputs import IMAGE
from sppnet.boxes import nms_by_category
from sppnet.detection.batch_suppression import best_windows
from sppnet.detection.ensemble import Rules
from sppnet.detection.features import WindowFeatures
from sppnet.detection.image_detector import Detections, ImageDetector
from sppnet.devices import runs_triton, upload
from sppnet.images.network_input import TORCHVISION, prepare_batch, prepare_image
from sppnet.networks.map_maker import MapMaker
from sppnet.networks.norms import ResponseNorm
from sppnet.pooling.image_batches import BatchWindows, pool_image_batch
from sppnet.pooling.packed_maps import PackedMaps
from sppnet.pooling.pyramid import Pyramid
from sppnet.pooling.windows import pool_windows
from sppnet.sizes import Size

CPU = torch.device("cpu")
# bfloat16 has 8 bits; sums of thousands of products in another order differ by a few of them.
_BFLOAT_TOLERANCE = 0.03


def check_triton(setup: Setup) -> None:
    """Require the kernels to be there."""
    _that(setup.device.type != "cuda" or runs_triton(setup.device), "Triton is not installed")


def check_pooling(setup: Setup) -> None:
    """Require the CPU's pooled vectors to the last bit, in every type, of any levels, from one map and several."""
    rng = np.random.default_rng(0)
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        for channels in (int(256 * setup.width), 70, 5):
            maps = [torch.from_numpy(rng.standard_normal((*hw, channels))).to(dtype) for hw in ((43, 57), (7, 3))]
            maps[0][2, 3], maps[0][2, 4] = torch.inf, -torch.inf
            cells = [_cells(rng, Size.of(one), 200) for one in maps]
            for levels in ((6, 3, 2, 1), (1, 2, 3, 6), (4, 2)):
                expected = torch.cat(
                    [pool_windows(one, own, Pyramid(levels)) for one, own in zip(maps, cells, strict=True)]
                )
                packed = PackedMaps.of([one.to(setup.device) for one in maps])
                map_of = upload(np.repeat([0, 1], 200), setup.device)
                found = packed.pool(map_of, upload(np.concatenate(cells), setup.device), Pyramid(levels))
                _that(torch.equal(found.cpu(), expected), f"packed maps, {dtype}, {channels} channels, {levels}")
                single = pool_windows(maps[0].to(setup.device), cells[0], Pyramid(levels))
                _that(torch.equal(single.cpu(), expected[:200]), f"one map, {dtype}, {channels} channels, {levels}")


def check_windows(setup: Setup) -> None:
    """Require the CPU's scale choice, cells and distinct windows, by both conventions."""
    backbone = zf5_and_overfeat7(setup)["zf5"]
    scales = (480, 576, 688, 864, 1200)
    rng = np.random.default_rng(1)
    one = {
        scale: torch.from_numpy(rng.random((*backbone.map_size(Size(scale * 4 // 3, scale)).hw, 8))) for scale in scales
    }
    boxes = [windows_of(setup, 0), windows_of(setup, 1)]
    for convention in ("paper", "released"):
        found = [
            pool_image_batch(
                [{scale: values.half().to(device) for scale, values in one.items()}] * 2,
                BatchWindows.of(boxes, [IMAGE, IMAGE], device),
                scales,
                backbone.geometry,
                Pyramid(),
                convention,
            )
            for device in (setup.device, CPU)
        ]
        _that(torch.equal(found[0].row_of.cpu(), found[1].row_of), f"distinct windows, {convention}")
        _that(torch.equal(found[0].vectors.cpu(), found[1].vectors), f"vectors, {convention}")


def check_resizing(setup: Setup) -> None:
    """Require OpenCV's resized images within one grey level, mirrored ones too."""
    image = draw_image(0)
    for scale in (480, 1200, 300):
        for shown in (image, image[:, ::-1]):
            own = prepare_batch(upload(shown, setup.device)[None], scale, TORCHVISION).cpu()
            off = (own - prepare_image(np.ascontiguousarray(shown), scale, TORCHVISION)).abs()
            levels = float((off * torch.tensor(TORCHVISION.std).view(1, 3, 1, 1)).max())
            _that(levels < 1.01, f"{levels} grey levels at scale {scale}")


def check_norm(setup: Setup) -> None:
    """Require the CPU's response normalisation."""
    values = torch.randn(2, 96, 31, 17, generator=torch.Generator().manual_seed(0)) * 40
    values = values.contiguous(memory_format=torch.channels_last)
    norm = ResponseNorm(96)
    with torch.inference_mode():
        _close(norm.to(setup.device)(values.to(setup.device)), norm.to(CPU)(values), 1e-5, "float32")


def check_maps(setup: Setup) -> None:
    """Require the CPU's maps within what bfloat16 allows, and of graphs the maps without them."""
    image = draw_image(0)
    scale = min(setup.scales)
    for name, backbone in zf5_and_overfeat7(setup).items():
        (found,) = MapMaker(backbone, setup.precision, graphs=False)([image], (scale,))
        if setup.device.type == "cuda":
            graphed = MapMaker(backbone, setup.precision)
            narrower = image[:, : image.shape[1] - 5]  # another size, of the same shape with its margin
            (alone,) = MapMaker(backbone, setup.precision, graphs=False)([narrower], (scale,))
            for _ in range(5):
                for shown, wanted in ((image, found), (narrower, alone)):
                    (again,) = graphed([shown], (scale,))
                    _that(torch.equal(again[scale], wanted[scale]), f"{name}: a graph's map")
        own = found[scale].cpu()
        (expected,) = MapMaker(backbone.to(CPU), "float32")([image], (scale,))
        _close(own, expected[scale], _BFLOAT_TOLERANCE, f"{name}: bfloat16 beside float32 on the CPU")


def check_company(setup: Setup) -> None:
    """Require equal bits of maps, pooled vectors and features whatever shares a batch with them."""
    images = [draw_image(0), draw_image(1), draw_image(2)[:300], draw_image(3), draw_image(4)]
    backbone = zf5_and_overfeat7(setup)["zf5"]
    maker = MapMaker(backbone, setup.precision, together=2)
    features = make_features(setup, backbone, "fc7", setup.scales)
    together = maker(images, setup.scales)
    own = []
    for number, image in enumerate(images):
        (alone,) = maker([image], setup.scales)
        for scale in setup.scales:
            _that(torch.equal(alone[scale], together[number][scale]), f"image {number}'s map at {scale}")
        own.append(_fc7(setup, features, [alone], [image], [number]))
    vectors = _fc7(setup, features, together, images, list(range(len(images))))
    _that(torch.equal(vectors, torch.cat(own)), "fc7 of the images' windows")


def check_suppression(setup: Setup) -> None:
    """Require the boxes that the CPU keeps, also where they lie on the threshold or score alike."""
    rng = np.random.default_rng(3)
    boxes = [windows_of(setup, seed) for seed in range(3)]
    windows = BatchWindows.of(boxes, [IMAGE] * 3, setup.device)
    scores = (rng.integers(-40, 20, (sum(map(len, boxes)), 7)) / 8).astype(np.float32)
    rules = Rules()
    chosen = best_windows(windows, upload(scores, setup.device), rules).cpu().numpy()
    start = 0
    for image, own in enumerate(boxes):
        for category in range(7):
            values = scores[start : start + len(own), category]
            rows = np.flatnonzero(values > rules.least)
            kept = nms_by_category(own[rows], values[rows], np.zeros(len(rows), int), rules.nms_iou, rules.per_image)
            found = chosen[image, category]
            _that(found[found >= 0].tolist() == rows[kept].tolist(), f"image {image}, category {category}")
        start += len(own)


def check_detections(setup: Setup) -> None:
    """Require the same detections again, alone and in company."""
    backbone = zf5_and_overfeat7(setup)["zf5"]
    files = image_files(setup)[: 2 * setup.batch + 1]
    features = make_features(setup, backbone, "fc7", setup.scales)
    svms, regressors = make_svms(setup, features), make_regressors(setup, backbone)
    found = [
        list(ImageDetector(MapMaker(backbone, setup.precision), features, svms, regressors, batch=batch)(files))
        for batch in (setup.batch, 1)
    ]
    for number, pair in enumerate(zip(*found, strict=True)):
        one, other = (cast("Detections", entry) for entry in pair)
        _that(isinstance(one, Detections) and len(one.category) > 0, f"image {number}: {one}")
        for name in ("category", "window", "scores", "regressed"):
            _that(np.array_equal(getattr(one, name), getattr(other, name)), f"image {number}: {name} alone")


def check_scores(setup: Setup) -> None:
    """Require the CPU's float32 scores of an image's windows within what bfloat16 allows."""
    found = []
    for device, precision in ((setup.device, setup.precision), (CPU, "float32")):
        own = replace(setup, device=device)
        backbone = zf5_and_overfeat7(own)["zf5"]
        features = replace(make_features(own, backbone, "fc7", setup.scales), precision=precision)
        maps = MapMaker(backbone, precision)([draw_image(0)], setup.scales)
        found.append(make_svms(own, features).scores(_fc7(own, features, maps, [draw_image(0)], [0])))
    _close(found[0], found[1].cpu(), 2 * _BFLOAT_TOLERANCE, "scores")


def check_classes(setup: Setup) -> None:
    """Require the CPU's float32 fc7 of whole images and of ten views on maps within what bfloat16 allows."""
    for views in ("full", "maps10"):
        found = []
        for device in (setup.device, CPU):
            classifier = make_classifier(replace(setup, device=device), "zf5", views, "fc7")
            own = classifier if device == setup.device else replace(classifier, precision="float32")
            found.append(torch.from_numpy(np.stack(own([own.prepare(draw_image(seed)) for seed in range(2)]))))
        _close(found[0], found[1], 2 * _BFLOAT_TOLERANCE, f"fc7 of images, {views}")


def _fc7(
    setup: Setup,
    features: WindowFeatures,
    maps: list[dict[int, torch.Tensor]],
    images: list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]],
    seeds: list[int],
) -> torch.Tensor:
    sizes = [Size.of(image) for image in images]
    limits = [np.array([*size, *size]) for size in sizes]
    boxes = [np.minimum(windows_of(setup, seed), limit) for seed, limit in zip(seeds, limits, strict=True)]
    pooled = features.pooled_batch(maps, BatchWindows.of(boxes, sizes, setup.device))
    return features.upper(pooled.vectors.flatten(1))[pooled.row_of]


def _cells(rng: np.random.Generator, size: Size, count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
    x0, y0 = rng.integers(0, size.width, count), rng.integers(0, size.height, count)
    ends = rng.integers(x0 + 1, size.width + 1), rng.integers(y0 + 1, size.height + 1)
    cells = np.stack([x0, y0, *ends], axis=1).astype(np.int32)
    cells[0] = 0, 0, *size
    return cells


def _close(found: torch.Tensor, expected: torch.Tensor, tolerance: float, what: str) -> None:
    scale = float(expected.float().abs().max())
    worst = float((found.cpu().float() - expected.float()).abs().max())
    _that(worst <= tolerance * scale, f"{what}: {worst} off where values go up to {scale}")


def _that(holds: bool, what: str) -> None:
    if not holds:
        raise AssertionError(what)


CHECKS: Mapping[str, Callable[[Setup], None]] = {
    function.__name__.removeprefix("check_"): function
    for function in (
        check_triton,
        check_pooling,
        check_windows,
        check_resizing,
        check_norm,
        check_maps,
        check_company,
        check_suppression,
        check_detections,
        check_scores,
        check_classes,
    )
}
"""Every check by name, in the order in which one rests on those before."""
