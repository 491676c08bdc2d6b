"""Image bytes to pixels.

Pixels stay as they are stored: EXIF orientation is *not* applied, since annotations (VOC, ILSVRC DET, COCO)
are boxes in the stored pixels. Alpha is dropped, not composited.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from sppnet.arrays import Pixels
from sppnet.errors import DataError
from sppnet.sizes import Size

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

FORMATS = ("JPEG", "PNG", "BMP", "WEBP")
"""The only formats that are tried; PIL's other fifty parsers never see the bytes."""

_MAGICS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"RIFF")
_DIRECT_MODES = frozenset({"1", "L", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"})
_ALPHA_MODES = frozenset({"P", "PA", "LA"})
# What PIL's parsers raise on damaged bytes, found by fuzzing; anything else is a bug and must surface.
_PARSE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, OverflowError)
_DECODE_ERRORS = (*_PARSE_ERRORS, struct.error, zlib.error)


def probe_size(data: bytes) -> Size:
    """Read an image's size in pixels from its header, without decoding it.

    Raises:
        DataError: `not-an-image`, `truncated` (the header itself is cut), or `too-large` (beyond PIL's own limit).
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
        DataError: `truncated` (cut short or damaged), `not-an-image`, `too-large`, `too-small`, `unsupported-mode`.
    """
    with _open(data) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise DataError("too-large", f"{width} x {height} pixels, the limit is {max_pixels} pixels")
        if min(width, height) < min_side:
            raise DataError("too-small", f"{width} x {height} pixels, each side needs {min_side}")
        try:
            image.load()
        except _DECODE_ERRORS as error:
            raise DataError("truncated", f"{image.format} of {len(data)} bytes, cut or damaged: {error}") from error
        return _to_rgb(image)


def decode_by_gpu(data: bytes, device: torch.device) -> torch.Tensor | None:
    """Decode a JPEG by nvJPEG: uint8 `[H, W, 3]` on the GPU, there when this returns.

    Its pixels are near those of `decode_image`, not the same.

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
    try:
        found: torch.Tensor = decode_jpeg(values, mode=ImageReadMode.RGB, device=device).permute(1, 2, 0).contiguous()
    except RuntimeError:  # damaged, or of a kind that nvJPEG does not know: told apart by the exact decoder
        return None
    if found.is_cuda:
        torch.cuda.current_stream(device).synchronize()
    return found


def _open(data: bytes) -> Image:
    """Parse the header of `data`."""
    from PIL import Image, UnidentifiedImageError

    _silence_pil()
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError("too-large", str(error)) from error
    except UnidentifiedImageError as error:
        reason = "truncated" if data.startswith(_MAGICS) else "not-an-image"
        raise DataError(reason, f"{len(data)} bytes, none of {', '.join(FORMATS)} with a whole header") from error
    except _DECODE_ERRORS as error:
        raise DataError("truncated", f"{len(data)} bytes with a damaged header: {error}") from error


@cache
def _silence_pil() -> None:
    """Keep PIL from warning of large images: `max_pixels` decides about them."""
    from PIL import Image

    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def _to_rgb(image: Image) -> Pixels:
    """Turn a loaded PIL image of any mode that the allowed formats have into uint8 `[H, W, 3]`."""
    mode = image.mode
    if mode.startswith("I"):  # 16-bit grey: PIL's own conversion would clip at 255 instead of scaling
        grey = (np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if mode in _ALPHA_MODES:  # by way of RGBA: a palette with transparency warns otherwise
        image = image.convert("RGBA")
    elif mode not in _DIRECT_MODES:
        raise DataError("unsupported-mode", f"{image.format} with pixel mode {mode!r}")
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))
