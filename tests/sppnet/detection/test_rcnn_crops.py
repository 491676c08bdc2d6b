from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sppnet.detection.rcnn_crops import CropFeatures, mean_colour, warp_windows
from sppnet.errors import ConfigError, DataError
from sppnet.images.network_input import SQUEEZENET_CAFFE, TORCHVISION, normalise_images
from sppnet.networks.backbones import Backbone, BackboneSpec, build_backbone
from sppnet.pooling.pyramid import Pyramid, pool_full_maps
from sppnet.sizes import Size

FILL = (1, 2, 3)


def gradient(height: int = 80, width: int = 120) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return np.stack([columns, rows, columns + rows], axis=2).astype(np.uint8)


def test_a_window_of_the_crops_own_size_is_copied() -> None:
    image = gradient()
    (crop,) = warp_windows(image, np.array([[10.0, 20.0, 50.0, 60.0]]), FILL, size=40, context=0)
    assert np.array_equal(crop, image[20:60, 10:50])


def test_context_shows_the_surroundings() -> None:
    """A window of 24 pixels in a crop of 40 with 8 of context: 8 pixels of the image on every side."""
    image = gradient()
    (crop,) = warp_windows(image, np.array([[30.0, 30.0, 54.0, 54.0]]), FILL, size=40, context=8)
    assert np.array_equal(crop, image[22:62, 22:62])


def test_what_lies_outside_is_filled() -> None:
    image = gradient()
    (crop,) = warp_windows(image, np.array([[0.0, 0.0, 24.0, 24.0]]), FILL, size=40, context=8)
    assert (crop[:8] == FILL).all()
    assert (crop[:, :8] == FILL).all()
    assert np.array_equal(crop[8:, 8:], image[:32, :32])


@given(
    x=st.floats(-30, 119),
    y=st.floats(-30, 79),
    width=st.floats(1, 200),
    height=st.floats(1, 200),
    context=st.integers(0, 16),
)
def test_every_crop_lies_between_the_images_values_and_the_fill(
    x: float, y: float, width: float, height: float, context: int
) -> None:
    image = np.full((80, 120, 3), 200, np.uint8)
    box = np.array([[x, y, x + width, y + height]])
    if x + width <= 1 or y + height <= 1:
        return
    (crop,) = warp_windows(image, box, (7, 7, 7), size=40, context=context)
    assert set(np.unique(crop)) <= {7, 200}
    assert 200 in crop


@pytest.mark.parametrize("box", [[5, 5, 5, 9], [9, 5, 5, 9], [200, 5, 220, 9], [float("nan"), 0, 5, 5]])
def test_a_window_without_pixels_is_bad(box: list[float]) -> None:
    with pytest.raises(DataError, match="has no pixel in an image of 120 x 80"):
        warp_windows(gradient(), np.array([box]), FILL, context=0)


def test_a_context_without_room_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="context: 20 pixels a side"):
        warp_windows(gradient(), np.zeros((0, 4)), FILL, size=40, context=20)


def test_the_fill_is_the_networks_mean() -> None:
    assert mean_colour(SQUEEZENET_CAFFE) == (123, 117, 104)
    assert mean_colour(TORCHVISION) == (124, 116, 104)


def crop_features(backbone: Backbone, levels: tuple[int, ...], batch: int = 64) -> CropFeatures:
    return CropFeatures(
        geometry=backbone.geometry,
        channels=backbone.channels,
        pyramid=Pyramid(levels),
        scales=(163,),
        backbone=backbone,
        context=8,
        batch=batch,
    )


def test_features_are_those_of_the_crops_one_by_one() -> None:
    torch.manual_seed(0)
    backbone = build_backbone(BackboneSpec("zf5", width=0.125)).eval()
    crops = crop_features(backbone, (3, 1), batch=2)
    image = np.random.default_rng(0).integers(0, 256, (90, 140, 3), dtype=np.uint8)
    windows = np.array([[0, 0, 140, 90], [10, 10, 60, 70], [100, 50, 140, 90], [3, 4, 30, 40], [20, 0, 90, 33]], float)
    found = crops({163: image}, Size.of(image), windows)
    assert found.shape == (5, crops.dimension) == (5, 10 * 32)
    fill = mean_colour(backbone.preprocessing)
    for row, window in zip(found, windows, strict=True):
        pixels = normalise_images(warp_windows(image, window[None], fill, 163, 8), backbone.preprocessing)
        with torch.inference_mode():
            expected = pool_full_maps(backbone(pixels).half().float(), Pyramid((3, 1))).flatten(1)[0]
        torch.testing.assert_close(row.float(), expected, rtol=2e-3, atol=1e-3)
    assert crops({163: image}, (140, 90), np.zeros((0, 4))).shape == (0, 320)


def test_values_that_are_not_finite_are_found() -> None:
    backbone = build_backbone(BackboneSpec("zf5", width=0.125)).eval()
    with torch.no_grad():
        next(backbone.parameters()).fill_(float("nan"))
    with pytest.raises(DataError, match="not finite"):
        crop_features(backbone, (1,))({163: gradient()}, (120, 80), np.array([[0.0, 0.0, 50.0, 50.0]]))
