"""What the method costs: multiply-accumulates and bytes, from shapes alone.

A MAC is one multiply and one add. Convolutions are counted by running the network on torch's meta device, which
computes shapes and no values, so the counts are exact for any backbone; norms and pooling are not counted.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import torch

from sppnet.networks.backbones import BackboneSpec, build_backbone, shape_counter
from sppnet.networks.heap import GROWTH_BYTES
from sppnet.networks.row_strips import STRIP_BYTES
from sppnet.pooling.scales import resized_size
from sppnet.sizes import Size

if TYPE_CHECKING:
    from collections.abc import Sequence

HALF = 2
"""Bytes of a float16 value."""
PROCESS_BYTES = 850 << 20
"""What a process holds that has loaded torch and numba and convolved once, most of it their shared libraries."""
_STRIPS = 24
"""Strips that are in memory at once at most: measured, 24 for SqueezeNet at scale 1200, 14 for ZF-5."""


@dataclass(frozen=True, slots=True)
class MapCost:
    """One image's convolutions at one scale.

    Attributes:
        macs: Multiply-accumulates.
        bytes: Of the map as raw float16.
        shape: Of the map, `(height, width, channels)`.
    """

    macs: int
    bytes: int
    shape: tuple[int, int, int]


@lru_cache(maxsize=256)
def map_cost(spec: BackboneSpec, image_size: Size, scale: int | None = None) -> MapCost:
    """Count the convolutions of an image, resized to a short side of `scale` first.

    Raises:
        ConfigError: The image is too small to have a cell.
    """
    shown = resized_size(image_size, scale) if scale else image_size
    counted = shape_counter(spec).count(*shown.hw)
    if counted is not None and counted.shape.cells:
        return _cost(counted.macs, (counted.shape.height, counted.shape.width, counted.shape.channels))
    from torch.utils.flop_counter import FlopCounterMode

    with torch.inference_mode(), torch.device("meta"):
        backbone = build_backbone(spec)
        with FlopCounterMode(display=False) as counter:
            cells = backbone.trunk(torch.empty(1, 3, *shown.hw)).shape
    return _cost(int(counter.get_total_flops()) // 2, (int(cells[2]), int(cells[3]), int(cells[1])))


def _cost(macs: int, shape: tuple[int, int, int]) -> MapCost:
    return MapCost(macs, math.prod(shape) * HALF, shape)


def convolving_bytes(spec: BackboneSpec, image_size: Size, scale: int, element_bytes: int = HALF) -> int:
    """Return the memory that a process needs at most to convolve images on a CPU, one at a time.

    Args:
        spec: The network.
        image_size: The largest image's.
        scale: The largest short side that it is resized to.
        element_bytes: Of a value of the type that the convolutions compute in.

    Raises:
        ConfigError: The image is too small to have a cell.
    """
    shown = resized_size(image_size, scale)
    pixels = 3 * (math.prod(image_size) + (1 + element_bytes) * math.prod(shown))
    maps = math.prod(map_cost(spec, image_size, scale).shape) * (2 * element_bytes + HALF)
    with torch.device("meta"):
        weights = sum(value.numel() for value in build_backbone(spec).parameters()) * (4 + element_bytes)
    return PROCESS_BYTES + GROWTH_BYTES + weights + pixels + maps + _STRIPS * STRIP_BYTES


def head_macs(sizes: Sequence[int], rank: int | None = None) -> int:
    """Return the MACs of fully connected layers on a vector.

    Args:
        sizes: Its length and each layer's outputs.
        rank: Of the layers as products of thin matrices, where that costs less; None leaves them whole.
    """
    layers = list(itertools.pairwise(sizes))
    whole = [inputs * outputs for inputs, outputs in layers]
    return sum(whole) if rank is None else sum(map(min, whole, [rank * sum(layer) for layer in layers]))
