"""All storage: whole objects under one root, on a local disk or in an object store.

Nothing else in the project talks to a file system of artifacts. An object is written by one call that either
publishes all of it or nothing, and is never overwritten; `create` is the create-if-absent on which commits rest.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import random
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sppnet.errors import ArtifactError, ConfigError, IncompleteError, SppError

logger = logging.getLogger(__name__)
T = TypeVar("T")

_TRIES = 8
_FIRST_WAIT_SECONDS = 0.2


class StoreUnreachableError(IncompleteError, ConnectionError):
    """The store or the network failed at every try; what was committed is kept, and running again goes on."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of a listing.

    Attributes:
        name: Path relative to the store's root.
        size: Bytes.
        modified: Seconds since the epoch.
        stamp: Changes whenever the object does; it says nothing else.
    """

    name: str
    size: int
    modified: float
    stamp: str


class Store(ABC):
    """Whole objects under one root. Build it with `open_store`; pickling carries the URI only, never a secret."""

    uri: str

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Returns the object's bytes; raises `ArtifactError` if there is none."""

    @abstractmethod
    def read_range(self, name: str, start: int, size: int) -> bytes:
        """Returns `size` bytes of the object from `start` on, fewer at its end; raises like `read`."""

    @abstractmethod
    def put(self, name: str, data: bytes) -> None:
        """Publishes an object under a name that is used once."""

    @abstractmethod
    def create(self, name: str, data: bytes) -> bool:
        """Publishes an object if the name is free. Returns whether it did."""

    @abstractmethod
    def list(self, prefix: str = "") -> list[Entry]:
        """Lists all objects whose name starts with the folder `prefix`, sorted by name. Never from a cache."""

    @abstractmethod
    def folders(self) -> list[str]:
        """List the names of the folders right below the root, sorted, however much is in them."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Remove an object; a missing one is no error."""

    def exists(self, name: str) -> bool:
        """Tells whether the object is there."""
        return any(entry.name == name for entry in self.list(name))

    def __reduce__(self) -> tuple[Callable[[str], Store], tuple[str]]:
        return open_store, (self.uri,)

    def __repr__(self) -> str:
        return f"Store({self.uri})"


