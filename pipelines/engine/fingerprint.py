"""Fingerprints: what an artifact was made from, as a short hash of canonical JSON."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from sppnet.errors import ConfigError

LENGTH = 12


def canonical_json(value: Any) -> str:
    """Encode a value so that equal values give equal text on every machine.

    Raises:
        ConfigError: The value has no stable encoding (a set, an object, a NaN, a key that is no string).
    """
    _check(value, "$")
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def _check(value: Any, where: str) -> None:
    if value is None or isinstance(value, bool | int | str):
        return
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ConfigError(f"{where}: {value} has no stable encoding")
        return
    if isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _check(item, f"{where}[{index}]")
        return
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ConfigError(f"{where}: key {key!r} is not a string")
            _check(item, f"{where}.{key}")
        return
    raise ConfigError(f"{where}: {type(value).__name__} has no stable encoding")


def fingerprint(preimage: Mapping[str, Any]) -> str:
    """Hashes what an artifact is made from to `LENGTH` hexadecimal digits."""
    return hashlib.sha256(canonical_json(dict(preimage)).encode()).hexdigest()[:LENGTH]


def content_digest(data: bytes) -> str:
    """Return the SHA-256 of some bytes in hexadecimal."""
    return hashlib.sha256(data).hexdigest()
