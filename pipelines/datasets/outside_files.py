"""Files that lie outside the workspace: read whole, from a local path or an object store."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from pipelines.datasets.contents import SeenFile
from pipelines.engine.store import open_store
from sppnet.errors import ArtifactError, ConfigError, UnreadableError
from sppnet.outside import FILE_BYTES


def read_outside(path: str, what: str, most: int = FILE_BYTES) -> bytes:
    """Read a file.

    Args:
        path: A local path, or a URI such as `s3://bucket/name`.
        what: For the message: the config's field, and what the file is.
        most: Bytes that it may have.

    Raises:
        ConfigError: It is not there, or is none that can be read: a folder, a pipe, a device, larger than `most`.
    """
    folder, name = _split(path)
    try:
        return open_store(folder).read(name, most)
    except ArtifactError:
        raise ConfigError(f"{what} {path} can't be read: No such file or directory") from None
    except UnreadableError as error:
        raise ConfigError(f"{what} {error}") from error


def seen_outside(path: str, what: str) -> SeenFile:
    """Look at a file without reading it.

    Args:
        path: See `read_outside`.
        what: See `read_outside`.

    Returns:
        The file by its URI or absolute path; it is read like `read_outside`.

    Raises:
        ConfigError: It is not there, or can't be looked at.
    """
    folder, name = _split(path)
    for entry in open_store(folder).list(name):
        if entry.name == name:
            return SeenFile(
                f"{folder.rstrip('/')}/{name}", entry.stamp, partial(read_outside, path, what), size=entry.size
            )
    raise ConfigError(f"{what} {path} can't be read: there is no such file")


def _split(path: str) -> tuple[str, str]:
    """Return the folder or prefix that a file lies in, absolute, and its name in there."""
    folder, _, name = (path if "://" in path else str(Path(path).expanduser().absolute())).rpartition("/")
    return folder or "/", name


def find_outside(paths: Sequence[str], suffixes: tuple[str, ...], what: str) -> list[str]:
    """List files; a folder stands for all files with the suffixes in it and below, by name.

    Raises:
        ConfigError: A folder holds none.
    """
    found: list[str] = []
    for path in paths:
        if path.endswith(suffixes):
            found.append(path)
            continue
        names = [entry.name for entry in open_store(path).list() if entry.name.endswith(suffixes)]
        if not names:
            raise ConfigError(f"{what} {path} is no file or folder of files with {' or '.join(suffixes)}")
        found += [f"{path.rstrip('/')}/{name}" for name in names]
    return found


def seen_beside(path: str, name: str, what: str) -> SeenFile | None:
    """Look at another file of a file's folder without reading it; None if there is none of that name.

    Args:
        path: The file's; see `read_outside`.
        name: The other file's.
        what: For messages: what the other file is.
    """
    folder, _ = _split(path)
    there = any(entry.name == name for entry in open_store(folder).list(name))
    return seen_outside(f"{folder.rstrip('/')}/{name}", what) if there else None
