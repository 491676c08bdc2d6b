"""A store in a folder of this machine."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path
from stat import S_ISFIFO, S_ISREG, S_ISSOCK

from pipelines.engine.activity import busy, moved
from pipelines.engine.disk_faults import disk_fault
from pipelines.engine.local_listing import entry_of, list_files
from pipelines.engine.store_base import Entry, Leftover, Store, check_length
from sppnet.errors import ArtifactError, ConfigError, UnreadableError

logger = logging.getLogger(__name__)

_ASIDE = re.compile(r"\..+\.[0-9a-f]{32}\.tmp")


class LocalStore(Store):
    """A folder. Objects appear atomically: written aside, flushed, then linked or renamed into place."""

    def __init__(self, root: str) -> None:
        self.root = Path(root).expanduser().resolve()
        self.uri = str(self.root)

    def _path(self, name: str) -> Path:
        path = self.root / name
        if ".." in Path(name).parts or Path(name).is_absolute():
            raise ConfigError(f"object name {name!r} leaves the store {self.uri}")
        return path

    def read(self, name: str, most: int | None = None) -> bytes:
        """See `Store.read`."""
        return self._read(name, 0, -1, most)

    def read_range(self, name: str, start: int, size: int) -> bytes:
        """See `Store.read_range`."""
        return self._read(name, start, size, None)

    def _read(self, name: str, start: int, size: int, most: int | None) -> bytes:
        where = f"{self.uri}/{name}"
        try:
            # Only regular files: a pipe would be waited for, and a device may have no end.
            with busy("read"), open(self._path(name), "rb", opener=_open_at_once) as file:
                stat = os.fstat(file.fileno())
                if not S_ISREG(stat.st_mode):
                    raise UnreadableError("not-a-file", f"{where} is no regular file, but a {_kind_of(stat.st_mode)}")
                check_length(where, stat.st_size, most)
                file.seek(start)
                data = file.read(size)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError, ValueError):  # ValueError: NUL in the name
            self._refuse_dangling(name, where)
            raise ArtifactError(f"{where} does not exist") from None
        except OSError as error:
            text = f"{where} can't be read: {error.strerror}"
            raise (UnreadableError("unreadable", text) if error.errno in _ITS_OWN else ConfigError(text)) from error
        moved("read", len(data))
        return data

    def _refuse_dangling(self, name: str, where: str) -> None:
        path = self.root / name
        if "\0" not in name and path.is_symlink() and not path.is_dir():
            raise UnreadableError("dangling-link", f"{where} is a link to {path.readlink()}, which is not there")

    def _write_aside(self, path: Path, data: bytes) -> Path:
        aside = path.parent / f".{path.name}.{uuid.uuid4().hex}.tmp"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with busy("write"), aside.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            moved("write", len(data))
        except OSError as error:
            _remove(aside)
            raise _storage_error(f"{path}", error) from error
        return aside

    def put(self, name: str, data: bytes) -> None:
        """See `Store.put`."""
        path = self._path(name)
        aside = self._write_aside(path, data)
        try:
            aside.replace(path)
        except OSError as error:
            _remove(aside)
            raise _storage_error(f"{path}", error) from error

    def put_file(self, name: str, path: Path) -> None:
        """See `Store.put_file`."""
        target = self._path(name)
        beside = target.parent / f".{target.name}.{uuid.uuid4().hex}.tmp"
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with busy("write"):
                shutil.move(path, beside)  # from another file system it is copied
                with beside.open("rb") as file:
                    os.fsync(file.fileno())
                beside.replace(target)
            moved("write", target.stat().st_size)
        except OSError as error:
            _remove(beside)
            raise _storage_error(f"{target}", error) from error

    def create(self, name: str, data: bytes) -> bool:
        """See `Store.create`."""
        path = self._path(name)
        if path.exists():
            return False
        aside = self._write_aside(path, data)
        try:
            # A hard link fails if the name is taken and shows the whole content at once; O_EXCL would show a torn one.
            os.link(aside, path)
        except FileExistsError:
            return False
        except OSError as error:  # a file system without hard links can't give create-if-absent
            raise _storage_error(f"{path}", error) from error
        finally:
            _remove(aside)
        return True

    def list(self, prefix: str = "") -> list[Entry]:
        """See `Store.list`."""
        found = []
        for entry in self.survey(prefix):
            closed = entry.trouble and entry.name.endswith("/")
            if closed and (self.root / entry.name) == self.root / prefix:
                raise ConfigError(f"{self.root / prefix} can't be listed: {entry.trouble}; check its rights")
            if closed:
                logger.warning("%s/%s can't be listed and is passed over: %s", self.root, entry.name, entry.trouble)
            if not entry.trouble:
                found.append(entry)
        return found

    def survey(self, prefix: str = "") -> Sequence[Entry]:
        """See `Store.survey`."""
        self._path(prefix)
        return list_files(self.root, prefix)

    def folders(self) -> tuple[str, ...]:
        """See `Store.folders`."""
        try:
            return tuple(sorted(entry.name for entry in os.scandir(self.root) if entry.is_dir()))
        except (FileNotFoundError, NotADirectoryError):
            return ()
        except OSError as error:
            raise ConfigError(f"{self.root} can't be listed: {error.strerror}; check its rights") from error

    def entry(self, name: str) -> Entry | None:
        """See `Store.entry`; raises `ConfigError` where it can't be told, which is not the same as not being there."""
        try:
            status = self._path(name).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise ConfigError(f"{self.uri}/{name} can't be read: {error.strerror}") from error
        return entry_of(name, status) if S_ISREG(status.st_mode) else None

    def exists(self, name: str) -> bool:
        """See `Store.exists`."""
        return self._path(name).is_file()

    def delete(self, name: str) -> None:
        """See `Store.delete`."""
        path = self._path(name)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise _storage_error(f"{path}", error) from error

    def leftovers(self) -> Sequence[Leftover]:
        """See `Store.leftovers`."""
        found = []
        for folder, _, files in os.walk(self.root):
            for file in filter(_ASIDE.fullmatch, files):
                path = Path(folder, file)
                with contextlib.suppress(FileNotFoundError):  # it was put in its place meanwhile
                    stat = path.stat()
                    found.append(Leftover(path.relative_to(self.root).as_posix(), stat.st_size, stat.st_mtime))
        return sorted(found, key=lambda left: left.name)

    def discard(self, leftover: Leftover) -> None:
        """See `Store.discard`."""
        self.delete(leftover.name)

    def remove_folder(self, name: str) -> None:
        """See `Store.remove_folder`."""
        for folder, _, _ in os.walk(self._path(name), topdown=False):
            with contextlib.suppress(OSError):  # something was put there meanwhile
                Path(folder).rmdir()


_ITS_OWN = frozenset({errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO, errno.ENODEV})
"""Codes that tell of one file; others, such as too many open files or a broken disk, are no file's own."""


def _remove(aside: Path) -> None:
    """Remove what no name leads to; it hurts nobody where that fails, and the failure before it is what is told."""
    with contextlib.suppress(OSError):
        aside.unlink()


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _kind_of(mode: int) -> str:
    return "pipe" if S_ISFIFO(mode) else "socket" if S_ISSOCK(mode) else "device"


def _storage_error(where: str, error: OSError) -> ConfigError:
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
        return ConfigError(
            f"workspace can't be written at {where}: {error.strerror}; check its rights or choose another"
        )
    return disk_fault(error, where) or ConfigError(f"can't write {where}: {error.strerror or error}")
