"""Names of many files in one: `{000..123}`, `{a,b}` and globs, on a disk or in an object store."""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path

from braceexpand import braceexpand

from pipelines.datasets.contents import SeenFile
from pipelines.datasets.keys import is_hidden
from pipelines.engine.store import Entry, is_remote, open_store
from sppnet.errors import ConfigError
from sppnet.outside import FILE_BYTES

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)(?:\.\.-?\d+)?")
_MOST = 1_000_000


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file that exists.

    Attributes:
        given: Its path or URI as the pattern has it, which `read_given` takes.
        folder: Folder or object-store prefix.
        name: Its name in there.
        stamp: Changes whenever the file does.
        size: Its bytes in the listing; None where that is not known.
    """

    given: str
    folder: str
    name: str
    stamp: str
    size: int | None = None

    @property
    def uri(self) -> str:
        """Its whole place."""
        return f"{self.folder.rstrip('/')}/{self.name}"

    def read(self, most: int = FILE_BYTES) -> bytes:
        """Return its bytes; raise `ArtifactError` if it is gone, `UnreadableError` if it is no file or too large."""
        return open_store(self.folder).read(self.name, most)

    def seen(self) -> SeenFile:
        """Return it as a listing shows it."""
        return SeenFile(self.given, self.stamp, self.read, size=self.size)


def expand_braces(pattern: str) -> list[str]:
    """Return all names that a pattern's braces stand for, in order, as a shell has it.

    `{000..123}` counts, with zeros if a number begins with one; `{a,b}` lists.

    Raises:
        ConfigError: Braces that hold neither, that do not close, or that stand for too many names.
    """
    for inside in _BRACES.findall(pattern):
        _check_range(inside, pattern)
    try:
        names = list(islice(braceexpand(pattern, escape=False), _MOST + 1))
    except ValueError:
        raise ConfigError(f"{pattern}: braces that do not close") from None
    if len(names) > _MOST:
        raise ConfigError(f"{pattern}: stands for more than {_MOST} names")
    odd = next((name for name in names if "{" in name or "}" in name), None)
    if odd is not None:  # braces that mean nothing stay as they are
        inside = _BRACES.search(odd)
        what = inside[0] if inside else odd
        raise ConfigError(f"{pattern}: {what} is neither a range such as {{000..123}} nor a list {{a,b}}")
    return names


def _check_range(inside: str, pattern: str) -> None:
    """Refuse a range before it is counted out."""
    numbers = _RANGE.fullmatch(inside)
    if numbers and not 0 <= int(numbers[2]) - int(numbers[1]) < _MOST:
        raise ConfigError(f"{pattern}: {{{inside}}} must count up, to at most {_MOST} names")


def find_files(patterns: Iterable[str], root: str, field: str) -> tuple[FoundFile, ...]:
    """Return the files that patterns name, in the order of the patterns; those of a glob are sorted.

    Args:
        patterns: Paths or URIs with braces and, in the file's name, `*`, `?` or `[...]`.
        root: What paths that are not absolute are relative to; empty for the working directory.
        field: The config's field that has them, for messages.

    Raises:
        ConfigError: A name or a glob that nothing matches, or a file that is named twice.
    """
    listing = lru_cache(maxsize=None)(_listing)
    found: dict[str, FoundFile] = {}
    for pattern in patterns:
        many = any(mark in pattern for mark in "{*?[")
        whole = _split(pattern, root)
        exact = not many or whole[1] in listing(*whole)  # a file's name may look like a pattern
        for name in [pattern] if exact else expand_braces(pattern):
            folder, file = _split(name, root)
            listed = listing(folder, file if exact else "")
            found_there = [file] if file in listed else fnmatch.filter(listed, file)
            if not found_there:
                raise ConfigError(f"{field}: no file matches {folder}/{file}{_why(folder, file)}")
            for match in found_there:
                one = FoundFile(name.removesuffix(file) + match, folder, match, listed[match].stamp, listed[match].size)
                if one.uri in found:
                    raise ConfigError(f"{field}: {one.uri} is named twice")
                found[one.uri] = one
    return tuple(found.values())


def _why(folder: str, file: str) -> str:
    """Say why nothing is there by a name."""
    place = Path(folder).expanduser()
    if not is_remote(folder) and not place.is_dir():
        return f": {folder} {'is no folder' if place.exists() else 'does not exist'}"
    if not is_remote(folder) and (place / file).is_dir():
        return f", a folder: name the files in it, such as {file}/*"
    there = next((name for name in sorted(_listing(folder, "")) if not is_hidden(name)), None)
    return f", in a folder that holds {there} and such" if there else ", in a folder without files"


def read_file(path: str, root: str, field: str, most: int = FILE_BYTES) -> bytes:
    """Return the bytes of one file by path or URI, at most so many; see `find_files`, and raises like it."""
    return find_files([path], root, field)[0].read(most)


def read_given(given: str, root: str = "") -> bytes:
    """Return the bytes of `FoundFile.given`, without a listing; raises like `FoundFile.read`."""
    folder, name = _split(given, root)
    return open_store(folder).read(name, FILE_BYTES)


def _split(name: str, root: str) -> tuple[str, str]:
    """Return the folder and the name in it of a path or URI, relative to `root` unless it is absolute."""
    absolute = "://" in name or posixpath.isabs(name) or name.startswith("~") or not root
    folder, file = posixpath.split(name if absolute else f"{root.rstrip('/')}/{name}")
    return folder or ".", file


def _listing(folder: str, prefix: str) -> dict[str, Entry]:
    """List a folder's own files, by name."""
    return {entry.name: entry for entry in open_store(folder).survey(prefix) if "/" not in entry.name}


def matches(pattern: str, name: str) -> bool:
    """Tell whether a pattern, or the exact name that it may be, means a file or a folder that it lies in.

    Args:
        pattern: A path with `*`, `?`, `[...]` and `**`, which stands for any folders.
        name: A file's path.
    """
    return name == pattern or name.startswith(f"{pattern}/") or _compiled(pattern).fullmatch(name) is not None


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> re.Pattern[str]:
    """Translate a pattern: `**` stands for any folders, and nothing else for a slash."""
    parts = [".*" if part == "**" else _translated(part) for part in pattern.split("/")]
    folders = ["(?:[^/]+/)*" if part == ".*" else f"{part}/" for part in parts[:-1]]
    return re.compile("".join([*folders, parts[-1], "(?:/.*)?"]), re.DOTALL)


_GLOB = re.compile(r"\*+|\?|\[(!?)(\]?[^\]]*)\]|.", re.DOTALL)


def _translated(part: str) -> str:
    """Translate one folder's or file's pattern."""
    text = ""
    for mark in _GLOB.finditer(part):
        if mark[0].startswith("*"):
            text += "[^/]*"
        elif mark[0] == "?":
            text += "[^/]"
        elif mark[2] is not None:
            inside = mark[2].replace("\\", r"\\").replace("[", r"\[").replace("]", r"\]").replace("^", r"\^")
            text += f"[{'^' * bool(mark[1])}{inside}]"
        else:
            text += re.escape(mark[0])
    return text
