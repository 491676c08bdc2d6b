"""Files to detections: the same as its steps one image at a time."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from sppnet.boxes import decode_boxes
from sppnet.detection.ensemble import Rules, ScoredWindows, choose_windows
from sppnet.detection.features import WindowFeatures
from sppnet.detection.image_detector import Detections, ImageDetector, WindowedFile
from sppnet.detection.regression import BoxRegressor, BoxRegressors
from sppnet.detection.svm import LinearSvms
from sppnet.errors import ConfigError, DataError
from sppnet.images.decoding import decode_image
from sppnet.networks.backbones import BackboneSpec, build_backbone
from sppnet.networks.map_maker import MapMaker
from sppnet.networks.network import FcHead
from sppnet.pooling.pyramid import Pyramid
from sppnet.sizes import Size

SCALES = (96, 144)
CATEGORIES = ("a", "b", "c")
RULES = Rules(threshold=0.0, nms_iou=0.3, per_image=4)


def file_of(seed: int, width: int, height: int, count: int) -> WindowedFile:
    rng = np.random.default_rng(seed)
    pixels = np.repeat(np.repeat(rng.integers(0, 256, (height // 10, width // 10, 3), dtype=np.uint8), 10, 0), 10, 1)
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "JPEG")
    corner = rng.integers(0, [width - 40, height - 40], (count, 2))
    return WindowedFile(data.getvalue(), np.concatenate([corner, corner + rng.integers(10, 40, (count, 2))], axis=1))


@pytest.fixture(scope="module")
def parts():
    torch.manual_seed(0)
    backbone = build_backbone(BackboneSpec("zf5", width=0.125)).eval()
    pyramid = Pyramid()
    maker = MapMaker(backbone)
    head = FcHead(pyramid.bins * backbone.channels, (24, 16), 4).eval()
    features = WindowFeatures(backbone.geometry, backbone.channels, pyramid, SCALES, "fc7", head=head)
    rng = np.random.default_rng(0)
    svms = LinearSvms(rng.standard_normal((3, 16)).astype(np.float32), np.zeros(3, np.float32), CATEGORIES, 3.0, "fc7")
    own = [
        BoxRegressor(
            (rng.standard_normal((pyramid.bins * backbone.channels + 1, 4)) / 2000).astype(np.float32),
            rng.standard_normal(4) / 100,
            np.eye(4) + rng.standard_normal((4, 4)) / 10,
        )
        for _ in CATEGORIES
    ]
    return maker, features, svms, BoxRegressors(CATEGORIES, tuple(own))


def one_by_one(parts, file: WindowedFile) -> Detections:
    maker, features, svms, regressors = parts
    pixels = decode_image(file.data)
    windows = file.windows.astype(np.float32)
    (maps,) = maker([pixels], SCALES)
    pooled = features.pooled_tensors(maps, Size.of(pixels), windows)
    scores = svms.scores(features.upper(pooled)).numpy()
    chosen = choose_windows([ScoredWindows(windows, scores)], RULES.threshold, RULES.nms_iou, RULES.per_image)
    rows = pooled[torch.from_numpy(chosen.window).long()]
    deltas = [regressors.regressors[c].deltas(row[None])[0] for c, row in zip(chosen.category, rows, strict=True)]
    boxes = decode_boxes(windows[chosen.window], np.reshape(deltas, (-1, 4)), Size.of(pixels))
    return Detections(chosen.category, chosen.window, chosen.scores, boxes.astype(np.float32))


def test_detections_are_those_of_the_steps(parts) -> None:
    files = [file_of(0, 120, 90, 30), file_of(1, 90, 130, 0), file_of(2, 120, 90, 25), file_of(3, 150, 100, 12)]
    found = list(ImageDetector(*parts, rules=RULES, batch=3, threads=2)(files))
    assert len(found) == 4
    total = 0
    for file, ours in zip(files, found, strict=True):
        wanted = one_by_one(parts, file)
        assert isinstance(ours, Detections)
        assert ours.category.tolist() == wanted.category.tolist()
        assert ours.window.tolist() == wanted.window.tolist()
        np.testing.assert_allclose(ours.scores, wanted.scores, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(ours.regressed, wanted.regressed, atol=1e-3)
        total += len(ours.category)
    assert total > 10


def test_without_regressors_and_windows(parts) -> None:
    maker, features, svms, _ = parts
    files = [file_of(0, 120, 90, 5), file_of(1, 90, 120, 0)]
    first, second = ImageDetector(maker, features, svms, rules=RULES)(files)
    assert isinstance(first, Detections)
    assert np.isnan(first.regressed).all()
    assert len(first.category) > 0
    (alone,) = ImageDetector(maker, features, svms, rules=RULES)(files[1:])
    for none in (second, alone):
        assert isinstance(none, Detections)
        assert none.regressed.shape == (0, 4)
    assert list(ImageDetector(maker, features, svms)([])) == []


def test_what_cant_be_used_is_told_in_its_place(parts) -> None:
    good = file_of(0, 120, 90, 8)
    files = [
        WindowedFile(b"no image", good.windows),
        good,
        WindowedFile(good.data, good.windows * np.nan),
        WindowedFile(good.data[: len(good.data) // 2], good.windows),
        good,
    ]
    found = list(ImageDetector(*parts, rules=RULES, batch=2)(files))
    reasons = [one.reason if isinstance(one, DataError) else "" for one in found]
    assert reasons == ["not-an-image", "", "bad-window", "truncated", ""]
    assert found[1].scores.tolist() == found[4].scores.tolist()
    (long,) = ImageDetector(*parts, rules=RULES, max_pixels=20_000)([good])
    assert isinstance(long, DataError)
    assert long.reason == "too-large"


def test_scores_that_are_not_finite_set_their_image_aside(parts) -> None:
    maker, features, svms, _ = parts
    weights = svms.weights.copy()
    weights[1, 0] = np.inf
    broken = LinearSvms(weights, svms.biases, CATEGORIES, 3.0, "fc7")
    (found,) = ImageDetector(maker, features, broken, rules=RULES)([file_of(0, 120, 90, 8)])
    assert isinstance(found, DataError)
    assert found.reason == "nan-features"


def test_what_does_not_fit_is_refused(parts) -> None:
    maker, features, svms, regressors = parts
    other = BoxRegressors(("a", "b", "d"), regressors.regressors)
    with pytest.raises(ConfigError, match="other categories"):
        ImageDetector(maker, features, svms, other)
    with pytest.raises(ConfigError, match="fc6"):
        ImageDetector(maker, features, svms, regressors, regressor_layer="fc6")
    with pytest.raises(ConfigError, match="at least 1"):
        ImageDetector(maker, features, svms, batch=0)
