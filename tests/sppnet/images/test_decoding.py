"""Decoding: every mode to RGB, and every kind of damage to its reason."""

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

from sppnet.errors import DataError
from sppnet.images import decoding
from sppnet.images.decoding import count_scans, decode_by_gpu, decode_image, probe_size


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
        assert why in {"truncated", "not-an-image", "too-large", "too-small", "unsupported-mode", "unsupported-format"}
    else:
        assert len(shape) == 3
        assert shape[2] == 3


@pytest.mark.parametrize("data", [b"", b"hello, this is no image", b"GIF88a" + b"\0" * 40, b"%PDF-1.7\n"])
def test_other_bytes_are_not_an_image(data: bytes) -> None:
    assert reason(data) == "not-an-image"


def test_gif_is_not_tried() -> None:
    for kind in ("GIF", "TIFF"):
        with pytest.raises(DataError, match=r"^unsupported-format: .*, which is not decoded; save it as one of JPEG"):
            decode_image(encode(picture(), kind))
    for begin in (b"\0\0\0\x18ftypheic", b"\0\0\0\x1cftypavif", b"\0\0\0\x0cjP  \r\n", b"\xff\x0a"):
        assert reason(begin + bytes(20)) == "unsupported-format"


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


@pytest.mark.filterwarnings("ignore:The image decoding and encoding:DeprecationWarning")
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_jpegs_by_torchvision_where_it_takes_them(mode: str) -> None:
    """On the CPU, whose decoder is the same library's; a GPU's pixels are only near."""
    data = encode(picture(30, 41), "JPEG", mode)
    found = decode_by_gpu(data, torch.device("cpu"))
    assert found is not None
    assert found.is_contiguous()
    np.testing.assert_array_equal(found.numpy(), decode_image(data))


@pytest.mark.filterwarnings("ignore:The image decoding and encoding:DeprecationWarning")
def test_what_torchvision_does_not_take_is_left_to_the_exact_decoder() -> None:
    whole = encode(picture(30, 41), "JPEG")
    others = [encode(picture(), "PNG"), encode(picture(), "JPEG", "CMYK"), whole[: len(whole) // 2]]
    assert [decode_by_gpu(data, torch.device("cpu")) for data in others] == [None, None, None]
    with pytest.raises(DataError, match="not-an-image"):
        decode_by_gpu(b"no image", torch.device("cpu"))


MODES = ["RGB", "L", "1", "P", "RGBA", "LA", "I;16"]


@pytest.mark.parametrize("mode", MODES)
def test_a_large_image_is_converted_by_strips_to_the_same_pixels(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if mode == "I;16":
        data = encode((picture(31, 9)[:, :, 0].astype(np.uint16) * 257), "PNG")
    else:
        data = encode(picture(31, 9), "PNG", mode)
    whole = decode_image(data)
    monkeypatch.setattr(decoding, "_STRIP_PIXELS", 40)  # 4 rows, and 3 at the end
    np.testing.assert_array_equal(decode_image(data), whole)


def with_scans(more: int, height: int = 30, width: int = 41) -> bytes:
    """A progressive JPEG whose last scan comes so many times more."""
    data = encode(picture(height, width), "JPEG", progressive=True)
    start = data.rindex(b"\xff\xda")
    return data[:start] + data[start:-2] * (more + 1) + data[-2:]


def test_scans_are_counted_in_the_picture_alone() -> None:
    usual = count_scans(with_scans(0))
    assert usual == encode(picture(30, 41), "JPEG", progressive=True).count(b"\xff\xda") > 5
    assert count_scans(with_scans(70)) == usual + 70
    assert count_scans(encode(picture(), "JPEG")) == 1
    assert count_scans(with_scans(3) + with_scans(90)) == usual + 3  # what is behind the end
    data = with_scans(0)
    thumbnail = b"\xff\xe1" + (2 + 60_000).to_bytes(2, "big") + b"\xff\xda" * 30_000
    assert count_scans(data[:2] + thumbnail + data[2:]) == usual
    assert decode_image(data[:2] + thumbnail + data[2:]).shape == (30, 41, 3)
    assert [count_scans(data) for data in (b"", b"\xff", b"\xff\xd8\xff\xda")] == [0, 0, 1]


def test_a_jpeg_of_too_many_scans_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert decode_image(with_scans(80)).shape == (30, 41, 3)
    assert reason(with_scans(100)) == "too-many-scans"
    monkeypatch.setattr(decoding, "MAX_SCANNED_PIXELS", 20 * 30 * 41)
    assert decode_image(with_scans(0)).shape == (30, 41, 3)
    assert reason(with_scans(20)) == "too-many-scans"


def test_a_machine_without_memory_quarantines_no_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its key would be missing from the artifact, though the image is good."""
    data = encode(picture(), "PNG")

    def short(image: Image.Image) -> None:
        raise MemoryError

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", short)
    with pytest.raises(MemoryError):
        decode_image(data)


def test_a_header_of_too_many_parts_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    jpeg, png = encode(picture(), "JPEG"), encode(picture(), "PNG")
    text = struct.pack(">I", 3) + b"tEXt" + b"a\0b" + struct.pack(">I", zlib.crc32(b"tEXta\0b"))

    def padded(times: int) -> list[bytes]:
        return [
            jpeg[:2] + b"\xff" * times + jpeg[2:],
            jpeg[:2] + b"\xff\0" * (times // 2) + jpeg[2:],
            jpeg[:2] + b"\xff\xe3\0\2" * times + jpeg[2:],
            png[:33] + text * times + png[33:],
        ]

    monkeypatch.setattr(decoding, "MAX_PARTS", 1000)
    for data in padded(980):
        assert decode_image(data).shape == (12, 17, 3)
    monkeypatch.setattr("PIL.Image.open", None)
    for data in (*padded(1001), jpeg[:2] + b"\xff" * 5_000_000 + b"\0"):
        assert reason(data) == "too-many-parts"
        with pytest.raises(DataError, match="more than 1000 parts; save it anew"):
            probe_size(data)


def test_scans_are_counted_in_linear_time_however_long_the_padding() -> None:
    """Of 5 MB of padding that leads to no marker each byte was tried to the end: for hours."""
    scans = b"\xff\xda\0\2" * 3
    assert count_scans(b"\xff\xd8" + b"\xff" * 5_000_000 + b"\0" + scans) == 3
    assert count_scans(b"\xff\xd8" + b"\xff" * 9 + scans[1:]) == 3
