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
            return [_entry(prefix, base.stat())]
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
            if item.name.startswith(".") and item.name.endswith(".tmp"):
                continue
            try:
                is_folder, status = item.is_dir(), item.stat()
            except FileNotFoundError:  # a link to nothing, or removed since it was seen, by gc or a losing attempt
                if item.is_symlink():
                    yield _trouble(path, root, _link(path))
                continue
            except OSError as error:
                loop = error.errno == errno.ELOOP
                yield _trouble(path, root, "a link to itself" if loop else error.strerror or str(error))
                continue
            if not is_folder:
                regular = stat.S_ISREG(status.st_mode)
                yield _entry(_name(path, root), status) if regular else _trouble(path, root, "a pipe or a device")
            elif not item.is_symlink():
                waiting.append((path, linked))
            elif not _leads_back(path, base):
                place = path.resolve()
                if linked is None:
                    waiting.append((path, {place}))
                elif place in linked:
                    yield _trouble(path, root, f"a link to {place}, which is listed already", "/")
                else:
                    linked.add(place)
                    waiting.append((path, linked))


def _leads_back(link: Path, base: Path) -> bool:
    """Tell whether a linked folder is one that it lies in, by its place or by the way that leads to it."""
    place, inside = link.resolve(), link.parent.resolve()
    if place == inside or place in inside.parents:
        return True
    way = [link.parent, *link.parent.parents]
    return any(place == folder.resolve() for folder in way if folder == base or base in folder.parents)


def _link(path: Path) -> str:
    return f"a link to {os.readlink(path)}, which is not there"


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _trouble(path: Path, root: Path, why: str, end: str = "") -> Entry:
    return Entry(_name(path, root) + end, 0, 0.0, "", why)


def _entry(name: str, status: os.stat_result) -> Entry:
    # The time of the last change of the file's own record too: a copy may keep the other one.
    return Entry(name, status.st_size, status.st_mtime, f"{status.st_size}-{status.st_mtime_ns}-{status.st_ctime_ns}")
