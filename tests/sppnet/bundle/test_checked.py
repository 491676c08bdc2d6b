"""JSON to dataclasses: what was written comes back; anything else is named, and never a trace."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sppnet.bundle.checked import read_as
from sppnet.errors import ConfigError


@dataclass(frozen=True)
class Inner:
    kind: Literal["a", "b"]
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class Outer:
    inner: Inner | None
    share: float
    pair: tuple[str, bool]
    named: Mapping[str, Inner]
    rest: Mapping[str, Any]


GOOD = Outer(Inner("a", (1, 2)), 0.5, ("x", True), {"n": Inner("b", ())}, {"any": [1, None]})


def test_what_was_written_comes_back() -> None:
    assert read_as(Outer, json.loads(json.dumps(asdict(GOOD))), "it") == GOOD
    assert read_as(float, 3, "it") == 3.0
    assert read_as(Inner | None, None, "it") is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"share": "half"}, "it.share: 'half' is no finite number"),
        ({"share": float("nan")}, "it.share: nan is no finite number"),
        ({"share": True}, "it.share: True is no finite number"),
        ({"inner": {"kind": "c", "numbers": []}}, "it.inner.kind: 'c' is not one of a, b"),
        ({"inner": {"kind": "a", "numbers": [1, 2.5]}}, r"it.inner.numbers\[1\]: 2.5 is no int"),
        ({"inner": {"kind": "a"}}, "it.inner.numbers: is missing"),
        ({"pair": ["x"]}, "it.pair: 1 values, not 2"),
        ({"named": []}, r"it.named: \[\] is no mapping"),
        ({"more": 1}, "it.more: is unknown"),
    ],
)
def test_the_first_field_that_does_not_fit_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_as(Outer, {**asdict(GOOD), "inner": None, "pair": ["x", True], "named": {}, **change}, "it")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["inner", "share", "kind", "numbers"]), inner),
)


@given(JSON)
def test_anything_else_ends_in_one_line(value: Any) -> None:
    with pytest.raises(ConfigError):
        read_as(Outer, value, "it")
