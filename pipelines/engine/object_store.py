"""A store in S3, or in any other object store that fsspec knows."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pipelines.engine.activity import busy, moved
from pipelines.engine.storage_calls import CONNECT_SECONDS, FIRST_TOUCH, READ_SECONDS, USUAL, call_store
from pipelines.engine.store_base import Entry, Leftover, Store, StoreUnreachableError, check_length
from sppnet.errors import ArtifactError, ConfigError

T = TypeVar("T")

_LARGE = (".parquet", ".tar", ".safetensors", ".pth")
"""Suffixes of objects that may be worth reading in parts."""
_answered: set[tuple[str, str, str]] = set()
"""Buckets that have answered this process, with their scheme and endpoint."""


def file_system(uri: str) -> Any:
    """Return fsspec's file system for a URI; it retries nothing by itself, since `call_store` does.

    Raises:
        ImportError, ValueError: fsspec knows none for the scheme.
    """
    import fsspec

    scheme = uri.split("://", 1)[0]
    options: dict[str, Any] = {}
    if scheme in ("s3", "s3a"):
        timeouts = {"connect_timeout": CONNECT_SECONDS, "read_timeout": READ_SECONDS}
        options["config_kwargs"] = {"retries": {"total_max_attempts": 1, "mode": "standard"}, **timeouts}
        options["session"] = _session()
    # A cached listing hides what other writers commit; a cached instance may be from before a fork.
    found = fsspec.filesystem(scheme, use_listings_cache=False, skip_instance_cache=True, **options)
    if options:
        found.retries = 1  # tries of s3fs's own
    return found


def _session() -> Any:
    """Return a session that sends an object without asking first whether it may (`Expect: 100-continue`).

    Once the server has said "continue", aiohttp waits for its answer without a timeout: a small put to a server that
    then is silent would never end.
    """
    from aiobotocore.session import AioSession

    def send_at_once(params: dict[str, Any], **_: Any) -> None:
        params["headers"].pop("Expect", None)

    session = AioSession()
    session.register("before-call.s3", send_at_once)
    return session


class ObjectStore(Store):
    """A prefix of an object store, through fsspec. Credentials and endpoint come from the environment."""

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")
        self._owner = os.getpid()
        self._fs = self._connect()

    def _connect(self) -> Any:
        try:
            return file_system(self.uri)
        except (ImportError, ValueError) as error:
            scheme = self.uri.split("://", 1)[0]
            raise ConfigError(f"workspace {self.uri}: no file system for {scheme}:// ({error})") from error

    def _call(self, action: Callable[[], T], what: str) -> T:
        """Call the store as `call_store` does; the first call of a process to a bucket is soon given up."""
        place = (self.uri.split("://", 1)[0], self._full("").split("/", 1)[0], _endpoint())
        known = place in _answered
        try:
            found = call_store(action, what, USUAL if known else FIRST_TOUCH, _is_refusal)
        except StoreUnreachableError as error:
            if known:
                raise
            raise StoreUnreachableError(f"{error} at {_endpoint() or 'the default endpoint'}") from error
        _answered.add(place)
        return found

    def _reading(self, get: Callable[[], bytes], name: str) -> bytes:
        with busy("read"):
            data = self._call(get, f"read {self.uri}/{name}")
        moved("read", len(data))
        return data

    @property
    def _files(self) -> Any:
        if self._owner != os.getpid():  # s3fs is not fork-safe
            # The parent's one is kept: if it were collected here, it would unhook the parent's connections.
            self._inherited, self._fs, self._owner = self._fs, self._connect(), os.getpid()
        return self._fs

    def _full(self, name: str) -> str:
        return f"{self.uri.split('://', 1)[1]}/{name}".rstrip("/")

    def read(self, name: str, most: int | None = None) -> bytes:
        """See `Store.read`; an object is never endless, so it is read and then measured."""
        # s3fs asks for the size first, to read big objects in parts: for many small ones that would be a second trip.
        options = {} if name.endswith(_LARGE) else {"max_concurrency": 1}

        def get() -> bytes:
            try:
                return bytes(self._files.cat_file(self._full(name), **options))
            except FileNotFoundError as error:
                if _is_refusal(error):
                    raise
                raise ArtifactError(f"{self.uri}/{name} does not exist") from None

        data = self._reading(get, name)
        check_length(f"{self.uri}/{name}", len(data), most)
        return data

    def read_range(self, name: str, start: int, size: int) -> bytes:
        """See `Store.read_range`."""

        def get() -> bytes:
            try:
                return bytes(self._files.cat_file(self._full(name), start=start, end=start + size))
            except FileNotFoundError as error:
                if _is_refusal(error):
                    raise
                raise ArtifactError(f"{self.uri}/{name} does not exist") from None

        return self._reading(get, name) if size else b""

    def put(self, name: str, data: bytes) -> None:
        """See `Store.put`."""
        with busy("write"):
            self._call(lambda: self._files.pipe_file(self._full(name), data), f"write {self.uri}/{name}")
        moved("write", len(data))

    def put_file(self, name: str, path: Path) -> None:
        """See `Store.put_file`."""
        size = path.stat().st_size
        with busy("write"):
            self._call(lambda: self._files.put_file(str(path), self._full(name)), f"write {self.uri}/{name}")
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

        if self._call(attempt, f"create {self.uri}/{name}"):
            return True
        # Taken, perhaps by us: the answer to a try that went through may have been lost on its way.
        try:
            return self.read(name) == data
        except ArtifactError:  # removed since, as old checkpoints are
            return False

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
        for path, info in self._call(find, f"list {self.uri}/{prefix}").items():
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

        entries = self._call(look, f"list {self.uri}")
        folders = (entry["name"] for entry in entries if entry["type"] == "directory")
        return tuple(sorted(name.rstrip("/").rsplit("/", 1)[-1] for name in folders))

    def delete(self, name: str) -> None:
        """See `Store.delete`."""

        def remove() -> None:
            try:
                self._files.rm_file(self._full(name))
            except FileNotFoundError:
                return

        self._call(remove, f"delete {self.uri}/{name}")

    def leftovers(self) -> Sequence[Leftover]:
        """See `Store.leftovers`; other stores than S3 tell of no uploads."""
        if not hasattr(self._files, "list_multipart_uploads"):
            return []
        bucket, _, prefix = f"{self._full('')}/".partition("/")
        found: list[Leftover] = []
        place: dict[str, str] = {}
        while True:
            asked = {"Bucket": bucket, "Prefix": prefix, **place}
            page = self._s3("list_multipart_uploads", f"list uploads to {self.uri}", asked)
            for upload in page.get("Uploads", ()):
                key, number = upload["Key"], upload["UploadId"]
                if not key.startswith(prefix):
                    continue
                begun = upload["Initiated"].timestamp()
                found.append(Leftover(key.removeprefix(prefix), self._uploaded(bucket, key, number), begun, number))
            if not page.get("IsTruncated"):
                return found
            place = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}

    def _uploaded(self, bucket: str, key: str, upload: str) -> int:
        """Return the bytes of an upload's parts, the first thousand of them."""
        asked = {"Bucket": bucket, "Key": key, "UploadId": upload}
        try:
            page = self._s3("list_parts", f"list parts of {key}", asked)
        except ArtifactError:  # completed or given up since it was listed
            return 0
        return sum(int(part["Size"]) for part in page.get("Parts", ()))

    def discard(self, leftover: Leftover) -> None:
        """See `Store.discard`."""
        bucket, _, key = self._full(leftover.name).partition("/")
        asked = {"Bucket": bucket, "Key": key, "UploadId": leftover.upload}
        with contextlib.suppress(ArtifactError):
            self._s3("abort_multipart_upload", f"give up the upload of {self.uri}/{leftover.name}", asked)

    def _s3(self, method: str, what: str, asked: dict[str, str]) -> dict[str, Any]:
        """Call S3 itself; raises `ArtifactError` where what is asked for is not there."""

        def call() -> dict[str, Any]:
            try:
                found: dict[str, Any] = self._files.call_s3(method, **asked)
            except FileNotFoundError as error:
                if _is_refusal(error):
                    raise
                raise ArtifactError(f"can't {what}: it is not there") from None
            return found

        return self._call(call, what)


def _endpoint() -> str:
    """Return where S3 is, without any credentials in it; empty for the service's own place."""
    names = ("FSSPEC_S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    given = urlsplit(next((os.environ[name] for name in names if os.environ.get(name)), ""))
    return given._replace(netloc=given.netloc.rpartition("@")[2]).geturl()


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
        "QuotaExceeded",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
        "XMinioAdminBucketQuotaExceeded",
        "XMinioStorageFull",
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
