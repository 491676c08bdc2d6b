"""The files of a corpus: images and tars by folders, globs, braces and lists, on a disk or in an object store."""

from __future__ import annotations

import logging
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipelines.datasets.contents import SeenFile
from pipelines.datasets.file_names import FoundFile, expand_braces, matches
from pipelines.datasets.folder_files import Folder, Listing
from pipelines.datasets.keys import is_image
from pipelines.datasets.left_out import LeftOut
from pipelines.datasets.outside_files import read_outside
from pipelines.datasets.tar_keys import is_tar
from pipelines.engine.store import is_remote, open_store
from pipelines.engine.text import text_lines
from sppnet.errors import ConfigError
from sppnet.outside import LIST_BYTES

logger = logging.getLogger(__name__)

LIST = "@"
"""What a path begins with that names a list of paths."""
_MARKS = re.compile(r"[*?\[]")
_LISTINGS = 32
"""So many folders are listed for files that are named one by one; of more, the folders above them are."""


@dataclass(frozen=True, slots=True)
class CorpusFiles:
    """What a corpus holds.

    Attributes:
        images: By path below the corpus's root.
        tars: In the order in which they are named; those of a folder or a glob are sorted.
        left_out: What else lies in the folders that are named.
    """

    images: Mapping[str, SeenFile]
    tars: tuple[FoundFile, ...]
    left_out: LeftOut


@dataclass(frozen=True, slots=True)
class _Named:
    """One name: a folder, and what is meant in it.

    Attributes:
        folder: Absolute path or URI.
        name: A file or folder in there, or a pattern; empty for all of the folder.
        is_pattern: Whether several names may be meant.
        is_listed: Whether it stands in a list: an image that is not there is set aside then, and the others go on.
    """

    folder: str
    name: str = ""
    is_pattern: bool = False
    is_listed: bool = False

    @classmethod
    def parse(cls, place: str, literal: bool) -> _Named:
        """Split an absolute path or URI where its first pattern is."""
        if literal or not _MARKS.search(place):
            folder, _, name = place.rpartition("/")
            return cls(place) if folder.endswith(":/") else cls(folder or "/", name)
        parts = place.split("/")
        first = next(number for number, part in enumerate(parts) if _MARKS.search(part))
        if is_remote(place) and first < 3:
            raise ConfigError(f"{place}: a bucket's name can't be a pattern")
        return cls("/".join(parts[:first]) or "/", "/".join(parts[first:]), is_pattern=True)

    @property
    def place(self) -> str:
        """The whole of it."""
        return below(self.folder, self.name) if self.name else self.folder

    @property
    def is_file(self) -> bool:
        """Whether it is one image or tar, by its extension; a folder may be called so too."""
        return not self.is_pattern and (is_image(self.name) or is_tar(self.name)) and not _is_folder(self.place)

    @property
    def static(self) -> str:
        """The folder that all that is meant lies in."""
        return self.folder if self.is_pattern or self.is_file else self.place


def absolute(path: str, folder: str = "") -> str:
    """Return a path as an absolute one, or a URI as it is, without a slash at the end.

    Args:
        path: A path, relative to `folder`, or a URI.
        folder: A folder or URI; empty for the working directory.

    Raises:
        ConfigError: A URI has a single slash.
    """
    if is_remote(path):
        return path.rstrip("/")
    local = Path(path.removeprefix("file://")).expanduser()
    if local.is_absolute() or not is_remote(folder):
        return posixpath.normpath(Path.cwd() / folder / local)
    scheme, _, place = folder.partition("://")
    return f"{scheme}://{posixpath.normpath(f'{place}/{local}')}"


def below(folder: str, name: str) -> str:
    """Return the place of a name in a folder or prefix."""
    return f"{folder.rstrip('/')}/{name}"


def common_root(paths: Iterable[str]) -> str:
    """Return the folder or prefix below which all files lie that paths name; empty where there is none.

    Args:
        paths: See `find_corpus`; relative ones are so to the working directory. Lists are read.

    Raises:
        ConfigError: See `find_corpus`; whether the files are there is not looked at.
    """
    parts: list[str] | None = None
    for named in _parsed(paths, ""):
        own = named.static.split("/")
        parts = own if parts is None else [a for a, _ in _same(parts, own)]
    root = "/".join(parts or [])
    return "/" if root == "" and parts == [""] else "" if root.endswith((":", ":/")) else root


