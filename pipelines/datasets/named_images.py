"""Which image a name means: in a list, a table, a file of windows or of numbers, however it is written there."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Container, Iterable, Iterator, Mapping
from functools import cached_property

from pipelines.datasets.contents import SeenFile
from pipelines.datasets.keys import composed, is_image, key_of, path_of, safe_key, shown
from sppnet.errors import ConfigError

VOC_IMAGES = "JPEGImages"
"""The folder that tools lead a name up to, such as `/data/VOC2007/JPEGImages/000012.jpg`."""

_COLUMN = re.compile(r"(?<=\S)\s+[+-]?\d+$")
_MARKS = re.compile(r"(?<=\S)(\s+[+-]?[01])+$")


def meanings(name: str, folder: str = VOC_IMAGES) -> Iterator[str]:
    """Yield the paths that a name may mean, the likeliest first.

    Args:
        name: A line of a list or a name in a table: with an extension or without, in a folder or not, with slashes or
            Windows' separators, and with columns of numbers behind it or without.
        folder: A name may lead up to this folder; what comes after it is meant then too.
    """
    while name:
        for path in dict.fromkeys((name, name.replace("\\", "/"))):
            plain = posixpath.normpath(path) if path.startswith("./") else path
            yield plain
            if f"/{folder}/" in f"/{plain}":
                yield f"/{plain}".rpartition(f"/{folder}/")[2]
        shorter = _COLUMN.sub("", name)
        name = "" if shorter == name else shorter


def likely_path(name: str, folder: str = VOC_IMAGES) -> str:
    """Return the path that an unknown name most likely means: without a list's marks -1, 0 and 1."""
    path = _MARKS.sub("", name).replace("\\", "/").removeprefix("./")
    return f"/{path}".rpartition(f"/{folder}/")[2].removeprefix("/")


def key_among(name: str, known: Container[str]) -> str:
    """Return the key that a name means.

    Args:
        name: See `meanings`; or a key as it is, or as `comp4` files have it.
        known: The keys of a data set.

    Returns:
        One of them; or, of an image that they don't have, the key that it would have.
    """
    for path in meanings(name):
        for key in (safe_key(path), key_of(path)):
            if key in known:
                return key
    decoded = safe_key(path_of(name))
    return name if name in known else decoded if decoded in known else key_of(likely_path(name))


class NamedImages:
    """The images of a folder by what they are called.

    Args:
        files: By path below the root.
        folder: The folder that keys are below; empty for the root.
    """

    def __init__(self, files: Mapping[str, SeenFile], folder: str = "") -> None:
        self._files = files
        self._head = f"{folder}/" if folder else ""

    def of(self, key: str) -> tuple[SeenFile, ...]:
        """Return the files that have a key: one, none, or several of unlike extensions."""
        return self._by_key.get(key, ())

    def find(self, name: str) -> tuple[str, tuple[SeenFile, ...]]:
        """Return the key that a name means, see `meanings`, and its files: one if the name has its extension."""
        folder = posixpath.basename(self._head.rstrip("/")) or VOC_IMAGES
        for path in meanings(name, folder):
            file = self._by_path.get(composed(path))
            if file is not None:
                return key_of(path), (file,)
            for key in (safe_key(path), key_of(path)):
                if key in self._by_key:
                    return key, self._by_key[key]
        unknown = key_of(likely_path(name, folder))
        folded = self._by_folded.get(unknown.casefold(), ())
        return (folded[0], self._by_key[folded[0]]) if len(folded) == 1 else (unknown, ())

    def listed(self, names: Iterable[str], where: str) -> dict[str, tuple[SeenFile, ...]]:
        """Return the images that a list names, by key in its order.

        Images whose keys clash, `a.jpg` and `a.png`, are one key of several files. An image that is not there is a key
        without a file.

        Args:
            names: See `find`.
            where: The list, for messages.

        Raises:
            ConfigError: An image comes twice.
        """
        found: dict[str, tuple[SeenFile, ...]] = {}
        for name in names:
            key, files = self.find(name)
            before = found.get(key, ())
            if key in found and (not files or set(files) & set(before)):
                raise ConfigError(f"{where} lists {shown(key)!r} twice")
            found[key] = (*before, *files)
        return found

    @property
    def keys(self) -> tuple[str, ...]:
        """All keys, in the order of the files."""
        return tuple(self._by_key)

    @cached_property
    def _by_path(self) -> dict[str, SeenFile]:
        inside = {name.removeprefix(self._head): file for name, file in self._files.items() if self._is_inside(name)}
        return {composed(name): file for name, file in inside.items()}

    @cached_property
    def _by_key(self) -> dict[str, tuple[SeenFile, ...]]:
        found: dict[str, tuple[SeenFile, ...]] = {}
        for name, file in self._files.items():
            if self._is_inside(name):
                key = key_of(name.removeprefix(self._head))
                found[key] = (*found.get(key, ()), file)
        return found

    @cached_property
    def _by_folded(self) -> dict[str, tuple[str, ...]]:
        """Keys by their lower case: a list may be from a system that doesn't tell cases apart."""
        found: dict[str, tuple[str, ...]] = {}
        for key in self._by_key:
            found[key.casefold()] = (*found.get(key.casefold(), ()), key)
        return found

    def _is_inside(self, name: str) -> bool:
        return name.startswith(self._head) and is_image(name)
