"""How much a Parquet file's pages inflate to, by their own headers, before Arrow makes room for them.

A file's footer says what its columns hold; Arrow goes by the header of each page, which may claim 2 GB whatever the
footer says. A header is a struct in Thrift's compact form; of it only two numbers are wanted, the rest is passed over.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Sequence

_HEADER_BYTES = 1 << 16
_DEPTH = 8
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 12
_NUMBERS = (4, 5, 6)
_UNCOMPRESSED_SIZE, _COMPRESSED_SIZE = 2, 3


class PlacedFile(io.RawIOBase):
    """A file that can seek: it keeps the place of the next byte, and its heirs say where it ends and read."""

    _place = 0

    def _end(self) -> int:
        raise NotImplementedError

    def readable(self) -> bool:
        """See `io.IOBase`."""
        return True

    def seekable(self) -> bool:
        """See `io.IOBase`."""
        return True

    def tell(self) -> int:
        """Return the place of the next byte."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a place, see `io.IOBase.seek`."""
        base = self._end() if whence == io.SEEK_END else {io.SEEK_SET: 0, io.SEEK_CUR: self._place}[whence]
        self._place = base + offset
        return self._place


class HeldFile(PlacedFile):
    """A file of which one part may be held in memory, so that it is fetched once however often it is read.

    Args:
        file: The file; it can seek.
    """

    def __init__(self, file: io.RawIOBase | io.BytesIO) -> None:
        self._file = file
        self._start, self._held = 0, b""

    def _end(self) -> int:
        return self._file.seek(0, io.SEEK_END)

    def hold(self, start: int, end: int) -> memoryview:
        """Fetch a part and hold it instead of the last one."""
        self._file.seek(start)
        self._held = b""  # before the next is fetched
        self._start, self._held = start, self._file.read(end - start) or b""
        return memoryview(self._held)

    def read(self, size: int = -1, /) -> bytes:
        """Read from what is held, or from the file."""
        first = self._place - self._start
        if first >= 0 and size >= 0 and first + size <= len(self._held):
            found = self._held[first : first + size]
        else:
            self._file.seek(self._place)
            found = self._file.read(size) or b""
        self._place += len(found)
        return found


def inflated_pages(file: HeldFile, spans: Sequence[tuple[int, int]]) -> Iterator[int]:
    """Yield the bytes that each page inflates to.

    Args:
        file: The file; what lies between the first and the last of the spans is held from then on.
        spans: Where the pages of each column begin and end.

    Raises:
        ValueError: The pages can't be followed.
    """
    start, end = min((first for first, _ in spans), default=0), max((last for _, last in spans), default=0)
    if start < 0 or any(first > last for first, last in spans):
        raise ValueError("a column's pages begin nowhere")
    held = file.hold(start, end)
    for first, last in spans:
        yield from _pages(held[first - start : last - start])


def _pages(data: memoryview) -> Iterator[int]:
    place = 0
    while place < len(data):
        header = _Header(data[place : place + _HEADER_BYTES])
        found = header.read_struct()
        inflated, stored = found.get(_UNCOMPRESSED_SIZE, -1), found.get(_COMPRESSED_SIZE, -1)
        if inflated < 0 or stored < 0:
            raise ValueError("a page without a size")
        yield inflated
        place += header.place + stored


class _Header:
    """A reader of Thrift's compact form."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self.place = 0

    def read_struct(self, depth: int = _DEPTH) -> dict[int, int]:
        """Read a struct's whole numbers by their fields; other fields are passed over."""
        found, field = {}, 0
        while (head := self._byte()) != 0:
            kind = head & 15
            field = field + (head >> 4) if head >> 4 else self._number()
            if kind in _NUMBERS:
                found[field] = self._number()
            else:
                self._skip(kind, depth)
        return found

    def _byte(self) -> int:
        return self._take(1)[0]

    def _take(self, count: int) -> memoryview:
        part = self._data[self.place : self.place + count]
        if count < 0 or len(part) < count:
            raise ValueError("a page's header is cut, or too long")
        self.place += count
        return part

    def _size(self) -> int:
        value = shift = 0
        while shift < 64:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
        raise ValueError("a number without an end")

    def _number(self) -> int:
        value = self._size()
        return (value >> 1) ^ -(value & 1)

    def _skip(self, kind: int, depth: int) -> None:
        """Pass over a field's value."""
        if kind in (_LIST, _SET):
            self._skip_list(depth)
        elif kind == _STRUCT and depth:
            self.read_struct(depth - 1)
        elif kind == _BINARY:
            self._take(self._size())
        elif kind == _DOUBLE:
            self._take(struct.calcsize("d"))
        elif kind == _BYTE:
            self._byte()
        elif kind not in (_TRUE, _FALSE):  # a page's header has no maps
            raise ValueError("a page's header of an unknown kind")

    def _skip_list(self, depth: int) -> None:
        head = self._byte()
        count = self._size() if head >> 4 == 15 else head >> 4
        for _ in range(count):
            if head & 15 in (_TRUE, _FALSE):
                self._byte()
            elif head & 15 in _NUMBERS:
                self._size()
            else:
                self._skip(head & 15, depth)
