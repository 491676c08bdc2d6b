from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sppnet.errors import ConfigError, DataError
from sppnet.images import pixels as images
from sppnet.images.pixels import (
    CAFFE_128,
    SQUEEZENET_CAFFE,
    TORCHVISION,
    UNIT_128,
    Preprocessing,
    decode_image,
    normalise_images,
    prepare_image,
    probe_size,
)
from sppnet.pooling.scales import resized_shape


def encode(array: np.ndarray, kind: str, mode: str | None = None, **options: object) -> bytes:
    image = Image.fromarray(array) if mode is None else Image.fromarray(array).convert(mode)
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def picture(height: int = 12, width: int = 17) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")
    )


def reason(data: bytes, **options: int) -> str:
    with pytest.raises(DataError) as caught:
        decode_image(data, **options)
    return caught.value.reason


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_lossless_formats_give_the_same_pixels(kind: str) -> None:
    decoded = decode_image(encode(picture(), kind))
    assert decoded.dtype == np.uint8
    assert decoded.flags.writeable
    np.testing.assert_array_equal(decoded, picture())


def test_lossless_webp_gives_the_same_pixels() -> None:
    np.testing.assert_array_equal(decode_image(encode(picture(), "WEBP", lossless=True)), picture())


def test_probe_size_is_width_then_height() -> None:
    assert probe_size(encode(picture(12, 17), "JPEG")) == (17, 12)


def test_grey_is_repeated() -> None:
    grey = picture()[:, :, 0]
    np.testing.assert_array_equal(decode_image(encode(grey, "PNG")), np.stack([grey] * 3, axis=2))


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    deep = (np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000).astype(np.uint16)
    np.testing.assert_array_equal(decode_image(encode(deep, "PNG"))[:, :, 1], deep >> 8)


def test_palette_with_transparency_gives_its_colours_without_a_warning() -> None:
    image = Image.new("P", (3, 2), 1)
    image.putpalette([10, 20, 30, 200, 100, 50])
    stream = io.BytesIO()
    image.save(stream, "PNG", transparency=b"\xff\x00")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        decoded = decode_image(stream.getvalue())
    assert decoded.tolist() == [[[200, 100, 50]] * 3] * 2


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_dropped(mode: str) -> None:
    image = Image.new(mode, (4, 3), (70, 80, 90, 5) if mode == "RGBA" else (70, 5))
    stream = io.BytesIO()
    image.save(stream, "PNG")
    assert decode_image(stream.getvalue())[1, 2].tolist() == ([70, 80, 90] if mode == "RGBA" else [70, 70, 70])


def test_one_bit_image_is_black_and_white() -> None:
    bits = np.array([[0, 255, 0], [255, 255, 0]], dtype=np.uint8)
    assert decode_image(encode(bits, "PNG", "1"))[:, :, 2].tolist() == bits.tolist()


def test_cmyk_jpeg_becomes_rgb() -> None:
    stream = io.BytesIO()
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(stream, "JPEG", quality=95)
    red, green, blue = decode_image(stream.getvalue())[8, 8].tolist()
    assert red > 245
    assert max(green, blue) < 10


