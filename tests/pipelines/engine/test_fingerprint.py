from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.engine.fingerprint import LENGTH, canonical_json, content_digest, fingerprint
from sppnet.errors import ConfigError

ROOT = Path(__file__).resolve().parents[3]
PREIMAGE = {
    "stage": "extract",
    "schema": 1,
    "config": {"scales": [480, 576, 688], "backbone": {"architecture": "zf5", "width": 1.0}, "note": "größer"},
    "inputs": {"images": ["images-3fa9c1d2b7aa"]},
    "external": {},
    "none": None,
    "flag": True,
}
GOLDEN = "15bc180258f4"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def test_the_fingerprint_of_a_known_preimage_never_changes() -> None:
    """If this fails, every workspace in the world is recomputed: change it only with intent."""
    assert fingerprint(PREIMAGE) == GOLDEN
    assert len(GOLDEN) == LENGTH


def test_another_process_finds_the_same_fingerprint() -> None:
    code = f"from pipelines.engine.fingerprint import fingerprint; print(fingerprint({PREIMAGE!r}))"
    for seed in ("1", "2"):  # of str's hash
        command = [sys.executable, "-c", code]
        found = subprocess.check_output(command, cwd=ROOT, env={"PYTHONHASHSEED": seed}, text=True)
        assert found.strip() == GOLDEN


def test_canonical_json_is_sorted_compact_and_ascii() -> None:
    assert canonical_json({"b": (1, 2.5, None), "a": "ä"}) == '{"a":"\\u00e4","b":[1,2.5,null]}'


@given(st.dictionaries(st.text(), json_values, max_size=6), st.randoms())
def test_the_order_of_keys_does_not_matter(value: dict[str, Any], random: Any) -> None:
    items = list(value.items())
    random.shuffle(items)
    assert fingerprint(dict(items)) == fingerprint(value)


@given(json_values)
def test_canonical_json_reads_back_and_is_a_fixed_point(value: Any) -> None:
    text = canonical_json(value)
    assert canonical_json(json.loads(text)) == text


@given(st.dictionaries(st.text(), json_values, max_size=4), st.text(), st.integers())
def test_a_changed_field_changes_the_fingerprint(value: dict[str, Any], key: str, number: int) -> None:
    assert fingerprint({**value, key: number}) != fingerprint({**value, key: number + 1})


@pytest.mark.parametrize(("a", "b"), [(1, 1.0), (1, True), (0, False), (None, "None"), ("1", 1), ([], {})])
def test_values_that_python_may_confuse_differ(a: Any, b: Any) -> None:
    assert fingerprint({"x": a}) != fingerprint({"x": b})


def test_a_tuple_is_its_list() -> None:
    assert fingerprint({"x": (1, (2, 3))}) == fingerprint({"x": [1, [2, 3]]})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [1, float("nan")]}, "$.a[1]: nan has no stable encoding"),
        ({"a": float("inf")}, "$.a: inf has no stable encoding"),
        ({"a": {1, 2}}, "$.a: set has no stable encoding"),
        ({"a": {"b": object()}}, "$.a.b: object has no stable encoding"),
        ({"a": b"bytes"}, "$.a: bytes has no stable encoding"),
        ({"a": Path("p")}, f"$.a: {type(Path('p')).__name__} has no stable encoding"),
        ({"a": np.float32(1)}, "$.a: float32 has no stable encoding"),
        ({"a": np.int64(1)}, "$.a: int64 has no stable encoding"),
        ({"a": {1: 2}}, "$.a: key 1 is not a string"),
    ],
)
def test_what_has_no_stable_encoding_is_refused_with_its_place(value: dict[str, Any], message: str) -> None:
    for encode in (canonical_json, fingerprint):
        with pytest.raises(ConfigError) as caught:
            encode(value)
        assert str(caught.value) == message


def test_content_digest_is_sha256() -> None:
    assert content_digest(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