def _same(one: Sequence[str], other: Sequence[str]) -> Iterator[tuple[str, str]]:
    for pair in zip(one, other, strict=False):
        if pair[0] != pair[1]:
            return
        yield pair


def find_corpus(paths: Sequence[str], root: str) -> CorpusFiles:
    """Find the images and tars that paths name.

    A folder or prefix stands for all images in it and below, or, if there are none, for all tars. Hidden files are
    left out. A file that is named more than once is taken once.

    Args:
        paths: Files, folders and URIs, with `{000..123}`, `{a,b}`, `*`, `?`, `[...]` and `**` (any folders); or
            `@FILE`, a list of files, folders and URIs, one a line, relative to its own folder, and taken literally.
            Without any, all of `root` is meant.
        root: Absolute folder or URI: what relative paths are relative to, and what all images must lie in. Empty for
            images that have no folder in common: their paths begin with `file/` or their URI's scheme then.

    Raises:
        ConfigError: A name that nothing matches (but for an image in a list), a file that is neither image nor tar, or
            one that is not below `root`.
    """
    wanted = list(dict.fromkeys(_parsed(paths, root))) if paths else [_Named.parse(root, literal=True)]
    listing = _Listings()
    alone = _files_alone([named for named in wanted if named.is_file], listing)
    if alone and not paths:
        raise ConfigError(f"{root} is a file; give the folder that it lies in, or the file by paths")
    images: dict[str, SeenFile] = {}
    tars: dict[str, FoundFile] = {}
    left_out: dict[str, LeftOut] = {}
    for named in wanted:
        if named in alone:
            folder, files = alone[named]
        elif named.is_listed and named.is_file and is_image(named.name):
            folder, files = named.folder, {named.name: SeenFile(named.name, "", bytes, "is not there")}
        else:
            folder, (files, left_out[named.place]) = named.folder, _meant(named, listing)
        for name, file in files.items():
            place = below(folder, name)
            if is_image(name):
                path = path_below(root, place)
                images[path] = replace(file, place=path)
            else:
                given = place.removeprefix(below(root, "")) if root else place
                tars[place] = FoundFile(given, folder, name, file.stamp, file.size)
    return CorpusFiles(images, tuple(tars.values()), LeftOut.summed(left_out.values()))


def path_below(root: str, place: str) -> str:
    """Return the path of an image below the root; `place_of` undoes it.

    Raises:
        ConfigError: It lies elsewhere.
    """
    if not root:
        return place.replace("://", "/", 1) if is_remote(place) else f"file{place}"
    if not place.startswith(below(root, "")):
        raise ConfigError(f"{place} is not below {root}, the root of its data set")
    return place.removeprefix(below(root, ""))


def place_of(root: str, path: str) -> tuple[str, str]:
    """Return the folder or bucket that an image lies in, and its path in there, from its path below the root."""
    if root:
        return root, path
    scheme, _, rest = path.partition("/")
    if scheme == "file":
        return "/", rest
    bucket, _, name = rest.partition("/")
    return f"{scheme}://{bucket}", name


def _parsed(paths: Iterable[str], root: str) -> Iterator[_Named]:
    for path in paths:
        if path.startswith(LIST):
            yield from _listed(absolute(path.removeprefix(LIST), root))
            continue
        place = absolute(path, root)  # a single slash is told before braces are looked at
        if not is_remote(place) and Path(place).exists():  # its name may look like a pattern
            yield _Named.parse(place, literal=True)
            continue
        for name in expand_braces(path):
            yield _Named.parse(absolute(name, root), literal=False)


def _listed(place: str) -> Iterator[_Named]:
    names = text_lines(read_outside(place, "list", LIST_BYTES), f"list {place}")
    if not names:
        raise ConfigError(f"list {place} names no files")
    folder = place.rpartition("/")[0]
    for name in names:
        yield replace(_Named.parse(_as_it_is(name, folder), literal=True), is_listed=True)


