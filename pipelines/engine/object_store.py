"""A store in S3, or in any other object store that fsspec knows."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pipelines.engine.activity import busy, moved
from pipelines.engine.backoff import backoff_seconds
from pipelines.engine.store_base import Entry, Store, StoreUnreachableError
from sppnet.errors import ArtifactError, ConfigError, SppError

logger = logging.getLogger(__name__)
T = TypeVar("T")

_TRIES = 8
_LARGE = (".parquet", ".tar", ".safetensors", ".pth")
"""Suffixes of objects that may be worth reading in parts."""
_FIRST_WAIT_SECONDS = 0.2
_LONGEST_WAIT_SECONDS = 30.0


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
        # s3fs asks for the size first, to read big objects in parts: for many small ones that would be a second trip.
        options = {} if name.endswith(_LARGE) else {"max_concurrency": 1}

        def get() -> bytes:
            try:
                return bytes(self._files.cat_file(self._full(name), **options))
            except FileNotFoundError as error:
                if _is_refusal(error):
                    raise
                raise ArtifactError(f"{self.uri}/{name} does not exist") from None

        return _reading(get, f"read {self.uri}/{name}")

    def read_range(self, name: str, start: int, size: int) -> bytes:
        """See `Store.read_range`."""

        def get() -> bytes:
            try:
                return bytes(self._files.cat_file(self._full(name), start=start, end=start + size))
            except FileNotFoundError as error:
                if _is_refusal(error):
                    raise
                raise ArtifactError(f"{self.uri}/{name} does not exist") from None

        return _reading(get, f"read {self.uri}/{name}") if size else b""

    def put(self, name: str, data: bytes) -> None:
        """See `Store.put`."""
        with busy("write"):
            _retried(lambda: self._files.pipe_file(self._full(name), data), f"write {self.uri}/{name}")
        moved("write", len(data))

    def put_file(self, name: str, path: Path) -> None:
        """See `Store.put_file`."""
        size = path.stat().st_size
        with busy("write"):
            _retried(lambda: self._files.put_file(str(path), self._full(name)), f"write {self.uri}/{name}")
        moved("write", size)

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
            except FileNotFoundError as error:
                if _is_refusal(error):
                    raise
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

    def folders(self) -> tuple[str, ...]:
        """See `Store.folders`."""

        def look() -> Any:
            try:
                return self._files.ls(self._full(""), detail=True)
            except FileNotFoundError as error:
                if _is_refusal(error):
                    raise
                return ()

        entries = _retried(look, f"list {self.uri}")
        folders = (entry["name"] for entry in entries if entry["type"] == "directory")
        return tuple(sorted(name.rstrip("/").rsplit("/", 1)[-1] for name in folders))

    def delete(self, name: str) -> None:
        """See `Store.delete`."""

        def remove() -> None:
            try:
                self._files.rm_file(self._full(name))
            except FileNotFoundError:
                return

        _retried(remove, f"delete {self.uri}/{name}")


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
    """Return the store's own code for an error, such as `NoSuchBucket`; empty if the store did not answer."""
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


def _reading(get: Callable[[], bytes], what: str) -> bytes:
    """Read like `_retried`, and count what was read."""
    with busy("read"):
        data = _retried(get, what)
    moved("read", len(data))
    return data


def _retried(action: Callable[[], T], what: str) -> T:
    """Run a storage call, again after a growing, jittered wait when the store or the network failed.

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
            wait = backoff_seconds(attempt, _FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS)
            logger.warning("storage retry what=%s error=%s wait=%.1fs", what, type(error).__name__, wait)
            time.sleep(wait)
    raise AssertionError("unreachable")
