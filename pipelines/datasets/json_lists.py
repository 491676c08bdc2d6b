"""Lists in large JSON files, read entry by entry: an object whose lists are longer than what is kept of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

_BLANK = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


class JsonLists:
    """The outermost object of a JSON text: its keys in order, and the entries of those whose values are lists.

    Iterate over it for the keys, and over `entries` for the list of the key that came last; what is not asked for is
    passed over.

    Args:
        text: The text.

    Raises:
        ValueError: From all methods: the text is no JSON, or no object.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._place = self._after(0)
        self._open = False
        if self._mark() != "{":
            raise ValueError("it is a list" if self._mark() == "[" else "it is no object")

    def __iter__(self) -> Iterator[str]:
        self._place = self._after(self._place + 1)
        while self._mark() != "}":
            key = self._value()
            if not isinstance(key, str) or self._mark() != ":":
                raise json.JSONDecodeError("expected a key and ':'", self._text, self._place)
            self._place = self._after(self._place + 1)
            self._open = True
            yield key
            for _ in self.entries():
                pass
            self._step("}")

    def entries(self) -> Iterator[Any]:
        """Yield the entries of the last key's list, each parsed; of a value that is no list nothing."""
        if not self._open:
            return
        self._open = False
        if self._mark() != "[":
            self._value()
            return
        self._place = self._after(self._place + 1)
        while self._mark() != "]":
            yield self._value()
            self._step("]")
        self._place = self._after(self._place + 1)

    def _value(self) -> Any:
        value, end = _DECODER.raw_decode(self._text, self._place)
        self._place = self._after(end)
        return value

    def _step(self, end: str) -> None:
        """Pass a comma; stay at the end."""
        mark = self._mark()
        if mark == ",":
            self._place = self._after(self._place + 1)
        if mark not in (",", end) or (mark == "," and self._mark() == end):
            raise json.JSONDecodeError(f"expected ',' or '{end}'", self._text, self._place)

    def _mark(self) -> str:
        return self._text[self._place : self._place + 1]

    def _after(self, place: int) -> int:
        found = _BLANK.match(self._text, place)
        return found.end() if found else place


_OUTLINE = b'"segmentation"'
_LISTS = re.compile(rb"\s*:\s*(?=\[\s*\[)")


def without_outlines(data: bytes) -> bytes:
    """Return a COCO file with zeros in place of outlines that are lists of lists of numbers.

    They are most of such a file. It costs a search for brackets; parsing them would be half of all parsing.
    """
    parts: list[bytes] = []
    done, place = 0, data.find(_OUTLINE)
    while place >= 0:
        value = _LISTS.match(data, place + len(_OUTLINE))
        if value is not None:
            # Up to the next key or the end of the entry there are numbers only, and the last bracket is the value's.
            key = data.find(b'"', value.end())
            brace = data.find(b"}", value.end(), key if key >= 0 else len(data))
            end = brace if brace >= 0 else max(key, 0)
            last = data.rfind(b"]", value.end(), end)
            if last >= 0 and not data[last + 1 : end].strip(b", \t\r\n"):
                parts += (data[done : value.end()], b"0")
                done = last + 1
        place = data.find(_OUTLINE, max(done, place + 1))
    return b"".join([*parts, data[done:]]) if parts else data
