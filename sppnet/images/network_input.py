"""Pixels to a network's input at one scale: resized as the authors' release does, and normalised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import numpy as np
import torch
from torch.nn import functional as F

from sppnet.arrays import Float32s, Float64s, Pixels
from sppnet.devices import constant, upload
from sppnet.errors import ConfigError
from sppnet.pooling.scales import resized_size
from sppnet.sizes import Size


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

    def table(self) -> Float32s:
        """Return every pixel value's input value, float32 `[256, 3]` in the network's channel order."""
        values = np.arange(256, dtype=np.float64)[:, None]
        table: Float64s = (values - np.array(self.mean)) / np.array(self.std)
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

UNIT_128 = replace(CAFFE_128, std=(64.0, 64.0, 64.0))
"""`CAFFE_128` at unit variance: the same network with conv1's weights times 64, but one that He init can train."""

SQUEEZENET_CAFFE = Preprocessing("bgr", (104.0, 117.0, 123.0))
"""SqueezeNet's own deploy preprocessing."""

TORCHVISION = Preprocessing("rgb", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
"""torchvision's ImageNet mean and deviation, in grey levels."""


def prepare_image(
    image: Pixels,
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
        `[1, 3, h, w]` of `dtype`, channels last in memory, with `(h, w)` as `resized_size` has it.
    """
    size = resized_size(Size.of(image), scale)
    if torch.device(device).type == "cpu":
        return normalise_images(resize_image(image, size)[None], preprocessing, device, dtype, mean_image)
    pixels = torch.from_numpy(np.require(image, requirements=["C", "W"])).to(device)
    return prepare_batch(pixels[None], scale, preprocessing, dtype, mean_image)


def prepare_batch(
    images: torch.Tensor,
    scale: int,
    preprocessing: Preprocessing,
    dtype: torch.dtype = torch.float32,
    mean_image: torch.Tensor | None = None,
) -> torch.Tensor:
    """Resize and normalise equally large images where they are, within one grey level of `prepare_image` on a CPU.

    Args:
        images: RGB, uint8 `[N, H, W, 3]`, on any device.
        scale: the short side to resize to, in pixels.
        preprocessing: what the network wants.
        dtype: of the result.
        mean_image: subtracted in place of the constant mean, as in `normalise_images`.

    Returns:
        `[N, 3, h, w]` of `dtype`, channels last in memory.
    """
    size = resized_size(Size.of(images[0]), scale)
    return _normalise_torch(_resize_torch(images, size), preprocessing, dtype, mean_image)


def normalise_images(
    images: Pixels,
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
        pixels = upload(np.require(images, requirements=["C", "W"]), torch.device(device))
        return _normalise_torch(pixels.permute(0, 3, 1, 2).float(), preprocessing, dtype, mean_image)
    import cv2

    if mean_image is not None:
        preprocessing = replace(preprocessing, mean=(0.0, 0.0, 0.0))

    count, height, width, _ = images.shape
    # One table look-up per value is several times faster than converting, subtracting and dividing in torch.
    rows = np.ascontiguousarray(images).reshape(count * height, width, 3)
    if preprocessing.channel_order == "bgr":
        rows = cast("Pixels", cv2.cvtColor(rows, cv2.COLOR_RGB2BGR))
    table = torch.from_numpy(preprocessing.table()[None])
    if dtype == torch.bfloat16 and mean_image is None:  # bfloat16 itself is unknown to OpenCV
        values = cv2.LUT(rows, table.bfloat16().view(torch.int16).numpy())
        return torch.from_numpy(values.reshape(count, height, width, 3)).view(dtype).permute(0, 3, 1, 2)
    values = cv2.LUT(rows, table.numpy())
    tensor = torch.from_numpy(values.reshape(count, height, width, 3)).permute(0, 3, 1, 2)
    if mean_image is not None:
        tensor -= _warp_mean(mean_image, (height, width), device) / _per_channel(preprocessing.std, device)
    return tensor.to(dtype, memory_format=torch.channels_last)


def resize_image(image: Pixels, size: Size) -> Pixels:
    """Resize an RGB image, uint8 `[H, W, 3]`: bilinear, no antialiasing, on the CPU."""
    import cv2

    if Size.of(image) == size:
        return image
    resized = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    return cast("Pixels", resized)


def _resize_torch(images: torch.Tensor, size: Size) -> torch.Tensor:
    """Resize uint8 `[N, H, W, 3]` to float32 `[N, 3, h, w]` of whole grey levels, on the tensor's device."""
    pixels = images.permute(0, 3, 1, 2).float()
    if Size.of(images[0]) == size:
        return pixels
    resized = F.interpolate(pixels, size=list(size.hw), mode="bilinear", align_corners=False, antialias=False)
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
    return constant(values, torch.float32, torch.device(device)).view(1, 3, 1, 1)


def _warp_mean(mean_image: torch.Tensor, shape: tuple[int, ...], device: torch.device | str) -> torch.Tensor:
    """Warp a mean image, `[3, h, w]`, to `shape` `(H, W)`: float32 `[1, 3, H, W]` on a device."""
    mean = mean_image.to(device, torch.float32)[None]
    if tuple(mean.shape[-2:]) == tuple(shape):
        return mean
    return F.interpolate(mean, size=list(shape), mode="bilinear", align_corners=False, antialias=False)
