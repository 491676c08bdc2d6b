"""Large JSON read entry by entry says what `json.loads` says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.datasets.json_lists import JsonLists, without_outlines

scalar = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
value = st.recursive(scalar, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner))
outline = st.lists(st.lists(st.floats(0, 999) | st.integers(0, 9), max_size=6), min_size=1, max_size=3)
tricky = st.sampled_from(['"segmentation": [[1]]', "segmentation", '[[1, 2]]}, {"', "\\"])
entry = st.dictionaries(
    st.sampled_from(["segmentation", "id", "bbox", "x"]), outline | scalar | tricky | st.lists(scalar, max_size=2)
)
body = st.dictionaries(st.sampled_from(["images", "annotations", "info"]), st.lists(entry, max_size=4) | value)
layout = st.sampled_from([{}, {"indent": 1}, {"separators": (",", ":")}, {"ensure_ascii": False}])


def plain(found: Any) -> Any:
    """The same with zeros in place of outlines."""
    if isinstance(found, dict):
        return {k: 0 if k == "segmentation" and is_outline(v) else plain(v) for k, v in found.items()}
    return [plain(part) for part in found] if isinstance(found, list) else found


def is_outline(found: Any) -> bool:
    return isinstance(found, list) and bool(found) and isinstance(found[0], list)


@settings(max_examples=150)
@given(body, layout)
def test_only_outlines_are_passed_over(given_body: dict[str, Any], form: dict[str, Any]) -> None:
    wanted = plain(given_body)
    data = without_outlines(json.dumps(given_body, **form).encode())
    assert json.loads(data) == wanted
    lists = JsonLists(data.decode())
    found = {key: list(lists.entries()) for key in lists}
    assert found == {key: part if isinstance(part, list) else [] for key, part in wanted.items()}


def test_outlines_of_another_form_stay() -> None:
    for form in ('[[1], {"counts": [2]}]', '[["1"]]', '{"counts": [[1]], "size": [1, 2]}', '"[[1]]"', "[]", "[1]"):
        data = f'{{"annotations": [{{"segmentation": {form}, "id": 1}}]}}'.encode()
        assert without_outlines(data) == data


def test_what_is_not_asked_for_is_passed_over() -> None:
    lists = JsonLists('{"a": [1, {"b": [2]}], "c": {"a": []}, "d": [3 , 4]}')
    assert [list(lists.entries()) for key in lists if key == "d"] == [[3, 4]]


@pytest.mark.parametrize(
    "text", ["", "1", "[]", "{", '{"a"', '{"a": [1', '{"a": [1 2]}', '{"a": [1,]}', '{"a": 1,}', "{1: 2}"]
)
def test_what_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"it is|xpect"):
        list(JsonLists(text))