class LocalStore(Store):
    """A folder. Objects appear atomically: written aside, flushed, then linked or renamed into place."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.uri = str(self.root)

    def _path(self, name: str) -> Path:
        path = self.root / name
        if ".." in Path(name).parts or Path(name).is_absolute():
            raise ConfigError(f"object name {name!r} leaves the store {self.uri}")
        return path

    def read(self, name: str) -> bytes:
        """See `Store.read`."""
        return self.read_range(name, 0, -1)

    def read_range(self, name: str, start: int, size: int) -> bytes:
        """See `Store.read_range`."""
        try:
            with self._path(name).open("rb") as file:
                file.seek(start)
                return file.read(size)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise ArtifactError(f"{self.uri}/{name} does not exist") from None
        except OSError as error:
            raise ConfigError(f"{self.uri}/{name} can't be read: {error.strerror}") from error

    def _write_aside(self, path: Path, data: bytes) -> Path:
        aside = path.parent / f".{path.name}.{uuid.uuid4().hex}.tmp"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with aside.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            with contextlib.suppress(OSError):
                aside.unlink()
            raise _storage_error(f"{path}", error) from error
        return aside

    def put(self, name: str, data: bytes) -> None:
        """See `Store.put`."""
        path = self._path(name)
        aside = self._write_aside(path, data)
        try:
            aside.replace(path)
        except OSError as error:
            aside.unlink()
            raise _storage_error(f"{path}", error) from error

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
            aside.unlink()
        return True

    def list(self, prefix: str = "") -> list[Entry]:
        """See `Store.list`."""
        base = self._path(prefix)
        found: list[Entry] = []
        if base.is_file():
            return [_entry(prefix, base.stat())]
        for folder, _, files in os.walk(base):
            for file in files:
                if file.startswith(".") and file.endswith(".tmp"):
                    continue
                path = Path(folder) / file
                try:
                    stat = path.stat()
                except FileNotFoundError:  # removed since it was seen, by gc or a losing attempt
                    continue
                found.append(_entry(path.relative_to(self.root).as_posix(), stat))
        return sorted(found, key=lambda entry: entry.name)

    def folders(self) -> list[str]:
        """See `Store.folders`."""
        try:
            return sorted(entry.name for entry in os.scandir(self.root) if entry.is_dir())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def exists(self, name: str) -> bool:
        """See `Store.exists`."""
        return self._path(name).is_file()

    def delete(self, name: str) -> None:
        """See `Store.delete`."""
        self._path(name).unlink(missing_ok=True)


class ObjectStore(Store):
    """A prefix of an object store, through fsspec. Credentials and endpoint come from the environment."""

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")
        self._owner = os.getpid()
        self._fs = self._connect()

    def _connect(self) -> Any:
        import fsspec

        scheme = self.uri.split("://", 1)[0]
        try:
            # A cached listing hides what other writers commit; a cached instance may be from before a fork.
            return fsspec.filesystem(scheme, use_listings_cache=False, skip_instance_cache=True)
        except (ImportError, ValueError) as error:
            raise ConfigError(f"workspace {self.uri}: no file system for {scheme}:// ({error})") from error

    @property
    def _files(self) -> Any:
        if self._owner != os.getpid():  # s3fs is not fork-safe
            # The parent's one is kept: if it were collected here, it would unhook the parent's connections.
            self._inherited, self._fs, self._owner = self._fs, self._connect(), os.getpid()
        return self._fs

    def _full(self, name: str) -> str:
        return f"{self.uri.split('://', 1)[1]}/{name}".rstrip("/")

    def read(self, name: str) -> bytes:
        """See `Store.read`."""
        # s3fs asks for the size first, to read big objects in parts: for the many commits that would be a second trip.
        options = {"max_concurrency": 1} if name.endswith(".json") else {}

        def get() -> bytes:
            try:
                return bytes(self._files.cat_file(self._full(name), **options))
            except FileNotFoundError as error:
                if _is_refusal(error):
                    raise
                raise ArtifactError(f"{self.uri}/{name} does not exist") from None

        return _retried(get, f"read {self.uri}/{name}")

    def read_range(self, name: str, start: int, size: int) -> bytes:
        """See `Store.read_range`."""

        def get() -> bytes:
            try:
                return bytes(self._files.cat_file(self._full(name), start=start, end=start + size))
            except FileNotFoundError as error:
                if _is_refusal(error):
                    raise
                raise ArtifactError(f"{self.uri}/{name} does not exist") from None

        return _retried(get, f"read {self.uri}/{name}") if size else b""

    def put(self, name: str, data: bytes) -> None:
        """See `Store.put`."""
        _retried(lambda: self._files.pipe_file(self._full(name), data), f"write {self.uri}/{name}")

    def create(self, name: str, data: bytes) -> bool:
        """See `Store.create`."""

        def attempt() -> bool:
            try:
                self._files.pipe_file(self._full(name), data, mode="create")
            except FileExistsError:
                return False
            except OSError as error:
                if _error_code(error) == "PreconditionFailed":  # s3fs reports a failed If-None-Match as EINVAL
                    return False
                raise
            return True

        return _retried(attempt, f"create {self.uri}/{name}")

    def list(self, prefix: str = "") -> list[Entry]:
        """See `Store.list`."""
        root = self.uri.split("://", 1)[1] + "/"

        def find() -> dict[str, dict[str, Any]]:
            try:
                found: dict[str, dict[str, Any]] = self._files.find(self._full(prefix), detail=True)
            except FileNotFoundError:
                return {}
            return found

        entries = []
        for path, info in _retried(find, f"list {self.uri}/{prefix}").items():
            if info.get("type") == "directory":  # a marker that some stores keep after the last object is gone
                continue
            changed: Any = info.get("LastModified") or info.get("created")
            modified = changed.timestamp() if hasattr(changed, "timestamp") else float(info.get("mtime", 0.0))
            stamp = f"{info['size']}-{str(info.get('ETag') or modified).strip(chr(34))}"
            entries.append(Entry(path.removeprefix("/").removeprefix(root), int(info["size"]), modified, stamp))
        return sorted(entries, key=lambda entry: entry.name)

    def folders(self) -> list[str]:
        """See `Store.folders`."""

        def look() -> list[dict[str, Any]]:
            try:
                found: list[dict[str, Any]] = self._files.ls(self._full(""), detail=True)
            except FileNotFoundError as error:
                if _is_refusal(error):
                    raise
                return []
            return found

        entries = _retried(look, f"list {self.uri}")
        return sorted(entry["name"].rstrip("/").rsplit("/", 1)[-1] for entry in entries if entry["type"] == "directory")

    def delete(self, name: str) -> None:
        """See `Store.delete`."""

        def remove() -> None:
            try:
                self._files.rm_file(self._full(name))
            except FileNotFoundError:
                return

        _retried(remove, f"delete {self.uri}/{name}")


def _entry(name: str, stat: os.stat_result) -> Entry:
    # The time of the last change of the file's own record too: a copy may keep the other one.
    return Entry(name, stat.st_size, stat.st_mtime, f"{stat.st_size}-{stat.st_mtime_ns}-{stat.st_ctime_ns}")


def _storage_error(where: str, error: OSError) -> ConfigError:
    if error.errno == errno.ENOSPC:
        return ConfigError(f"{where}: the disk is full; free space and run again, finished shards are kept")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
        return ConfigError(
            f"workspace can't be written at {where}: {error.strerror}; check its rights or choose another"
        )
    return ConfigError(f"{where}: {error.strerror or error}")


_REFUSALS = frozenset(
    {
        "403",
        "AccessDenied",
        "AllAccessDisabled",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidBucketName",
        "InvalidToken",
        "NoSuchBucket",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
    }
)
_MISCONFIGURED = frozenset({"NoCredentialsError", "PartialCredentialsError", "ParamValidationError", "ProfileNotFound"})


def _error_code(error: BaseException) -> str:
    """The store's own code for an error, such as `NoSuchBucket`; empty if the store did not answer."""
    cause: BaseException | None = error
    while cause is not None:
        response = getattr(cause, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code", ""))
        cause = cause.__cause__
    return ""


def _is_refusal(error: BaseException) -> bool:
    # By name: botocore is there only where s3fs is.
    misconfigured = type(error).__name__ in _MISCONFIGURED
    return misconfigured or isinstance(error, PermissionError) or _error_code(error) in _REFUSALS


def _retried(action: Callable[[], T], what: str) -> T:
    """Runs a storage call, again after a growing, jittered wait when the store or the network failed.

    Raises:
        ConfigError: The store refuses, or there are no credentials: no other try would help.
        StoreUnreachableError: The store or the network failed at every try.
    """
    for attempt in range(1, _TRIES + 1):
        try:
            return action()
        except SppError:
            raise
        except Exception as error:  # boundary: botocore, aiohttp and OS errors share no base class
            text = " ".join(str(error).split())
            if _is_refusal(error):
                raise ConfigError(f"can't {what}: the store refuses ({text}); check credentials and bucket") from error
            if attempt == _TRIES:
                raise StoreUnreachableError(f"can't {what}: {type(error).__name__}: {text} ({_TRIES} tries)") from error
            wait = _FIRST_WAIT_SECONDS * 2 ** (attempt - 1) * (0.5 + random.random())
            logger.warning("storage retry what=%s error=%s wait=%.1fs", what, type(error).__name__, wait)
            time.sleep(wait)
    raise AssertionError("unreachable")


def arrow_location(uri: str) -> tuple[str, Any]:
    """What Arrow knows a workspace by: a path, and its file system, None for that of the machine.

    Credentials stay in each process's environment: the pickled file system holds none.
    """
    if "://" not in uri:
        return uri, None
    import fsspec
    import pyarrow.fs

    scheme, path = uri.split("://", 1)
    files = fsspec.filesystem(scheme, use_listings_cache=False)
    return path.rstrip("/"), pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(files))


def open_store(uri: str) -> Store:
    """Opens a local folder or an object-store prefix such as `s3://bucket/prefix`.

    Raises:
        ConfigError: The URI is empty, or names a scheme without a file system, or no bucket.
    """
    if not uri:
        raise ConfigError("the workspace is empty: give a folder or s3://bucket/prefix")
    if uri.startswith("file://"):
        uri = uri.removeprefix("file://")
    if "://" not in uri:
        return LocalStore(Path(uri).expanduser())
    if not uri.split("://", 1)[1].strip("/"):
        raise ConfigError(f"workspace {uri}: names no bucket; give s3://bucket/prefix")
    return ObjectStore(uri)
