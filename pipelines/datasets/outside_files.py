"""Files that lie outside the workspace: read whole, from a local path or an object store."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from pipelines.datasets.contents import SeenFile
from pipelines.engine.store import open_store
from sppnet.errors import ArtifactError, ConfigError


def read_outside(path: str, what: str) -> bytes:
    """Read a file.

    Args:
        path: A local path, or a URI such as `s3://bucket/name`.
        what: For the message: the config's field, and what the file is.

    Raises:
        ConfigError: It is not there, or can't be read.
    """
    if "://" in path:
        folder, _, name = path.rpartition("/")
        try:
            return open_store(folder).read(name)
        except ArtifactError as error:
            raise ConfigError(f"{what} {error}") from error
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as error:
        raise ConfigError(f"{what} {path} can't be read: {error.strerror}") from error


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
    folder, _, name = (path if "://" in path else str(Path(path).expanduser().absolute())).rpartition("/")
    store = open_store(folder or "/")
    for entry in store.list(name):
        if entry.name == name:
            return SeenFile(f"{folder}/{name}", entry.stamp, partial(read_outside, path, what))
    raise ConfigError(f"{what} {path} can't be read: there is no such file")


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
