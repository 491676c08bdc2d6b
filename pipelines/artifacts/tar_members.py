"""Members of tars from anywhere, compressed or not: read in memory, which is bounded whatever a header says."""

from __future__ import annotations

import bz2
import io
import lzma
import posixpath
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

from sppnet.errors import DataError, SppError
from sppnet.outside import most_inflated, parsing

MOST_MEMBERS = 500_000
"""Most members of a tar."""

Failure: TypeAlias = Callable[[str], SppError]
"""Makes the error of a broken tar from what is wrong."""


class Member(NamedTuple):
    """A file of a tar.

    Attributes:
        name: As the tar has it; bytes that are no UTF-8 are lone surrogates.
        data: Its bytes; or, of what is no plain file and no link to one, why there are none.
    """

    name: str
    data: bytes | DataError


class _Header(NamedTuple):
    """What is kept of a header: where the bytes are, or what a link leads to, or what else it is."""

    name: str
    start: int = 0
    size: int = 0
    target: str = ""
    odd: str = ""


def tar_members(data: bytes, failure: Failure) -> Iterator[Member]:
    """Yield the files of a tar in its order; folders are left out, and links give the bytes of what they lead to.

    Compression is told by the content: gzip, bzip2 and xz. What follows the end mark is passed over, unless it is
    members: then the tar was overwritten in the middle, or others are appended to it.

    Args:
        data: The whole tar.
        failure: Makes the error that is raised.

    Raises:
        SppError: What `failure` makes, for a tar that is cut short, damaged or something else, has more than
            `MOST_MEMBERS`, or gives more bytes than `most_inflated`.
    """
    plain = _inflated(data, failure)
    headers = _headers(plain, failure)
    files = {_normal(header.name): header for header in headers if not header.target and not header.odd}
    left = max(len(plain), most_inflated(len(data)))
    view = memoryview(plain)
    for header in headers:
        found = _linked(header, files)
        if isinstance(found, DataError):
            yield Member(header.name, found)
            continue
        left -= found.size
        if left < 0:
            raise failure("its links give more bytes than a tar of its size may")
        yield Member(header.name, bytes(view[found.start : found.start + found.size]))


def _linked(header: _Header, files: dict[str, _Header]) -> _Header | DataError:
    """Return the plain file that a header is, or links to; a link to a link is none."""
    if header.odd:
        return DataError("not-a-file", f"{header.name!r} is {header.odd} in its tar")
    if not header.target:
        return header
    found = files.get(header.target)
    return found or DataError("not-a-file", f"{header.name!r} is a link to {header.target!r}, no file of its tar")


def _headers(plain: bytes, failure: Failure) -> list[_Header]:
    found: list[_Header] = []
    with parsing(failure):
        tar = tarfile.open(fileobj=io.BytesIO(plain), mode="r:")  # noqa: SIM115  # of bytes: nothing to close
    while True:
        with parsing(failure):
            member = tar.next()
        if member is None:
            break
        tar.members.clear()  # type: ignore[attr-defined]  # it would remember all
        if len(found) == MOST_MEMBERS:
            raise failure(f"it has more than {MOST_MEMBERS} members; split it")
        if not member.isdir():
            found.append(_header(member, len(plain), failure))
    # tarfile takes a cut or damaged header for the end; a whole archive ends with a block of zeros.
    end = tar.offset
    if plain[end : end + tarfile.BLOCKSIZE] != bytes(tarfile.BLOCKSIZE):
        raise failure(f"it is cut short or damaged at byte {end}")
    if _has_members(plain, end + tarfile.BLOCKSIZE):
        raise failure(f"it has members after its end at byte {end}: damaged, or several tars in one")
    return found


def _header(member: tarfile.TarInfo, length: int, failure: Failure) -> _Header:
    name = member.name
    if member.islnk():
        return _Header(name, target=_normal(member.linkname) or "/")
    if member.issym():
        return _Header(name, target=_normal(posixpath.join(posixpath.dirname(name), member.linkname)) or "/")
    if member.issparse():  # a few bytes that say they are many
        return _Header(name, odd="a sparse file")
    if member.ischr() or member.isblk() or member.isfifo():
        return _Header(name, odd="a device or a pipe")
    if member.size < 0 or member.offset_data + member.size > length:
        raise failure(f"it is cut short in {name!r}")
    return _Header(name, member.offset_data, member.size)


def _has_members(plain: bytes, start: int) -> bool:
    """Tell whether there are headers of members from a byte on: blocks with the mark of the format in its place."""
    place = plain.find(b"ustar", start)
    while place >= 0:
        if place % tarfile.BLOCKSIZE == _MARK:
            return True
        place = plain.find(b"ustar", place + 1)
    return False


_MARK = 257
_CHUNK = 1 << 20
_LZMA_BYTES = 256 << 20
_INFLATERS: Sequence[tuple[bytes, Callable[[], Any]]] = (
    (b"\x1f\x8b", lambda: zlib.decompressobj(wbits=31)),
    (b"BZh", bz2.BZ2Decompressor),
    (b"\xfd7zXZ\x00", lambda: lzma.LZMADecompressor(memlimit=_LZMA_BYTES)),
)
_NOT_READ = {b"\x28\xb5\x2f\xfd": "zstd", b"\x04\x22\x4d\x18": "lz4", b"PK\x03\x04": "zip", b"7z\xbc\xaf": "7z"}


def _inflated(data: bytes, failure: Failure) -> bytes:
    """Return the bytes of a tar that may be compressed, in one stream or several."""
    for magic, name in _NOT_READ.items():
        if data.startswith(magic):
            raise failure(f"it is packed by {name}, which is not read; bare tars are, and those in gzip, bzip2 or xz")
    for magic, make in _INFLATERS:
        if data.startswith(magic):
            return _inflated_by(data, magic, make, failure)
    return data


def _inflated_by(data: bytes, magic: bytes, make: Callable[[], Any], failure: Failure) -> bytes:
    view, most = memoryview(data), most_inflated(len(data))
    found = io.BytesIO()
    place, stream = 0, make()
    while place < len(view):
        chunk: bytes | memoryview = view[place : place + _CHUNK]
        place += len(chunk)
        while True:
            with parsing(failure):
                found.write(stream.decompress(chunk, _CHUNK))
            if found.tell() > most:
                raise failure(f"its {len(data)} bytes inflate to more than {most}")
            chunk = getattr(stream, "unconsumed_tail", b"")  # zlib gives it back, the others keep it
            if stream.eof or not (chunk or not getattr(stream, "needs_input", True)):
                break
        if stream.eof:
            place -= len(stream.unused_data)
            if view[place : place + len(magic)] != magic:  # the end, or trailing bytes
                break
            stream = make()
    if not stream.eof:
        raise failure(f"it is cut short: its compressed {len(data)} bytes have no end")
    return found.getvalue()


def _normal(name: str) -> str:
    """Return a member's name without empty parts and dots."""
    return "/".join(part for part in posixpath.normpath(name).split("/") if part not in ("", "."))
