"""What every stage that convolves images shares: its settings, and images that don't grow too large."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field

from pipelines.artifacts.image_tars import ImageRecord
from pipelines.engine.machine import DeviceName, GpuFields
from pipelines.engine.stage import RUNTIME, Resources
from pipelines.shards.reading import decode_record
from sppnet.arrays import Pixels
from sppnet.errors import DataError
from sppnet.pooling.scales import resized_size
from sppnet.sizes import Size


class ConvolvingConfig(GpuFields):
    """Settings of a stage that convolves images.

    Attributes:
        max_pixels: An image that has more pixels at a scale is quarantined as `too-large`.
        precision: Type that the network computes in.
        device: `auto` takes a GPU where there is one.
        ahead: Images that are decoded ahead of the convolutions.
    """

    max_pixels: Annotated[int, Field(ge=1)] = 32_000_000
    precision: Literal["float32", "bfloat16"] = "float32"
    device: Annotated[DeviceName, RUNTIME] = "auto"
    ahead: Annotated[int, RUNTIME, Field(ge=1)] = 4

    def resources(self, memory_bytes: int = 0) -> Resources:
        """Return what a unit needs, see `CpuFields.resources`; one that computes on CPUs takes no GPU."""
        found = super().resources(memory_bytes)
        return replace(found, gpus=0) if self.device == "cpu" else found


def check_scale(size: Size, scale: int, max_pixels: int) -> None:
    """Raise `DataError` `too-large` for an image that has more pixels at a scale: a long, thin one grows far.

    Args:
        size: Of the image, pixels.
        scale: The short side in pixels that it will be resized to.
        max_pixels: Most pixels that it may then have.
    """
    resized = resized_size(size, scale)
    if math.prod(resized) > max_pixels:
        raise DataError("too-large", f"{resized} pixels at scale {scale}, the limit is {max_pixels} pixels")


def decode_for_scale(record: ImageRecord, scale: int, max_pixels: int) -> Pixels:
    """Decode an image, RGB `[H, W, 3]` in its own size, that will be resized to at most a scale.

    Raises:
        DataError: What `check_scale` or `decode_image` raises.
    """
    check_scale(record.size, scale, max_pixels)
    return decode_record(record)
