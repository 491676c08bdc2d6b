"""Inputs of all kinds as nobody should make them: whole ones, damaged ones, hostile ones; the same for a seed."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from tests.support.voc_folder import cup_xml

T = TypeVar("T")
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF")
EXTENSIONS = ("jpg", "JPEG", "png", "bmp", "webp", "Jpg", "gif", "tif")
NASTY = (
    *(b"", b"\0", b"\xff", b"nan", b"inf", b"-inf", b"1e999", b"-1", b"9" * 400, b"9" * 5000, b"0x10", b"1_0"),
    *("\u202e".encode(), b"\xed\xa0\x80", b"\\ud800", b"&x;", b"&#0;", b"<![CDATA[", b"[" * 3000, b"<a>" * 3000),
    *(
        b'<?xml version="1.0" encoding="unicode"?>',
        b'<?xml version="1.0" encoding="utf-7"?>',
        b"{" * 3000,
        b'"',
        b"null",
    ),
)
_KEYS = ("a", "b.c", "ü", "u\u0308", "spaces in it", "50%", "%2E", "UPPER", "-dash", "x" * 200, "a'b\"c", "=1+1")


class Fuzz:
    """Makes inputs.

    Args:
        seed: Of all of them.
    """

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def chance(self, part: float) -> bool:
        return bool(self.rng.random() < part)

    def one_of(self, values: tuple[T, ...]) -> T:
        return values[int(self.rng.integers(len(values)))]

    def key(self, number: int) -> str:
        return f"{self.one_of(_KEYS)}-{number}"

    def image(self, size: tuple[int, int] | None = None) -> bytes:
        """A picture of any format and mode, mostly whole; `size` is its width and height, by default any."""
        width, height = size or self.rng.integers(1, 40, 2).tolist()
        pixels = self.rng.integers(0, 256, (height, width, 3), np.uint8)
        kind = self.one_of(FORMATS)
        modes = ("RGB", "L", "CMYK") if kind == "JPEG" else ("RGB", "L") if kind == "WEBP" else ("RGB", "L", "P", "1")
        mode = self.one_of(modes)
        sink = io.BytesIO()
        Image.fromarray(pixels).convert(mode).save(sink, kind, **({"progressive": True} if kind == "JPEG" else {}))
        return self.damaged(sink.getvalue(), 0.4)

    def image_and_note(self) -> tuple[bytes, bytes]:
        """A picture and its annotation file, both mostly whole."""
        width, height = self.rng.integers(20, 40, 2).tolist()
        boxes = [tuple(self.rng.integers((1, 1, 9, 9), (8, 8, 21, 22)).tolist()) for _ in range(self.rng.integers(3))]
        note = self.spoilt(cup_xml(*boxes, width=width, height=height), 0.3)
        return self.image((width, height)), note

    def sample_json(self, key: str) -> bytes:
        """A sample's JSON: ours, or anybody's."""
        box = self.rng.integers(-2, 44, 4).tolist()
        thing = {"category": "cup", "box": box, "subcategory": None, "difficult": False, "truncated": False}
        ours = {"key": key, "width": 30, "height": 20, "objects": [thing]}
        return self.spoilt(json.dumps(ours if self.chance(0.7) else [ours, key]).encode(), 0.6)

    def damaged(self, data: bytes, part: float) -> bytes:
        """Some bytes changed, cut, doubled or lost, in a part of all cases."""
        made = bytearray(data)
        while made and self.chance(part):
            place, length = int(self.rng.integers(len(made))), int(self.rng.integers(1, 64))
            how = int(self.rng.integers(5))
            if how == 0:
                made[place] = int(self.rng.integers(256))
            elif how == 1:
                del made[place:]
            elif how == 2:
                del made[place : place + length]
            elif how == 3:
                made[place:place] = made[place : place + length]
            else:
                made[place : place + length] = bytes(len(made[place : place + length]))
        return bytes(made)

    def spoilt(self, text: bytes, part: float) -> bytes:
        """A text with something nasty in a place or instead of a word, in a part of all cases."""
        while self.chance(part):
            place = int(self.rng.integers(len(text) + 1))
            end = place + int(self.rng.integers(12)) if self.chance(0.5) else place
            text = text[:place] + self.one_of(NASTY) + text[end:]
        return self.damaged(text, 0.2)

    def tar(self, size: int) -> tuple[bytes, int | None]:
        """A tar of so many samples, and how many of them it surely has; None where it is damaged."""
        sink = io.BytesIO()
        form = self.one_of((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))
        with tarfile.open(fileobj=sink, mode="w", format=form) as tar:
            for number in range(size):
                key = f"{self.one_of(('', './', 'n01/'))}{number:06d}"
                self._add(tar, f"{key}.{self.one_of(EXTENSIONS)}", self.image())
                self._extra(tar, key)
        data = sink.getvalue()
        if self.chance(0.4):
            return self._pack(self._headers_spoilt(data) if self.chance(0.5) else self.damaged(data, 0.8)), None
        return self._pack(data), size

    def _add(self, tar: tarfile.TarFile, name: str, data: bytes, kind: bytes = tarfile.REGTYPE, link: str = "") -> None:
        header = tarfile.TarInfo(name)
        header.size, header.type, header.linkname = len(data), kind, link
        tar.addfile(header, io.BytesIO(data))

    def _extra(self, tar: tarfile.TarFile, key: str) -> None:
        """What else a sample may have."""
        how = int(self.rng.integers(8))
        if how == 0:
            self._add(tar, f"{key}.json", self.sample_json(key))
        elif how == 1:
            self._add(tar, f"{key}.cls", self.spoilt(b"3", 0.5))
        elif how == 2:
            self._add(tar, f"{key}.txt", self.spoilt(b"cup", 0.5))
        elif how == 3:
            kind = self.one_of((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE))
            self._add(tar, f"{key}.png", b"", kind, self.one_of(("/dev/zero", f"{key}.png", "../..", "000000.jpg")))
        elif how == 4:
            self._add(tar, f"._{key.rpartition('/')[2]}.jpg", b"\x00\x05\x16\x07")

    def _headers_spoilt(self, data: bytes) -> bytes:
        """One header with other bytes and a right sum: what its reader believes."""
        made = bytearray(data)
        starts = [place for place in range(0, len(made) - 511, 512) if made[place + 257 : place + 262] == b"ustar"]
        start = self.one_of(tuple(starts))
        place, length = self.one_of(((0, 100), (124, 12), (124, 12), (156, 1), (156, 1), (157, 100), (345, 155)))
        value = self.rng.integers(0, 256, length, np.uint8).tobytes()
        made[start + place : start + place + length] = self.one_of((value, b"\x80" + b"\xff" * 11, b"L", b"S", b"x"))[
            :length
        ].ljust(length, b"\0")
        made[start + 148 : start + 156] = b" " * 8
        made[start + 148 : start + 155] = b"%06o\0" % sum(made[start : start + 512])
        return bytes(made)

    def _pack(self, data: bytes) -> bytes:
        packs: tuple[Callable[[bytes], bytes], ...] = (bytes, bytes, gzip.compress, bz2.compress, lzma.compress)
        return self.one_of(packs)(data)


def write_odd_files(folder: Path) -> dict[str, str]:
    """What a folder may hold beside images, as images by their names. Returns why each can't be used, by stem."""
    (folder / "zero.jpg").symlink_to("/dev/zero")
    (folder / "self.jpg").symlink_to("self.jpg")
    os.mkfifo(folder / "pipe.jpg")
    with (folder / "huge.jpg").open("wb") as file:
        file.truncate(1 << 40)
    (folder / "empty.jpg").write_bytes(b"")
    return {"zero": "not-a-file", "self": "unreadable", "pipe": "not-a-file", "huge": "file-too-large", "empty": ""}


BOMBS: dict[str, Callable[[], bytes]] = {
    "zeros": lambda: gzip.compress(bytes(200 << 20), 1),
    "links": lambda: _linked(3000, 200_000),
    "nothing": lambda: b"",
    "text": lambda: b"no tar at all" * 100,
}
"""Tars that are set aside whole, by name."""


def _linked(count: int, size: int) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as tar:
        header = tarfile.TarInfo("0.jpg")
        header.size = size
        tar.addfile(header, io.BytesIO(bytes(size)))
        for number in range(1, count):
            link = tarfile.TarInfo(f"{number}.jpg")
            link.type, link.linkname = tarfile.LNKTYPE, "0.jpg"
            tar.addfile(link)
    return sink.getvalue()
