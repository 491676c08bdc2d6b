"""What differs between two nested mappings of plain values, by path."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Difference:
    """A value that differs.

    Attributes:
        path: Its keys, such as `steps.svms.c`.
        first: What the first mapping has there; None where it has nothing.
        second: What the second has.
    """

    path: str
    first: Any
    second: Any


def differences(first: Any, second: Any, path: str = "") -> Iterator[Difference]:
    """Find what differs between two values, as deep in their mappings as both have one."""
    if isinstance(first, dict) and isinstance(second, dict):
        for key in sorted({*first, *second}):
            yield from differences(first.get(key), second.get(key), f"{path}.{key}" if path else key)
    elif first != second:
        yield Difference(path, first, second)
