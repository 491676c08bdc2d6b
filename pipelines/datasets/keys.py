"""Keys of images, their order, and the lists that name them."""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Iterable, Sequence

from sppnet.errors import ConfigError
from sppnet.outside import LIST_BYTES, LIST_LINES

_UNWRITABLE = re.compile("[\0\ud800-\udfff]")


def mixed(keys: Iterable[str]) -> list[str]:
    """Return keys in the order of their hashes, so that neighbours (hence shards) are of unlike classes."""
    return sorted(keys, key=lambda key: (hashlib.sha256(key.encode()).digest(), key))


def key_of(path: str) -> str:
    """Return the key of a file: its path without the extension, with dots as `%2E` and percent signs as `%25`.

    `path_of` undoes it.
    """
    return safe_key(posixpath.splitext(path)[0])


def safe_key(stem: str) -> str:
    """Return a name with dots as `%2E` and percent signs as `%25`: a tar member's name ends at its first dot."""
    return stem.replace("%", "%25").replace(".", "%2E")


def path_of(key: str) -> str:
    """Return the path, without extension, that `key_of` made a key of."""
    return key.replace("%2E", ".").replace("%25", "%")


def is_hidden(path: str) -> bool:
    """Tell whether a file is hidden or in a hidden folder, or is what macOS puts beside others (`__MACOSX`)."""
    return any(part == "__MACOSX" or (part.startswith(".") and part not in (".", "..")) for part in path.split("/"))


def check_split(split: str, splits: Sequence[str]) -> None:
    """Raise `ConfigError` for a split that a data set doesn't have."""
    if split not in splits:
        raise ConfigError(f"no split {split!r} in the data set; it has: {', '.join(splits)}")


def check_keys(keys: Iterable[str], where: str) -> None:
    """Raise `ConfigError` naming `where` for a key that comes twice or can't name a tar's member."""
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            raise ConfigError(f"{where} lists {key!r} twice")
        # A tar member's name ends at its first dot.
        if not key or "." in key or key.startswith("/") or "\\" in key:
            raise ConfigError(f"{where}: {key!r} can't be a key: no dots, no absolute paths")
        if _UNWRITABLE.search(key):
            raise ConfigError(f"{where}: {key!r} can't be a key: no NUL, and only what UTF-8 can write; rename it")
        seen.add(key)


def parse_list(text: bytes, where: str) -> list[list[str]]:
    """Return the columns of each line of a list that has any; raise `ConfigError` naming `where` for an endless one."""
    lines = (line.split() for line in _lines(text, where))
    return [columns for columns in lines if columns]


def parse_categories(text: bytes, where: str) -> tuple[str, ...]:
    """Parse a list of categories, one a line; raise `ConfigError` naming `where` for an empty or doubled list."""
    names = [line.strip() for line in _lines(text, where) if line.strip()]
    return checked_categories(names, where)


def _lines(text: bytes, where: str) -> list[str]:
    if len(text) > LIST_BYTES or text.count(b"\n") + text.count(b"\r") > LIST_LINES:
        raise ConfigError(
            f"{where}: a list of at most {LIST_BYTES} bytes and {LIST_LINES} lines is read, this has more"
        )
    return text.decode("utf-8", "replace").splitlines()


def checked_categories(names: Sequence[str], where: str) -> tuple[str, ...]:
    """Return the categories; raise `ConfigError` naming `where` if there are none or one comes twice."""
    if not names:
        raise ConfigError(f"{where} holds no categories")
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ConfigError(f"{where} names the category {name!r} twice")
        seen.add(name)
    return tuple(names)
