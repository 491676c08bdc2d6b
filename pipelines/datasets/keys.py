"""Keys of images: from file names and back, their order, and the lists that name them."""

from __future__ import annotations

import difflib
import hashlib
import posixpath
import re
import unicodedata
from collections.abc import Iterable, Sequence
from urllib.parse import unquote

from pipelines.engine.text import text_lines
from sppnet.errors import ConfigError

IMAGE_EXTENSIONS = frozenset(
    {"jpg", "jpeg", "jpe", "jfif", "png", "bmp", "webp", "gif", "tif", "tiff", "heic", "heif", "avif", "jp2", "jxl"}
)
"""Of image files, in lower case. Formats that are not decoded count too: such a file is set aside, not overlooked."""

_MAGIC = ((b"\xff\xd8", "jpg"), (b"\x89PNG", "png"), (b"RIFF", "webp"), (b"BM", "bmp"), (b"GIF8", "gif"))
_SHOWN = 20
_UNSAFE = re.compile(r"[%.\\\x00-\x1f\x7f\ud800-\udfff]|^/")


def mixed(keys: Iterable[str]) -> list[str]:
    """Return keys in the order of their hashes, so that neighbours (hence shards) are of unlike classes."""
    return sorted(keys, key=lambda key: (hashlib.sha256(key.encode()).digest(), key))


def is_image(name: str) -> bool:
    """Tell by its extension, in any spelling, whether a file is an image."""
    return posixpath.splitext(name)[1][1:].lower() in IMAGE_EXTENSIONS


def extension_of(data: bytes) -> str:
    """Return the extension of an image file by how it begins; `jpg` where that says nothing."""
    return next((extension for magic, extension in _MAGIC if data.startswith(magic)), "jpg")


def key_of(path: str) -> str:
    """Return the key of an image file: its path without an image's extension, made safe; `path_of` undoes it."""
    return safe_key(posixpath.splitext(path)[0] if is_image(path) else path)


def safe_key(stem: str) -> str:
    """Return a name as a key: in Unicode's composed form, with `%2E` for a dot and `%25` for a percent sign.

    A tar member's name ends at its first dot. Backslashes, control characters and bytes that are not UTF-8 become `%`
    and two digits likewise.
    """
    return _UNSAFE.sub(_escaped, composed(stem))


def path_of(key: str) -> str:
    """Return the path, without extension and in composed form, that `key_of` made a key of."""
    return unquote(key, errors="surrogateescape") if "%" in key else key


def shown(key: str) -> str:
    r"""Return what people call an image: `path_of`, with `\xe9` for a byte that is not UTF-8, so that it is text."""
    return unquote(key, errors="backslashreplace") if "%" in key else key


def composed(name: str) -> str:
    """Return a name in Unicode's composed form (NFC): some systems take names apart."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def _escaped(mark: re.Match[str]) -> str:
    # A byte of a file's name that is no UTF-8; or, of JSON, half of a character.
    way = "surrogateescape" if "\udc80" <= mark[0] <= "\udcff" else "surrogatepass"
    return "".join(f"%{byte:02X}" for byte in mark[0].encode("utf-8", way))


def is_hidden(path: str) -> bool:
    """Tell whether a file is hidden or in a hidden folder, or is what macOS puts beside others (`__MACOSX`)."""
    return any(part == "__MACOSX" or (part.startswith(".") and part not in (".", "..")) for part in path.split("/"))


def check_split(split: str, splits: Sequence[str]) -> None:
    """Raise `ConfigError` for a split that a data set doesn't have."""
    if split not in splits:
        raise ConfigError(f"no split {split!r} in the data set; it has: {', '.join(splits)}")


def check_keys(keys: Iterable[str], where: str) -> None:
    """Raise `ConfigError` naming `where` for a key that comes twice."""
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            raise ConfigError(f"{where} lists {shown(key)!r} twice")
        seen.add(key)


def parse_list(text: bytes, where: str) -> list[list[str]]:
    """Return the columns of each line of a list that has any; raise `ConfigError` naming `where` for no text."""
    return [line.split() for line in text_lines(text, where)]


def parse_categories(text: bytes, where: str) -> tuple[str, ...]:
    """Parse a list of categories, one a line; raise `ConfigError` naming `where` for an empty or doubled list."""
    return checked_categories(text_lines(text, where), where)


def checked_categories(names: Sequence[str], where: str) -> tuple[str, ...]:
    """Return the categories; raise `ConfigError` naming `where` if there are none or one comes twice."""
    if not names:
        raise ConfigError(f"{where} holds no categories")
    seen: set[str] = set()
    for name in names:
        if name in seen or not name.strip():
            raise ConfigError(f"{where} names the category {name!r}{' twice' * (name in seen)}")
        seen.add(name)
    return tuple(names)


def near(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'car'?` for a misspelt name, or `; there are: ...`; for messages."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    return f"; there are: {shown or 'none'}"