def test_exif_orientation_is_not_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(picture(12, 17), "JPEG", exif=exif)
    assert decode_image(data).shape == (12, 17, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
def test_every_truncation_is_a_data_error(kind: str) -> None:
    data = encode(picture(), kind)
    whole = decode_image(data)
    reasons = set()
    for length in range(0, len(data), max(1, len(data) // 200)):
        try:
            np.testing.assert_array_equal(decode_image(data[:length]), whole)
            assert length > len(data) - 24  # only checksums and the end marker may go
        except DataError as error:
            reasons.add(error.reason)
    assert reasons == {"truncated", "not-an-image"}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_file_cut_in_half_is_truncated(kind: str) -> None:
    data = encode(picture(60, 60), kind)
    assert reason(data[: len(data) // 2]) == "truncated"


@settings(max_examples=150)
@given(st.data())
def test_damaged_bytes_decode_or_raise_a_data_error(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["JPEG", "PNG", "WEBP", "BMP"]))
    damaged = bytearray(encode(picture(), kind))
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    shape, why = None, None
    try:
        shape = decode_image(bytes(damaged), max_pixels=100_000).shape
    except DataError as error:
        why = error.reason
    if shape is None:
        assert why in {"truncated", "not-an-image", "too-large", "too-small", "unsupported-mode"}
    else:
        assert len(shape) == 3
        assert shape[2] == 3


@pytest.mark.parametrize("data", [b"", b"hello, this is no image", b"GIF89a" + b"\0" * 40, b"%PDF-1.7\n"])
def test_other_bytes_are_not_an_image(data: bytes) -> None:
    assert reason(data) == "not-an-image"


def test_gif_is_not_tried() -> None:
    assert reason(encode(picture(), "GIF")) == "not-an-image"


def test_bomb_is_refused_from_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import PngImagePlugin

    def loaded(self: object) -> None:
        raise AssertionError("decoded a bomb")

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", loaded)
    assert reason(png_header(8001, 8000)) == "too-large"
    assert reason(png_header(60_000, 60_000)) == "too-large"  # beyond PIL's own limit
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert reason(png_header(10_000, 10_000)) == "too-large"  # where PIL only warns


def test_max_pixels_is_inclusive() -> None:
    data = encode(picture(12, 17), "PNG")
    assert decode_image(data, max_pixels=12 * 17).shape == (12, 17, 3)
    assert reason(data, max_pixels=12 * 17 - 1) == "too-large"


def test_too_small() -> None:
    data = encode(picture(1, 17), "PNG")
    assert reason(data) == "too-small"
    assert decode_image(data, min_side=1).shape == (1, 17, 3)


def test_real_photographs(shared: Path) -> None:
    folder = shared / "data/voc07/VOCdevkit/VOC2007/JPEGImages"
    for path in sorted(folder.glob("*.jpg"))[:5]:
        data = path.read_bytes()
        width, height = probe_size(data)
        decoded = decode_image(data)
        assert decoded.shape == (height, width, 3)
        with Image.open(path) as image:
            np.testing.assert_array_equal(decoded, np.asarray(image))


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
    assert tensor.shape == (1, 3, *resized_shape((20, 30), 40))
    assert tensor.is_contiguous(memory_format=torch.channels_last)
    assert tensor[0, :, 5, 7].tolist() == [30 - 104, 20 - 117, 10 - 123]


@settings(max_examples=40)
@given(height=st.integers(2, 60), width=st.integers(2, 60), scale=st.integers(2, 90), seed=st.integers(0, 2**32 - 1))
def test_opencv_and_torch_resize_within_one_grey_level(height: int, width: int, scale: int, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    shape = resized_shape((height, width), scale)
    ours = images._resize_cv2(image, shape).astype(np.float32)
    other = images._resize_torch(torch.from_numpy(image), shape)[0].permute(1, 2, 0).numpy()
    assert ours.shape == other.shape == (*shape, 3)
    assert np.abs(ours - other).max() <= 1.0


@pytest.mark.parametrize("preset", [CAFFE_128, TORCHVISION])
def test_both_devices_normalise_alike(preset: Preprocessing) -> None:
    batch = np.random.default_rng(0).integers(0, 256, (2, 9, 11, 3), dtype=np.uint8)
    ours = normalise_images(batch, preset)
    other = images._normalise_torch(torch.from_numpy(batch).permute(0, 3, 1, 2).float(), preset, torch.float32)
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
    other = images._normalise_torch(pixels.float(), preset, torch.float32, mean)
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


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_input_is_the_cpu_input_within_one_grey_level() -> None:
    image = picture(333, 500)
    gpu = prepare_image(image, 480, CAFFE_128, "cuda").cpu()
    cpu = prepare_image(image, 480, CAFFE_128)
    assert (gpu - cpu).abs().max() <= 1.0
