"""Plain JSON values to dataclasses, checked field by field: what a file claims is not believed."""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from sppnet.errors import ConfigError

T = TypeVar("T")
_SHOWN = 60


def read_as(kind: type[T], value: Any, where: str) -> T:
    """Read a value as a dataclass, or as a type that one may have as a field.

    Types are taken strictly: no number is a string, no fraction an integer. A dataclass needs all of its fields and
    takes no others.

    Args:
        kind: A dataclass, `int`, `float`, `str`, `bool`, a `Literal`, `X | None`, `tuple[X, ...]`, a tuple of given
            types, or a `Mapping[str, X]`; `Any` leaves a value as it is.
        value: As JSON has it.
        where: What it is, for messages.

    Raises:
        ConfigError: It is something else; the message names the first field that does not fit.
    """
    return _read(kind, value, where)  # type: ignore[no-any-return]


def _read(kind: Any, value: Any, where: str) -> Any:
    if kind is Any:
        return value
    if is_dataclass(kind):
        return _read_dataclass(kind, value, where)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        inner = next(one for one in arguments if one is not type(None))
        return None if value is None else _read(inner, value, where)
    if origin is Literal:
        if value not in arguments:
            raise ConfigError(f"{where}: {_shown(value)} is not one of {', '.join(map(str, arguments))}")
        return value
    if origin is tuple:
        return _read_tuple(arguments, value, where)
    if origin is Mapping or (isinstance(origin, type) and issubclass(origin, Mapping)):
        if not isinstance(value, dict):
            raise ConfigError(f"{where}: {_shown(value)} is no mapping")
        return {name: _read(arguments[1], item, f"{where}.{name:.{_SHOWN}}") for name, item in value.items()}
    return _read_plain(kind, value, where)


def _read_plain(kind: Any, value: Any, where: str) -> Any:
    if kind is float and type(value) is int and abs(value) < 2**53:
        return value  # a whole number stays one, so that what is written again is the same
    if type(value) is not kind or (kind is float and not math.isfinite(value)):
        raise ConfigError(f"{where}: {_shown(value)} is no {'finite number' if kind is float else kind.__name__}")
    return value


def _read_tuple(arguments: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise ConfigError(f"{where}: {_shown(value)} is no list")
    kinds = (arguments[0],) * len(value) if arguments[1:] == (Ellipsis,) else arguments
    if len(kinds) != len(value):
        raise ConfigError(f"{where}: {len(value)} values, not {len(kinds)}")
    return tuple(_read(kind, item, f"{where}[{place}]") for place, (kind, item) in enumerate(zip(kinds, value)))  # noqa: B905


def _read_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: {_shown(value)} is no mapping")
    known = get_type_hints(kind)
    names = [field.name for field in fields(kind)]
    for name in names:
        if name not in value:
            raise ConfigError(f"{where}.{name}: is missing")
    for name in value:
        if name not in names:
            raise ConfigError(f"{where}.{name:.{_SHOWN}}: is unknown")
    return kind(**{name: _read(known[name], value[name], f"{where}.{name}") for name in names})


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
