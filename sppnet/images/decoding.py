"""Image bytes to pixels.

Pixels stay as they are stored: EXIF orientation is *not* applied, since annotations (VOC, ILSVRC DET, COCO)
are boxes in the stored pixels. Alpha is dropped, not composited.
"""

from __future__ import annotations

import io
import re
import warnings
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from sppnet.arrays import Pixels
from sppnet.errors import DataError
from sppnet.outside import parsing
from sppnet.sizes import Size

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

FORMATS = ("JPEG", "PNG", "BMP", "WEBP")
"""The only formats that are tried; PIL's other fifty parsers never see the bytes."""

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_MAGICS = (_JPEG, _PNG, b"BM", b"RIFF")
_OTHERS = {
    re.compile(rb"GIF8[79]a"): "GIF",
    re.compile(rb"II\*\0|MM\0\*|II\+\0|MM\0\+"): "TIFF or a camera's raw file",
    re.compile(rb"(?s).{4}ftyp(?:avif|avis)"): "AVIF",
    re.compile(rb"(?s).{4}ftyp(?:he[a-z]{2}|mif1|msf1)"): "HEIC",
    re.compile(rb"\0\0\0\x0cjP {2}|\xff\x4f\xff\x51"): "JPEG 2000",
    re.compile(rb"\0\0\0\x0cJXL |\xff\x0a"): "JPEG XL",
}
"""How files of other formats begin, which people have among their images."""
_DIRECT_MODES = frozenset({"1", "L", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"})
_ALPHA_MODES = frozenset({"P", "PA", "LA"})
MAX_SCANS = 100
"""Most scans of a JPEG; encoders write 1 to 20."""
MAX_SCANNED_PIXELS = 1_200_000_000
"""Most pixels of a JPEG times its scans: each of them costs another pass, though it may have no more than ten bytes."""
MAX_PARTS = 100_000
"""Most segments of a JPEG before its pixels, each byte of padding among them counted, or chunks of a PNG: PIL's headers
are read in Python, so that some megabytes of empty ones would take a minute."""
_MARKER = re.compile(rb"\xff([^\x00\xff])", re.DOTALL)
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_START_OF_SCAN, _END = 0xDA, 0xD9
_STRIP_PIXELS = 1 << 22


def probe_size(data: bytes) -> Size:
    """Read an image's size in pixels from its header, without decoding it.

    Raises:
        DataError: `not-an-image`, `unsupported-format` (a HEIC or GIF, say), `truncated` (the header itself is cut), or
            `too-large` (beyond PIL's own limit), or `too-many-parts`.
    """
    with _open(data) as image:
        return Size(*image.size)


def decode_image(data: bytes, *, max_pixels: int = 64_000_000, min_side: int = 2) -> Pixels:
    """Decode a JPEG, PNG, BMP or WebP file to RGB, uint8 `[H, W, 3]`, in stored orientation.

    Grey, palette, CMYK, 16-bit (its high byte) and alpha images become RGB; of an animation the first frame counts.

    Args:
        data: the file's bytes.
        max_pixels: most pixels accepted; checked in the header, before anything is decoded.
        min_side: shortest side accepted, in pixels.

    Raises:
        DataError: `truncated` (cut short or damaged), `not-an-image`, `unsupported-format`, `too-large`, `too-small`,
            `unsupported-mode`, `too-many-scans`, `too-many-parts`.
        MemoryError: This machine has too little memory for the pixels; another may have it.
    """
    with _open(data) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise DataError("too-large", f"{width} x {height} pixels, the limit is {max_pixels} pixels")
        if min(width, height) < min_side:
            raise DataError("too-small", f"{width} x {height} pixels, each side needs {min_side}")
        _check_scans(data, image.size)
        damaged = f"{image.format} of {len(data)} bytes, cut or damaged"
        with parsing(lambda why: DataError("truncated", f"{damaged}: {why}"), bounded=True):
            image.load()
        return _to_rgb(image)


def decode_by_gpu(data: bytes, device: torch.device) -> torch.Tensor | None:
    """Decode a JPEG by nvJPEG: uint8 `[H, W, 3]` on the GPU, there when this returns.

    Its pixels are near those of `decode_image`, not the same. They are made in a stream of their own: those who use
    them in another one call `record_stream`.

    Args:
        data: the file's bytes.
        device: a GPU.

    Returns:
        The pixels, or None where the file is no plain JPEG or nvJPEG refuses it: `decode_image` decides then.
    """
    import torch
    from torchvision.io import ImageReadMode, decode_jpeg

    with _open(data) as image:
        if image.format != "JPEG" or image.mode not in ("RGB", "L"):
            return None
    values = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    stream = _decoding_stream(device)
    with torch.cuda.stream(stream):  # without a stream this does nothing
        try:
            planes = decode_jpeg(values, mode=ImageReadMode.RGB, device=device)
        except RuntimeError:  # damaged, or of a kind that nvJPEG does not know: told apart by the exact decoder
            return None
        found: torch.Tensor = planes.permute(1, 2, 0).contiguous()
        if stream is not None:
            stream.synchronize()
    return found


@cache
def _decoding_stream(device: torch.device) -> torch.cuda.Stream | None:
    """Return a stream whose memory no kernel works on when it is given to nvJPEG, None for a CPU.

    nvJPEG has a stream of its own, which waits for none of those that may still use the memory that it writes to. What
    is made in this stream is waited for before it is freed.
    """
    import torch

    return torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]


def _open(data: bytes) -> Image:
    """Parse the header of `data`."""
    from PIL import Image, UnidentifiedImageError

    _silence_pil()
    _check_parts(data)
    with parsing(lambda why: DataError("truncated", f"{len(data)} bytes with a damaged header: {why}")):
        try:
            return Image.open(io.BytesIO(data), formats=FORMATS)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise DataError("too-large", str(error)) from error
        except UnidentifiedImageError as error:
            other = next((name for mark, name in _OTHERS.items() if mark.match(data)), None)
            if other is not None:
                raise DataError(
                    "unsupported-format", f"{other}, which is not decoded; save it as one of {', '.join(FORMATS)}"
                ) from error
            reason = "truncated" if data.startswith(_MAGICS) else "not-an-image"
            raise DataError(reason, f"{len(data)} bytes, none of {', '.join(FORMATS)} with a whole header") from error


@cache
def _silence_pil() -> None:
    """Keep PIL from warning of large images: `max_pixels` decides about them."""
    from PIL import Image

    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def _check_parts(data: bytes) -> None:
    """Raise `DataError` `too-many-parts` for a JPEG or PNG whose header alone takes long."""
    if data.startswith(_JPEG):
        count = _count_segments(data)
    elif data.startswith(_PNG):
        count = _count_chunks(data)
    else:
        return
    if count > MAX_PARTS:
        raise DataError("too-many-parts", f"{len(data)} bytes with more than {MAX_PARTS} parts; save it anew")


def _count_segments(data: bytes) -> int:
    """Count a JPEG's segments before its first scan, and the bytes between them, as far as `MAX_PARTS`."""
    place, count = len(_JPEG) - 1, 0
    while count <= MAX_PARTS and place < len(data):
        window = min(len(data), place + MAX_PARTS + 2)  # what it takes to know that there are too many
        mark = _MARKER.search(data, place, window)
        count += (mark.start() if mark else window) - place + 1
        if mark is None or mark[1][0] == _START_OF_SCAN:
            break
        place = mark.end()
        if mark[1][0] not in _ALONE:
            place += int.from_bytes(data[place : place + 2], "big")
    return count


def _count_chunks(data: bytes) -> int:
    """Count a PNG's chunks, as far as `MAX_PARTS`."""
    place, count = len(_PNG), 0
    while count <= MAX_PARTS and place < len(data):
        place += int.from_bytes(data[place : place + 4], "big") + 12
        count += 1
    return count


def _check_scans(data: bytes, size: tuple[int, int]) -> None:
    """Raise `DataError` `too-many-scans` for a JPEG that is small and takes minutes."""
    most = min(MAX_SCANS, MAX_SCANNED_PIXELS // (size[0] * size[1]))
    if data.startswith(b"\xff\xd8") and data.count(b"\xff\xda") > most and count_scans(data) > most:
        raise DataError("too-many-scans", f"{count_scans(data)} scans of {size[0]} x {size[1]} pixels; save it anew")


def count_scans(data: bytes) -> int:
    """Count a JPEG's scans: not those of pictures in its segments, nor of others behind its end."""
    place = count = 0
    while (mark := _MARKER.search(data, place)) is not None and mark[1][0] != _END:
        place, kind = mark.end(), mark[1][0]
        if kind not in _ALONE:  # two bytes of its length, which they are part of
            place += int.from_bytes(data[place : place + 2], "big")
            count += kind == _START_OF_SCAN
    return count


def _to_rgb(image: Image) -> Pixels:
    """Turn a loaded PIL image of any mode that the allowed formats have into uint8 `[H, W, 3]`.

    A few rows at a time: a large image is in memory twice, not four times.
    """
    width, height = image.size
    rows = max(1, _STRIP_PIXELS // width)
    if rows >= height:
        return _strip_to_rgb(image)
    pixels = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        pixels[top:bottom] = _strip_to_rgb(image.crop((0, top, width, bottom)), image.format)
    return pixels


def _strip_to_rgb(image: Image, kind: str | None = None) -> Pixels:
    mode = image.mode
    if mode.startswith("I"):  # 16-bit grey: PIL's own conversion would clip at 255 instead of scaling
        grey = (np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if mode in _ALPHA_MODES:  # by way of RGBA: a palette with transparency warns otherwise
        image = image.convert("RGBA")
    elif mode not in _DIRECT_MODES:
        raise DataError("unsupported-mode", f"{kind or image.format} with pixel mode {mode!r}")
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))
