"""What every stage that convolves images shares: its settings, and images that don't grow too large."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Annotated, Literal

import torch
from pydantic import Field

from pipelines.artifacts.image_tars import ImageRecord
from pipelines.engine.machine import DeviceName, GpuFields
from pipelines.engine.phases import Resources
from pipelines.engine.stage import RUNTIME
from pipelines.shards.reading import decode_record
from sppnet.arrays import Pixels
from sppnet.errors import DataError
from sppnet.networks.map_maker import MapMaker, require_finite_map
from sppnet.pooling.scales import resized_size
from sppnet.sizes import Size


class ConvolvingConfig(GpuFields):
    """Settings of a stage that convolves images.

    Attributes:
        max_pixels: An image that has more pixels at a scale is quarantined as `too-large`. [pixels]
        precision: Type that the network computes in.
        device: `auto` takes a GPU where there is one.
        ahead: Images that are decoded ahead of the convolutions. [images]
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


def convolve_batch(
    maker: MapMaker,
    members: Sequence[tuple[ImageRecord, Future[Pixels]]],
    scales: Sequence[int],
    max_pixels: int,
    *,
    flipped: bool = False,
) -> list[dict[int, torch.Tensor | DataError]]:
    """Convolve images that are decoded on threads; what one can't give is told apart from the others.

    Args:
        maker: Makes the maps.
        members: The images, and their pixels as they come.
        scales: Short sides in pixels.
        max_pixels: Most pixels that an image may have at a scale.
        flipped: Whether the mirrored images' maps are wanted.

    Returns:
        Of each image by scale its map `[H, W, C]`, on the device, or why there is none.
    """
    found: list[dict[int, torch.Tensor | DataError]] = []
    able: dict[tuple[int, ...], list[tuple[int, Pixels]]] = {}
    for place, (record, image) in enumerate(members):
        found.append({})
        try:
            pixels = image.result()
        except DataError as error:
            found[place] = dict.fromkeys(scales, error)
            continue
        for scale in scales:
            try:
                check_scale(record.size, scale, max_pixels)
            except DataError as error:
                found[place][scale] = error
        able.setdefault(tuple(scale for scale in scales if scale not in found[place]), []).append((place, pixels))
    for wanted, images in able.items():
        made = maker([pixels for _, pixels in images], wanted, flipped=flipped)
        for (place, _), maps in zip(images, made, strict=True):
            found[place] |= {scale: _finite(values, scale) for scale, values in maps.items()}
    return found


def _finite(values: torch.Tensor, scale: int) -> torch.Tensor | DataError:
    try:
        require_finite_map(values, scale)
    except DataError as error:
        return error
    return values


def decode_for_scale(record: ImageRecord, scale: int, max_pixels: int) -> Pixels:
    """Decode an image, RGB `[H, W, 3]` in its own size, that will be resized to at most a scale.

    Raises:
        DataError: What `check_scale` or `decode_image` raises.
    """
    check_scale(record.size, scale, max_pixels)
    return decode_record(record)
