"""A network's input: presets, resizing as OpenCV and torch do it, normalisation, the mean image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sppnet.errors import ConfigError
from sppnet.images import network_input
from sppnet.images.network_input import (
    CAFFE_128,
    SQUEEZENET_CAFFE,
    TORCHVISION,
    UNIT_128,
    Preprocessing,
    normalise_images,
    prepare_batch,
    prepare_image,
    resize_image,
)
from sppnet.pooling.scales import resized_size
from sppnet.sizes import Size


def picture(height: int = 12, width: int = 17) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_preprocessing_round_trip_and_table() -> None:
    for preset in (CAFFE_128, UNIT_128, SQUEEZENET_CAFFE, TORCHVISION):
        assert Preprocessing.from_dict(preset.to_dict()) == preset
    assert SQUEEZENET_CAFFE.table()[200].tolist() == [96.0, 83.0, 77.0]
    assert UNIT_128.table()[160].tolist() == [0.5, 0.5, 0.5]
    np.testing.assert_allclose(TORCHVISION.table()[255], [2.2489083, 2.4285715, 2.64], rtol=1e-6)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"channel_order": "grb", "mean": [0, 0, 0]}, "channel_order"),
        ({"channel_order": "rgb", "mean": [0, 0]}, "mean"),
        ({"channel_order": "rgb", "mean": [0, 0, float("nan")]}, "mean"),
        ({"channel_order": "rgb", "mean": 5}, "mean"),
        ({"channel_order": "rgb", "mean": [0, 0, 0], "std": [1, 0, 1]}, "std"),
        ({"channel_order": "rgb"}, "mean: missing"),
        ({"channel_order": "rgb", "mean": [0, 0, 0], "sdt": [1, 1, 1]}, "sdt: unknown"),
    ],
)
def test_wrong_preprocessing_is_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Preprocessing.from_dict(values)


def test_prepare_reorders_and_subtracts() -> None:
    image = np.zeros((20, 30, 3), dtype=np.uint8)
    image[...] = (10, 20, 30)
    tensor = prepare_image(image, 40, SQUEEZENET_CAFFE)
    assert tensor.shape == (1, 3, *resized_size(Size(30, 20), 40).hw)
    assert tensor.is_contiguous(memory_format=torch.channels_last)
    assert tensor[0, :, 5, 7].tolist() == [30 - 104, 20 - 117, 10 - 123]


@settings(max_examples=40)
@given(height=st.integers(2, 60), width=st.integers(2, 60), scale=st.integers(2, 90), seed=st.integers(0, 2**32 - 1))
def test_opencv_and_torch_resize_within_one_grey_level(height: int, width: int, scale: int, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    size = resized_size(Size(width, height), scale)
    ours = resize_image(image, size).astype(np.float32)
    other = network_input._resize_torch(torch.from_numpy(image)[None], size)[0].permute(1, 2, 0).numpy()
    assert ours.shape == other.shape == (*size.hw, 3)
    assert np.abs(ours - other).max() <= 1.0


def test_a_batch_is_its_images_one_by_one() -> None:
    images = np.stack([picture(40, 30), picture(40, 30)[::-1]])
    batch = prepare_batch(torch.from_numpy(images.copy()), 48, TORCHVISION)
    assert batch.shape == (2, 3, 64, 48)
    assert batch.is_contiguous(memory_format=torch.channels_last)
    for image, prepared in zip(images, batch, strict=True):
        # A grey level is 1 / 57 in the network's units.
        torch.testing.assert_close(prepared, prepare_image(image, 48, TORCHVISION)[0], atol=1 / 57, rtol=0)


@pytest.mark.parametrize("preset", [CAFFE_128, TORCHVISION])
def test_both_devices_normalise_alike(preset: Preprocessing) -> None:
    batch = np.random.default_rng(0).integers(0, 256, (2, 9, 11, 3), dtype=np.uint8)
    ours = normalise_images(batch, preset)
    other = network_input._normalise_torch(torch.from_numpy(batch).permute(0, 3, 1, 2).float(), preset, torch.float32)
    assert ours.shape == (2, 3, 9, 11)
    torch.testing.assert_close(ours, other)


@pytest.mark.parametrize("preset", [CAFFE_128, UNIT_128, TORCHVISION])
def test_mean_image_replaces_the_constant_mean(preset: Preprocessing) -> None:
    batch = np.random.default_rng(0).integers(0, 256, (2, 9, 11, 3), dtype=np.uint8)
    flat = torch.tensor(preset.mean)[:, None, None].expand(3, 4, 5)  # warped, a constant stays what it is
    constant = normalise_images(batch, preset)
    torch.testing.assert_close(normalise_images(batch, preset, mean_image=flat), constant, rtol=1e-5, atol=1e-4)
    mean = torch.from_numpy(np.random.default_rng(1).uniform(0, 255, (3, 9, 11)).astype(np.float32))
    ours = normalise_images(batch, preset, mean_image=mean)
    pixels = torch.from_numpy(batch).permute(0, 3, 1, 2).double()
    ordered = pixels.flip(1) if preset.channel_order == "bgr" else pixels
    expected = (ordered - mean) / torch.tensor(preset.std, dtype=torch.float64).view(1, 3, 1, 1)
    torch.testing.assert_close(ours.double(), expected, rtol=1e-5, atol=1e-4)
    other = network_input._normalise_torch(pixels.float(), preset, torch.float32, mean)
    torch.testing.assert_close(ours, other)
    assert ours.is_contiguous(memory_format=torch.channels_last)


def test_mean_image_is_warped_bilinearly() -> None:
    mean = torch.zeros(3, 2, 2)
    mean[:, :, 1] = 80.0
    plain = Preprocessing("rgb", (0, 0, 0))
    row = normalise_images(np.full((1, 2, 4, 3), 100, np.uint8), plain, mean_image=mean)[0, 0, 0]
    assert row.tolist() == [100, 80, 40, 20]  # a column's centre lies at 0.5, 1.5 ... of 4 against 1, 3 of the mean's
    image = np.full((10, 20, 3), 100, np.uint8)
    prepared = prepare_image(image, 2, plain, mean_image=mean)
    assert prepared.shape == (1, 3, 2, 4)
    assert prepared[0, 2, 1].tolist() == [100, 80, 40, 20]


def test_no_antialiasing() -> None:
    stripes = np.zeros((64, 64, 3), dtype=np.uint8)
    stripes[:, ::8] = 255  # every eighth column: an antialiased reduction by 8 would make it grey 32
    reduced = prepare_image(stripes, 8, Preprocessing("rgb", (0, 0, 0)))
    assert reduced.max() == 0  # samples fall between columns 3 and 4 of each eight


def test_dtype_and_image_untouched() -> None:
    image = picture(20, 20)
    tensor = prepare_image(image, 20, CAFFE_128, dtype=torch.bfloat16)
    assert tensor.dtype == torch.bfloat16
    assert tensor[0, 0].to(torch.float32).numpy().tolist() == (image[:, :, 2].astype(np.float32) - 128).tolist()
    np.testing.assert_array_equal(image, picture(20, 20))


@pytest.mark.gpu
def test_gpu_input_is_the_cpu_input_within_one_grey_level() -> None:
    image = picture(333, 500)
    gpu = prepare_image(image, 480, CAFFE_128, "cuda").cpu()
    cpu = prepare_image(image, 480, CAFFE_128)
    assert (gpu - cpu).abs().max() <= 1.0
