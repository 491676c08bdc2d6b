"""Small objects as JSON: what comes back, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from pipelines.engine.codec import decode, encode
from sppnet.errors import ArtifactError, ConfigError


@dataclass(frozen=True)
class Point:
    x: float
    y: float

    def __post_init__(self) -> None:
        if self.x < 0:
            raise ConfigError("x: must not be negative")


@dataclass(frozen=True)
class Shape:
    name: str
    points: tuple[Point, ...]
    sizes: Mapping[str, int]
    colour: str | None = None


SHAPE = Shape("line", (Point(0.5, 1), Point(2, 3)), {"b": 2, "a": 1})


def test_what_is_encoded_comes_back() -> None:
    data = encode(SHAPE)
    assert data == b'{"colour":null,"name":"line","points":[{"x":0.5,"y":1.0},{"x":2.0,"y":3.0}],"sizes":{"a":1,"b":2}}'
    assert decode(Shape, data, "here") == SHAPE
    assert decode(Shape, b'{"name": "x", "points": [], "sizes": {}, "later": 1}', "here") == Shape("x", (), {})


def test_what_has_no_stable_encoding_is_refused() -> None:
    with pytest.raises(ConfigError, match="no stable encoding"):
        encode(Point(math.nan, 0))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{", "here is corrupt: Invalid JSON"),
        (b"null", "here is corrupt: "),
        (b"[]", "here is corrupt: "),
        (b'{"name": "x", "points": []}', "here is corrupt: sizes: "),
        (b'{"name": 1, "points": [], "sizes": {}}', "here is corrupt: name: "),
        (b'{"name": "x", "points": [{"x": 1, "y": "2"}], "sizes": {}}', "here is corrupt: points.0.y: "),
        (b'{"name": "x", "points": [{"x": -1, "y": 2}], "sizes": {}}', "here is corrupt: x: must not be negative"),
        (b'{"name": "x", "points": [], "sizes": {"a": true}}', "here is corrupt: sizes.a: "),
    ],
)
def test_something_else_is_told_in_one_line(data: bytes, message: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        decode(Shape, data, "here")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
