"""All files below a folder of this machine: links are followed, and what can't be listed is told."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from pipelines.engine.store_base import Entry


def list_files(root: Path, prefix: str) -> list[Entry]:
    """List a file, or all files below a folder, sorted by name.

    Linked files and folders are followed wherever they lead. A link back to a folder that it lies in is cut; so is one,
    below a linked folder, to a folder that is listed there already.

    Args:
        root: The folder that names are relative to.
        prefix: The folder or file below it.

    Returns:
        The files, among them, with their `trouble`, links to nothing, pipes and devices, and folders that can't be
        read, whose names end with a slash.
    """
    base = root / prefix
    try:
        if base.is_file():
            return [entry_of(prefix, base.stat())]
    except OSError:  # a link to itself: told below
        pass
    return sorted(_walk(base, root), key=lambda entry: entry.name)


def _walk(base: Path, root: Path) -> Iterator[Entry]:
    waiting: list[tuple[Path, set[Path] | None]] = [(base, None)]
    while waiting:
        folder, linked = waiting.pop()
        try:
            found = list(os.scandir(folder))
        except (FileNotFoundError, NotADirectoryError):
            if folder == base and base.is_symlink():
                yield _trouble(base, root, _link(base))
            continue
        except OSError as error:
            yield _trouble(folder, root, error.strerror or str(error), "/")
            continue
        for item in found:
            path = Path(item.path)
            if _is_folder(item):
                inside = _linked(path, base, linked) if item.is_symlink() else linked
                if isinstance(inside, str):
                    yield _trouble(path, root, inside, "/")
                elif inside is None or inside:
                    waiting.append((path, inside))
            elif not (item.name.startswith(".") and item.name.endswith(".tmp")):
                yield from _file(path, root)


def _is_folder(item: os.DirEntry[str]) -> bool:
    try:
        return item.is_dir()
    except OSError:  # a link to itself
        return False


def _file(path: Path, root: Path) -> Iterator[Entry]:
    """Yield a file, or why it is none; nothing of one that is gone since it was seen, by gc or a losing attempt."""
    try:
        status = path.stat()
    except OSError as error:
        if path.is_symlink():
            yield _trouble(path, root, "a link to itself" if error.errno == errno.ELOOP else _link(path))
        elif not isinstance(error, FileNotFoundError):
            yield _trouble(path, root, error.strerror or str(error))
        return
    is_regular = stat.S_ISREG(status.st_mode)
    yield entry_of(_name(path, root), status) if is_regular else _trouble(path, root, "a pipe or a device")


def _linked(link: Path, base: Path, linked: set[Path] | None) -> set[Path] | str:
    """Tell what to do with a linked folder.

    Args:
        link: The link.
        base: Where the listing began.
        linked: Of a link below a linked folder: the places that were listed there.

    Returns:
        The places that are listed below it; none if it leads back to where it lies; or why it is not listed.
    """
    if _leads_back(link, base):
        return set()
    place = link.resolve()
    if linked is None:
        return {place}
    if place in linked:
        return f"a link to {place}, which is listed already"
    linked.add(place)
    return linked


def _leads_back(link: Path, base: Path) -> bool:
    """Tell whether a linked folder is one that it lies in, by its place or by the way that leads to it."""
    place, inside = link.resolve(), link.parent.resolve()
    if place == inside or place in inside.parents:
        return True
    way = [link.parent, *link.parent.parents]
    return any(place == folder.resolve() for folder in way if folder == base or base in folder.parents)


def _link(path: Path) -> str:
    return f"a link to {path.readlink()}, which is not there"


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _trouble(path: Path, root: Path, why: str, end: str = "") -> Entry:
    return Entry(_name(path, root) + end, 0, 0.0, "", why)


def entry_of(name: str, status: os.stat_result) -> Entry:
    """Return what a listing tells of a file."""
    # The time of the last change of the file's own record too: a copy may keep the other one.
    return Entry(name, status.st_size, status.st_mtime, f"{status.st_size}-{status.st_mtime_ns}-{status.st_ctime_ns}")
