"""Names of many files in one: `{000..123}`, `{a,b}` and globs, on a disk or in an object store."""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from pipelines.engine.store import open_store
from sppnet.errors import ConfigError

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_MOST = 1_000_000


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file that exists.

    Attributes:
        folder: Folder or object-store prefix.
        name: Its name in there.
        size: Bytes.
    """

    folder: str
    name: str
    size: int

    @property
    def uri(self) -> str:
        """Its whole place."""
        return f"{self.folder.rstrip('/')}/{self.name}"

    def read(self) -> bytes:
        """Its bytes; raises `ArtifactError` if it is gone."""
        return open_store(self.folder).read(self.name)


def expand_braces(pattern: str) -> list[str]:
    """All names that a pattern's braces stand for, in order.

    `{000..123}` counts, with zeros if the first number has them; `{a,b}` lists.

    Raises:
        ConfigError: Braces that hold neither, or that stand for too many names.
    """
    found = _BRACES.search(pattern)
    if found is None:
        if "{" in pattern or "}" in pattern:
            raise ConfigError(f"{pattern}: braces that do not close")
        return [pattern]
    head, tail = pattern[: found.start()], expand_braces(pattern[found.end() :])
    middles = _alternatives(found[1], pattern)
    if len(middles) * len(tail) > _MOST:
        raise ConfigError(f"{pattern}: stands for more than {_MOST} names")
    return [f"{head}{middle}{rest}" for middle in middles for rest in tail]


def _alternatives(inside: str, pattern: str) -> list[str]:
    numbers = _RANGE.fullmatch(inside)
    if numbers is None:
        if "," not in inside:
            raise ConfigError(f"{pattern}: {{{inside}}} is neither a range such as {{000..123}} nor a list {{a,b}}")
        return inside.split(",")
    first, last = int(numbers[1]), int(numbers[2])
    if not 0 <= last - first < _MOST:
        raise ConfigError(f"{pattern}: {{{inside}}} must count up, to at most {_MOST} names")
    width = len(numbers[1]) if numbers[1].startswith("0") else 0
    return [f"{number:0{width}d}" for number in range(first, last + 1)]


def find_files(patterns: Iterable[str], root: str = "") -> tuple[FoundFile, ...]:
    """The files that patterns name, in the order of the patterns; those of a glob are sorted.

    Args:
        patterns: Paths or URIs with braces and, in the file's name, `*`, `?` or `[...]`.
        root: What paths that are not absolute are relative to.

    Raises:
        ConfigError: A name or a glob that nothing matches, or a file that is named twice.
    """
    listing = lru_cache(maxsize=None)(_listing)
    found: dict[str, FoundFile] = {}
    for pattern in patterns:
        many = any(mark in pattern for mark in "{*?[")
        for name in expand_braces(pattern):
            absolute = "://" in name or posixpath.isabs(name) or name.startswith("~") or not root
            folder, file = posixpath.split(name if absolute else f"{root.rstrip('/')}/{name}")
            sizes = listing(folder or ".", "" if many else file)
            # An exact name may have brackets of its own.
            matches = [file] if file in sizes else fnmatch.filter(sizes, file)
            if not matches:
                raise ConfigError(f"no file matches {folder or '.'}/{file}")
            for match in matches:
                one = FoundFile(folder or ".", match, sizes[match])
                if one.uri in found:
                    raise ConfigError(f"{one.uri} is named twice")
                found[one.uri] = one
    return tuple(found.values())


def read_file(path: str, root: str = "") -> bytes:
    """The bytes of one file by path or URI, relative to `root`; raises `ConfigError` if there is none."""
    return find_files([path], root)[0].read()


def _listing(folder: str, prefix: str) -> dict[str, int]:
    return {entry.name: entry.size for entry in open_store(folder).list(prefix) if "/" not in entry.name}
