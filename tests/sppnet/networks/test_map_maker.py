"""MapMaker: equal to the plain convolutions, and independent of what is convolved beside."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sppnet.errors import DataError
from sppnet.images.network_input import prepare_image
from sppnet.networks.backbones import BackboneSpec, build_backbone
from sppnet.networks.map_maker import MapMaker, require_finite_map

SCALES = (96, 160)


def drawn(seed: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def backbone():
    torch.manual_seed(0)
    return build_backbone(BackboneSpec("zf5", width=0.125)).eval()


def test_maps_are_the_convolutions(backbone) -> None:
    image = drawn(0, 120, 90)
    maker = MapMaker(backbone, "float32", "float32")
    (found,) = maker([image], SCALES)
    for scale in SCALES:
        with torch.inference_mode():
            plain = backbone(prepare_image(image, scale, backbone.preprocessing))[0].permute(1, 2, 0)
        assert found[scale].shape == plain.shape
        assert found[scale].is_contiguous()
        torch.testing.assert_close(found[scale], plain, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_company_changes_no_bit(backbone, precision) -> None:
    maker = MapMaker(backbone, precision)
    images = [drawn(seed, *shape) for seed, shape in enumerate([(100, 140), (100, 140), (130, 100), (100, 140)])]
    together = maker(images, SCALES)
    for image, maps in zip(images, together, strict=True):
        (alone,) = maker([image], SCALES)
        for scale in SCALES:
            assert torch.equal(alone[scale], maps[scale])
            assert maps[scale].dtype == torch.float16


def test_flipped_is_the_mirrored_image(backbone) -> None:
    image = drawn(3, 100, 131)
    maker = MapMaker(backbone)
    (flipped,) = maker([image], SCALES, flipped=True)
    (mirrored,) = maker([image[:, ::-1]], SCALES)
    assert all(torch.equal(flipped[scale], mirrored[scale]) for scale in SCALES)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_is_told(bad) -> None:
    values = torch.zeros(4, 5, 3)
    require_finite_map(values, 96)
    values[2, 1, 0] = bad
    with pytest.raises(DataError, match="at scale 96") as error:
        require_finite_map(values, 96)
    assert error.value.reason == "nan-features"