def _as_it_is(name: str, folder: str) -> str:
    """Return the place of a file in a list; Windows' separators become slashes where no file has them in its name."""
    place = absolute(name, folder)
    return place if "\\" not in name or Path(place).exists() else absolute(name.replace("\\", "/"), folder)


def _is_folder(place: str) -> bool:
    return not is_remote(place) and Path(place).is_dir()


class _Listings:
    """What is in folders and below, each listed once."""

    def __init__(self) -> None:
        self._folders: dict[str, Folder] = {}
        self._found: dict[tuple[str, str], Listing] = {}

    def of(self, folder: str, name: str = "") -> Listing:
        """List a folder, or of it only a file or folder, by paths below the folder."""
        if folder not in self._folders:
            self._folders[folder] = Folder(open_store(folder))
        if (folder, name) not in self._found:
            self._found[folder, name] = self._folders[folder].listing(name)
        return self._found[folder, name]


def _files_alone(wanted: Sequence[_Named], listing: _Listings) -> dict[_Named, tuple[str, Mapping[str, SeenFile]]]:
    """Find files that are named one by one, with a few listings however many there are; leave out what is not there."""
    found: dict[_Named, tuple[str, Mapping[str, SeenFile]]] = {}
    few = len(wanted) <= _LISTINGS
    folders = [] if few else _covering({named.folder for named in wanted})
    for named in wanted:
        folder = named.folder if few else next(f for f in _above(named.folder) if f in folders)
        files = listing.of(folder, named.name if few else "").files
        name = named.place.removeprefix(below(folder, ""))
        if name in files:
            found[named] = folder, {name: files[name]}
    return found


def _covering(folders: Iterable[str]) -> set[str]:
    """Return at most `_LISTINGS` folders that some folders are, or lie in; more only if those are of many buckets."""
    kept = set(folders)
    while len(kept) > _LISTINGS:
        deepest = max(folder.count("/") for folder in kept)
        raised = {next(_above(f, 1), f) if f.count("/") == deepest else f for f in kept}
        if raised == kept:
            break
        kept = raised
    return {folder for folder in kept if not any(above in kept for above in _above(folder, 1))}


def _above(folder: str, start: int = 0) -> Iterator[str]:
    """Yield a folder and those that it lies in, up to the root or bucket, from the `start`-th on."""
    parts = folder.rstrip("/").split("/")
    least = 3 if is_remote(folder) else 1
    for count in range(len(parts) - start, least - 1, -1):
        yield "/".join(parts[:count]) or "/"


def _meant(named: _Named, listing: _Listings) -> tuple[Mapping[str, SeenFile], LeftOut]:
    """Return the images or tars of a folder that a name means, by their paths in there, and what else it means."""
    found = listing.of(named.folder, "" if named.is_pattern else named.name)
    files = found.files
    if named.is_pattern:
        files = {name: file for name, file in files.items() if matches(named.name, name)}
    elif named.name in files:
        raise ConfigError(f"{named.place} is neither an image nor a tar by its extension, and no folder")
    images = {name: file for name, file in files.items() if is_image(name)}
    tars = {name: files[name] for name in sorted(files) if is_tar(name)}
    if images and tars:
        logger.warning("%s: holds images; %d tars are passed over, name them to take them too", named.place, len(tars))
    if not images and not tars:
        raise ConfigError(_nothing(named, found, sorted(files)))
    taken = images or tars
    return taken, Listing(files, 0 if named.is_pattern else found.hidden, found.closed).left_out(taken.__contains__)


def _nothing(named: _Named, found: Listing, others: Sequence[str]) -> str:
    closed = "".join(f"; {name}: {why}" for name, why in found.closed.items())
    if others or closed or named.is_pattern:
        none = f"no image and no tar matches {named.place}" if named.is_pattern else f"no images in {named.place}"
        return f"{none}{f', only files such as {others[0]}' if others else ''}{closed}"
    if named.is_file or not (is_remote(named.place) or Path(named.place).is_dir()):
        return f"{named.place} does not exist"
    hidden = f" but {found.hidden} hidden files" if found.hidden else ""
    return f"{named.place} holds no objects" if is_remote(named.place) else f"{named.place} is empty{hidden}"
