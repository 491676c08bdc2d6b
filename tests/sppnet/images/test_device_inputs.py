"""A network's inputs made on a device, here the CPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sppnet.images.device_inputs import DeviceInputs
from sppnet.images.network_input import CAFFE_128, TORCHVISION, Preprocessing, prepare_image
from sppnet.sizes import Size


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("preprocessing", [CAFFE_128, TORCHVISION])
def test_lie_in_a_margin_of_zeros(preprocessing: Preprocessing) -> None:
    image = picture(20, 31)
    size = Size(47, 30)
    found = DeviceInputs(preprocessing)(torch.from_numpy(image)[None], size, Size(50, 33), 8, torch.float32)
    assert found.shape == (1, 8, 33, 50)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert not found[:, 3:].any()
    assert not found[:, :, 30:].any()
    assert not found[:, :, :, 47:].any()
    off = (found[:, :3, :30, :47] - prepare_image(image, 30, preprocessing)).abs()
    assert float((off * torch.tensor(preprocessing.std).view(1, 3, 1, 1)).max()) < 1.01


def test_a_mean_image_is_subtracted_from_the_image_alone() -> None:
    image = np.full((20, 20, 3), 100, np.uint8)
    found = DeviceInputs(CAFFE_128, torch.full((3, 4, 4), 90.0))(
        torch.from_numpy(image)[None], Size(20, 20), Size(24, 20), 3, torch.float32
    )
    assert found[0, 0, 0].tolist() == [10.0] * 20 + [0.0] * 4
