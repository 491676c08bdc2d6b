"""All storage: whole objects under one root, on a local disk or in an object store.

Nothing else in the project talks to a file system of artifacts. An object is written by one call that either
publishes all of it or nothing, and is never overwritten; `create` is the create-if-absent on which commits rest.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipelines.engine.local_store import LocalStore
from pipelines.engine.object_store import ObjectStore
from pipelines.engine.store_base import Entry, Store, StoreUnreachableError
from sppnet.errors import ConfigError

__all__ = [
    "Entry",
    "LocalStore",
    "ObjectStore",
    "Store",
    "StoreUnreachableError",
    "arrow_location",
    "open_for_others",
    "open_store",
]


def arrow_location(uri: str) -> tuple[str, Any]:
    """Return what Arrow knows a workspace by: a path, and its file system, None for that of the machine.

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
    """Open a local folder or an object-store prefix such as `s3://bucket/prefix`.

    Raises:
        ConfigError: The URI is empty, or names a scheme without a file system, or no bucket.
    """
    if not uri:
        raise ConfigError("the workspace is empty: give a folder or s3://bucket/prefix")
    if uri.startswith("file://"):
        uri = uri.removeprefix("file://")
    if "://" not in uri:
        return LocalStore(uri)
    if not uri.split("://", 1)[1].strip("/"):
        raise ConfigError(f"workspace {uri}: names no bucket; give s3://bucket/prefix")
    return ObjectStore(uri)


def open_for_others(uri: str) -> Store:
    """Open a store by a name that other processes know it by too: a local folder by its absolute path.

    Raises:
        ConfigError: See `open_store`.
    """
    store = open_store(uri)
    return open_store(str(Path(store.uri).expanduser().resolve())) if isinstance(store, LocalStore) else store
