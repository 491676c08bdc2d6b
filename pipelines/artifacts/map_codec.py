"""Maps as bytes: where they are not zero, and what they are there.

After ReLU most of a map is zeros, and a channel that is silent in a cell tends to be so in the next. So a map is kept
as a mask of one bit a value, of which each cell holds what changed since the cell before, and the non-zero values,
first the low bytes of all, then the next bytes of all: the high ones, which are alike, then compress by themselves.
Both are left to Parquet's zstd.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from pipelines.artifacts.nonzeros import count_bits, find_nonzeros, mask_bytes, put_nonzeros
from sppnet.arrays import Floats, Pixels
from sppnet.compiling import compiled
from sppnet.errors import ArtifactError

_BITS: Mapping[str, np.dtype[np.unsignedinteger[Any]]] = {"float16": np.dtype("<u2"), "float32": np.dtype("<u4")}


class PackedMap(NamedTuple):
    """A map as it is stored.

    Attributes:
        mask: Flat uint8: the words of `find_nonzeros`, a row a cell, by exclusive or with those of the cell before.
        nonzeros: Flat uint8: byte planes of the values that are not zero, in their order, lowest byte first.
    """

    mask: Pixels
    nonzeros: Pixels


def pack_map(values: Floats) -> PackedMap:
    """Pack a map `[H, W, C]` of float16 or float32."""
    bits = np.ascontiguousarray(values).view(_BITS[values.dtype.name]).reshape(-1, values.shape[2])
    words, found = find_nonzeros(bits)
    planes = np.empty((bits.itemsize, len(found)), np.uint8)
    _split(found, planes)
    words[1:] ^= words[:-1].copy()
    return PackedMap(words.reshape(-1).view(np.uint8), planes.reshape(-1))


def unpack_map(packed: PackedMap, shape: tuple[int, int, int], dtype: str) -> Floats:
    """Unpack a map.

    Args:
        packed: What `pack_map` gave.
        shape: The map's.
        dtype: `float16` or `float32`.

    Raises:
        ArtifactError: It is not that of such a map.
    """
    height, width, channels = shape
    mask, nonzeros = packed
    if dtype not in _BITS or min(shape) < 1 or len(mask) != height * width * mask_bytes(channels):
        raise ArtifactError(f"{len(mask)} bytes of mask are not of {height} x {width} x {channels} {dtype} values")
    words = np.bitwise_xor.accumulate(mask.view("<u8").reshape(height * width, -1), axis=0)
    bits, count = _BITS[dtype], count_bits(words)
    if len(nonzeros) != count * bits.itemsize:
        raise ArtifactError(f"{len(nonzeros)} bytes are not {count} {dtype} values, as many as its mask has bits")
    found = np.empty(count, bits)
    _join(nonzeros.reshape(bits.itemsize, count), found)
    values: Floats = put_nonzeros(words, found, channels).view(dtype).reshape(shape)
    return values


@compiled()
def _split(found: Any, planes: Any) -> None:
    """Write the byte planes `[itemsize, n]` of `n` values."""
    for plane in range(planes.shape[0]):
        for place in range(planes.shape[1]):
            planes[plane, place] = (found[place] >> (8 * plane)) & 255


@compiled()
def _join(planes: Any, found: Any) -> None:
    """Undo `_split`."""
    for place in range(planes.shape[1]):
        found[place] = planes[0, place]
    for plane in range(1, planes.shape[0]):
        for place in range(planes.shape[1]):
            found[place] |= np.uint32(planes[plane, place]) << np.uint32(8 * plane)
