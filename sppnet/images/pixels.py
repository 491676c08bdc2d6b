"""Image bytes to pixels, and pixels to a network's input at one scale.

Pixels stay as they are stored: EXIF orientation is *not* applied, since annotations (VOC, ILSVRC DET, COCO)
are boxes in the stored pixels. Alpha is dropped, not composited.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import torch
from torch.nn import functional as F

from sppnet.errors import ConfigError, DataError
from sppnet.pooling.scales import resized_shape

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

FORMATS = ("JPEG", "PNG", "BMP", "WEBP")
"""The only formats that are tried; PIL's other fifty parsers never see the bytes."""

_MAGICS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"RIFF")
_DIRECT_MODES = frozenset({"1", "L", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"})
_ALPHA_MODES = frozenset({"P", "PA", "LA"})
# What PIL's parsers raise on damaged bytes, found by fuzzing; anything else is a bug and must surface.
_PARSE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, OverflowError)
_DECODE_ERRORS = (*_PARSE_ERRORS, struct.error, zlib.error)


def probe_size(data: bytes) -> tuple[int, int]:
    """Read an image's `(width, height)` in pixels from its header, without decoding it.

    Raises:
        DataError: `not-an-image`, `truncated` (the header itself is cut), or `too-large` (beyond PIL's own limit).
    """
    with _open(data) as image:
        width, height = image.size
    return width, height


def decode_image(data: bytes, *, max_pixels: int = 64_000_000, min_side: int = 2) -> NDArray[np.uint8]:
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


def _to_rgb(image: Image) -> NDArray[np.uint8]:
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


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What a network wants of its pixels: `(value - mean) / std` per channel, values in 0..255.

    Attributes:
        channel_order: `rgb` or `bgr`, the order of the network's input channels.
        mean: subtracted, in grey levels, in that channel order.
        std: divided by, in grey levels, in that channel order.
    """

    channel_order: Literal["rgb", "bgr"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        if self.channel_order not in ("rgb", "bgr"):
            raise ConfigError(f"preprocessing.channel_order: must be 'rgb' or 'bgr', not {self.channel_order!r}")
        for name in ("mean", "std"):
            object.__setattr__(self, name, _three_numbers(getattr(self, name), f"preprocessing.{name}"))
        if min(self.std) <= 0:
            raise ConfigError(f"preprocessing.std: must be positive, not {self.std}")

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; `from_dict` reads them back."""
        return {"channel_order": self.channel_order, "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """Build from `to_dict`'s values.

        Raises:
            ConfigError: an unknown or missing key, or a value of the wrong kind.
        """
        unknown = sorted(set(values) - {"channel_order", "mean", "std"})
        if unknown:
            raise ConfigError(f"preprocessing.{unknown[0]}: unknown key")
        missing = sorted({"channel_order", "mean"} - set(values))
        if missing:
            raise ConfigError(f"preprocessing.{missing[0]}: missing")
        return cls(**values)

    def table(self) -> NDArray[np.float32]:
        """Return every pixel value's input value, float32 `[256, 3]` in the network's channel order."""
        values = np.arange(256, dtype=np.float64)[:, None]
        table: NDArray[np.float64] = (values - np.array(self.mean)) / np.array(self.std)
        return table.astype(np.float32)


def _three_numbers(values: object, where: str) -> tuple[float, float, float]:
    """Check and normalise a sequence of three finite numbers."""
    try:
        numbers = tuple(float(value) for value in cast("Any", values))
    except (TypeError, ValueError):
        numbers = ()
    if len(numbers) != 3 or not np.isfinite(numbers).all():
        raise ConfigError(f"{where}: must be three finite numbers, not {values!r}")
    return numbers[0], numbers[1], numbers[2]


CAFFE_128 = Preprocessing("bgr", (128.0, 128.0, 128.0))
"""The authors' release: BGR minus 128 (the paper's constant for VOC and Caltech)."""

UNIT_128 = Preprocessing("bgr", (128.0, 128.0, 128.0), (64.0, 64.0, 64.0))
"""`CAFFE_128` at unit variance: the same network with conv1's weights times 64, but one that He init can train."""

SQUEEZENET_CAFFE = Preprocessing("bgr", (104.0, 117.0, 123.0))
"""SqueezeNet's own deploy preprocessing."""

TORCHVISION = Preprocessing("rgb", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
"""torchvision's ImageNet mean and deviation, in grey levels."""


def prepare_image(
    image: NDArray[np.uint8],
    scale: int,
    preprocessing: Preprocessing,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    mean_image: torch.Tensor | None = None,
) -> torch.Tensor:
    """Resize an image to a scale and normalise it: a network's input.

    Bilinear without antialiasing, rounded to grey levels, as the authors' release does "to match OpenCV"; on a
    CPU by OpenCV itself, elsewhere by torch, which agree within one grey level.

    Args:
        image: RGB, uint8 `[H, W, 3]`.
        scale: the short side to resize to, in pixels (paper section 4.1: `min(w, h) = s`).
        preprocessing: what the network wants.
        device: where the tensor goes.
        dtype: of the tensor.
        mean_image: subtracted in place of the constant mean, as in `normalise_images`.

    Returns:
        `[1, 3, h, w]` of `dtype`, channels last in memory, with `(h, w) = resized_shape(image_hw, scale)`.
    """
    height, width = image.shape[:2]
    shape = resized_shape((height, width), scale)
    if torch.device(device).type == "cpu":
        return normalise_images(_resize_cv2(image, shape)[None], preprocessing, device, dtype, mean_image)
    pixels = _resize_torch(torch.from_numpy(np.require(image, requirements=["C", "W"])).to(device), shape)
    return _normalise_torch(pixels, preprocessing, dtype, mean_image)


def normalise_images(
    images: NDArray[np.uint8],
    preprocessing: Preprocessing,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    mean_image: torch.Tensor | None = None,
) -> torch.Tensor:
    """Turn a batch of equally large RGB images, uint8 `[N, H, W, 3]`, into a network's input.

    Args:
        images: the pixels.
        preprocessing: what the network wants.
        device: where the tensor goes.
        dtype: of the tensor.
        mean_image: grey levels `[3, h, w]` in the network's channel order, warped (bilinearly, no antialiasing) to
            the images' size and subtracted in place of the constant mean (paper section 3.1: the per-pixel mean).

    Returns:
        `[N, 3, H, W]` of `dtype`, channels last in memory.
    """
    if torch.device(device).type != "cpu":
        pixels = torch.from_numpy(np.require(images, requirements=["C", "W"])).to(device)
        return _normalise_torch(pixels.permute(0, 3, 1, 2).float(), preprocessing, dtype, mean_image)
    import cv2

    if mean_image is not None:
        preprocessing = replace(preprocessing, mean=(0.0, 0.0, 0.0))

    count, height, width, _ = images.shape
    # One table look-up per value is several times faster than converting, subtracting and dividing in torch.
    rows = np.ascontiguousarray(images).reshape(count * height, width, 3)
    if preprocessing.channel_order == "bgr":
        rows = cast("NDArray[np.uint8]", cv2.cvtColor(rows, cv2.COLOR_RGB2BGR))
    values = cv2.LUT(rows, preprocessing.table()[None])
    tensor = torch.from_numpy(values.reshape(count, height, width, 3)).permute(0, 3, 1, 2)
    if mean_image is not None:
        tensor -= _warp_mean(mean_image, (height, width), device) / _per_channel(preprocessing.std, device)
    return tensor.to(dtype, memory_format=torch.channels_last)


def resize_image(image: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize an RGB image, uint8 `[H, W, 3]`, to `shape` `(h, w)`: bilinear, no antialiasing, on the CPU."""
    return _resize_cv2(image, shape)


def _resize_cv2(image: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    import cv2

    if tuple(image.shape[:2]) == tuple(shape):
        return image
    resized = cv2.resize(image, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
    return cast("NDArray[np.uint8]", resized)


def _resize_torch(image: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    """Resize uint8 `[H, W, 3]` to float32 `[1, 3, h, w]` of whole grey levels, on the tensor's device."""
    pixels = image.permute(2, 0, 1)[None].float()
    if tuple(pixels.shape[-2:]) == tuple(shape):
        return pixels
    resized = F.interpolate(pixels, size=list(shape), mode="bilinear", align_corners=False, antialias=False)
    return resized.round_()


def _normalise_torch(
    pixels: torch.Tensor, preprocessing: Preprocessing, dtype: torch.dtype, mean_image: torch.Tensor | None = None
) -> torch.Tensor:
    """Normalise RGB float32 `[N, 3, H, W]` on its own device."""
    if preprocessing.channel_order == "bgr":
        pixels = pixels.flip(1)
    if mean_image is None:
        mean = _per_channel(preprocessing.mean, pixels.device)
    else:
        mean = _warp_mean(mean_image, tuple(pixels.shape[-2:]), pixels.device)
    std = _per_channel(preprocessing.std, pixels.device)
    return ((pixels - mean) / std).to(dtype, memory_format=torch.channels_last)


def _per_channel(values: tuple[float, float, float], device: torch.device | str) -> torch.Tensor:
    return torch.tensor(values, device=device).view(1, 3, 1, 1)


def _warp_mean(mean_image: torch.Tensor, shape: tuple[int, ...], device: torch.device | str) -> torch.Tensor:
    """Warp a mean image, `[3, h, w]`, to `shape` `(H, W)`: float32 `[1, 3, H, W]` on a device."""
    mean = mean_image.to(device, torch.float32)[None]
    if tuple(mean.shape[-2:]) == tuple(shape):
        return mean
    return F.interpolate(mean, size=list(shape), mode="bilinear", align_corners=False, antialias=False)
