"""All storage: whole objects under one root, on a local disk or in an object store.

Nothing else in the project talks to a file system of artifacts. An object is written by one call that either
publishes all of it or nothing, and is never overwritten; `create` is the create-if-absent on which commits rest.
"""

from __future__ import annotations

import re
from typing import Any

from pipelines.engine.local_store import LocalStore
from pipelines.engine.object_store import ObjectStore
from pipelines.engine.store_base import Entry, Leftover, Store, StoreUnreachableError
from sppnet.errors import ConfigError

__all__ = [
    "Entry",
    "Leftover",
    "LocalStore",
    "ObjectStore",
    "Store",
    "StoreUnreachableError",
    "arrow_location",
    "is_remote",
    "open_store",
]

_ONE_SLASH = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):/(?!/)(?P<path>.*)")


def is_remote(uri: str) -> bool:
    """Tell whether a place is an object store's, not a path; raise `ConfigError` for a URI with a single slash."""
    slip = _ONE_SLASH.fullmatch(uri)
    if slip:
        raise ConfigError(f"{uri}: two slashes are needed: {slip['scheme']}://{slip['path']}")
    return "://" in uri and not uri.startswith("file://")


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
        ConfigError: The URI is empty, has a single slash or a password, or names no bucket, or a scheme without a file
            system.
    """
    if not uri:
        raise ConfigError("the workspace is empty: give a folder or s3://bucket/prefix")
    if not is_remote(uri):
        return LocalStore(uri.removeprefix("file://"))
    scheme, rest = uri.split("://", 1)
    if ":" in rest.split("/", 1)[0].rpartition("@")[0]:  # it would be in recipes, logs and process lists
        raise ConfigError(f"{scheme}://...@...: no password belongs in a URI; give credentials in the environment")
    if not rest.strip("/"):
        raise ConfigError(f"workspace {uri}: names no bucket; give s3://bucket/prefix")
    return ObjectStore(uri)
