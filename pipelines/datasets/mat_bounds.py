"""What a MATLAB file of version 5 to 7 claims, looked at before scipy reads it.

scipy believes what it reads: a deep nesting overflows the process's stack, and a few bytes ask for any memory.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from sppnet.outside import most_inflated

MOST_DEPTH = 32
"""Cells in cells, or fields of structures in structures."""
MOST_ELEMENTS = 2_000_000
"""Parts of arrays in a file: a cell of one array has five."""

_HEADER, _TAG = 128, 8
_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCT, _OBJECT, _SPARSE = 1, 2, 3, 5
_CHUNK = 1 << 20


class _Element(NamedTuple):
    """A part of the file: its type, and where its bytes are and end, and where the next one begins."""

    kind: int
    start: int
    end: int
    after: int


def check_mat(data: bytes) -> None:
    """Look through a file.

    Raises:
        ValueError: It is nested too deep, inflates too far, has too many parts, or arrays larger than itself.
        struct.error, zlib.error: It is damaged.
    """
    if 0 in data[:4]:  # version 4: flat, and read by the bytes that are there
        return
    order = "<" if data[126:128] == b"IM" else ">"
    left, count = most_inflated(len(data)), 0
    for element in _elements(data, _HEADER, len(data), order):
        body, start, end = data, element.start, element.end
        if element.kind == _COMPRESSED:
            body = _inflated(data[start:end], left)
            left -= len(body)
            start, end = 0, len(body)
        else:
            start -= _TAG  # the array itself
        count += _walk(body, start, end, order, MOST_ELEMENTS - count)


def _inflated(data: bytes, most: int) -> bytes:
    stream = zlib.decompressobj()
    found = stream.decompress(data, most + 1)
    if len(found) > most:
        raise ValueError(f"it inflates to more than {most} bytes")
    return found


def _elements(data: bytes, place: int, end: int, order: str) -> Iterator[_Element]:
    """Yield the elements that follow one another in some bytes."""
    while place + _TAG <= end:
        kind, size = struct.unpack_from(f"{order}II", data, place)
        if kind >> 16:  # a small one: four bytes beside its type
            yield _Element(kind & 0xFFFF, place + 4, place + 4 + min(kind >> 16, 4), place + _TAG)
            place += _TAG
            continue
        start = place + _TAG
        if start + size > end:
            raise ValueError(f"a part of {size} bytes is larger than what it is in")
        padded = size if kind == _COMPRESSED else size + -size % 8
        yield _Element(kind, start, start + size, start + padded)
        place = start + padded


@dataclass(slots=True)
class _Open:
    """An array that is being walked through: its elements, and how many arrays are still to come in it."""

    elements: Iterator[_Element]
    wanted: int


def _walk(data: bytes, place: int, end: int, order: str, most: int) -> int:
    """Check the arrays in some bytes, and those in them; return how many elements there are."""
    count = 0
    stack = [_Open(_elements(data, place, end, order), 0)]
    while stack:
        element = next(stack[-1].elements, None)
        if element is None:
            if stack.pop().wanted > 0:
                raise ValueError("an array has fewer cells or fields than it claims")
            continue
        count += 1
        if count > most:
            raise ValueError(f"it has more than {MOST_ELEMENTS} parts")
        if element.kind == _MATRIX:
            if len(stack) > MOST_DEPTH:
                raise ValueError(f"it is nested more than {MOST_DEPTH} deep")
            stack[-1].wanted -= 1
            inside = _check_array(data, element, order)
            stack.append(_Open(_elements(data, element.start, element.end, order), inside))
    return count


def _check_array(data: bytes, array: _Element, order: str) -> int:
    """Refuse an array of more values than it has bytes: numbers, characters, cells, fields of structures.

    Returns:
        How many arrays it holds.
    """
    parts = _elements(data, array.start, array.end, order)
    flags, shape = next(parts, None), next(parts, None)
    if flags is None or shape is None or flags.end - flags.start < 4:
        return 0  # an empty one
    kind = struct.unpack_from(f"{order}I", data, flags.start)[0] & 0xFF
    sides = struct.unpack_from(f"{order}{(shape.end - shape.start) // 4}i", data, shape.start)
    values = math.prod(max(side, 0) for side in sides)
    size = array.end - array.start
    if kind in (_STRUCT, _OBJECT):
        next(parts, None)  # its name
        if kind == _OBJECT:
            next(parts, None)  # that of its class
        length, names = next(parts, None), next(parts, None)
        if length is not None and names is not None and length.end - length.start >= 4:
            each = max(1, struct.unpack_from(f"{order}i", data, length.start)[0])
            values *= max(1, (names.end - names.start) // each)
    if kind != _SPARSE and values > size:
        raise ValueError(f"an array of {size} bytes claims {values} values")
    return values if kind in (_CELL, _STRUCT, _OBJECT) else 0
