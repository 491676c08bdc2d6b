"""The types that maps are kept in, of which the most compact one is a rounded float16."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch

MapType: TypeAlias = Literal["float16", "float32", "float10_e5m5"]
"""`float10_e5m5` is float16 rounded to 5 bits of mantissa: a map has no signs, so 10 bits say each of its values."""

_DROPPED_BITS = 5
_NAN = 0x7FE0


def to_map_type(maps: torch.Tensor, kind: MapType) -> torch.Tensor:
    """Return non-negative maps in a type, rounded to the nearest of its values, the even one of two.

    Args:
        maps: Of any float type and shape.
        kind: The type.

    Returns:
        Float32, or float16 that holds the values of the type; what is beyond its range is infinite.
    """
    if kind == "float32":
        return maps.to(torch.float32)
    half = maps.to(torch.float16)
    return half if kind == "float16" else _round_mantissas(half)


def _round_mantissas(half: torch.Tensor) -> torch.Tensor:
    # A carry out of the mantissa goes into the exponent, where it belongs: bits without a sign order like their values.
    bits = half.view(torch.int16).clamp(max=_NAN)
    odd = (bits >> _DROPPED_BITS) & 1
    rounded = bits.add_(odd).add_((1 << _DROPPED_BITS - 1) - 1).bitwise_and_(-1 << _DROPPED_BITS)
    return rounded.view(torch.float16)
