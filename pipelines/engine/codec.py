"""Small objects as JSON: dataclasses and plain types, encoded canonically and checked field by field when read back."""

from __future__ import annotations

from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from pipelines.engine.fingerprint import canonical_json
from sppnet.errors import ArtifactError, ConfigError

T = TypeVar("T")


_ADAPTERS: dict[Any, TypeAdapter[Any]] = {}


def _adapter(kind: Any) -> TypeAdapter[Any]:
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def encode(value: Any) -> bytes:
    """Encode a value of a type that `decode` reads, the same bytes on every machine.

    Raises:
        ConfigError: The value has no stable encoding, such as a NaN.
    """
    return canonical_json(_adapter(type(value)).dump_python(value, mode="json")).encode()


def decode(kind: type[T], data: bytes | str, where: str) -> T:
    """Decode what `encode` gave.

    Types are taken strictly: a number is no string, a string no number. Fields that `kind` does not know are left out.

    Args:
        kind: A dataclass, or a type that one may have as a field.
        data: JSON.
        where: What it is, for messages.

    Raises:
        ArtifactError: It is something else; the message names `where` and the first field that does not fit.
    """
    try:
        return cast(T, _adapter(kind).validate_json(data, strict=True))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        path = ".".join(map(str, first["loc"]))
        raise ArtifactError(f"{where} is corrupt: {path + ': ' if path else ''}{first['msg']}") from error
    except ConfigError as error:  # a dataclass that checks itself
        raise ArtifactError(f"{where} is corrupt: {error}") from error
