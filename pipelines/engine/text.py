"""Text files from anywhere: lists, tables and recipes as editors of any system save them."""

from __future__ import annotations

import codecs
import re

from sppnet.errors import ConfigError
from sppnet.outside import LIST_BYTES, LIST_LINES

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins with the mark of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_LINE_END = re.compile(r"\r\n|\r|\n")  # `str.splitlines` also cuts at characters that a name may have


def decode_text(data: bytes, where: str) -> str:
    """Decode a text file: UTF-8, or what its byte order mark says; the mark is left out.

    Args:
        data: The file's bytes.
        where: What and where it is, for messages.

    Raises:
        ConfigError: The bytes are no such text, or hold a NUL; the message names `where` and the line.
    """
    mark, encoding = next(((m, e) for m, e in _MARKS if data.startswith(m)), (b"", "utf-8"))
    try:
        text = data[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        before = error.object[: error.start].decode(encoding, "ignore")
        raise ConfigError(
            f"{where}: line {_line_of(before)}: byte 0x{error.object[error.start]:02x} is not {encoding.upper()}; "
            "save the file as UTF-8"
        ) from None
    if "\0" in text:
        raise ConfigError(
            f"{where}: line {_line_of(text[: text.index(chr(0))])}: holds a NUL; save the file as UTF-8 text"
        )
    return text.removeprefix("\ufeff")  # some programs write the mark twice


def text_lines(data: bytes, where: str) -> list[str]:
    """Return the lines of a text file that hold something, without blanks at their ends.

    Raises:
        ConfigError: As `decode_text` does; or it has more bytes or lines than a list may have.
    """
    if len(data) > LIST_BYTES or data.count(b"\n") + data.count(b"\r") > LIST_LINES:
        raise ConfigError(f"{where}: a list of at most {LIST_BYTES} bytes and {LIST_LINES} lines is read, it has more")
    return [line.strip() for line in _LINE_END.split(decode_text(data, where)) if line.strip()]


def _line_of(before: str) -> int:
    return len(_LINE_END.findall(before)) + 1
