from __future__ import annotations

import json
import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pipelines.artifacts.annotations import ImageAnnotation, ObjectAnnotation
from sppnet.errors import DataError


def image(*boxes: tuple[float, float, float, float], width: int = 100, height: int = 80) -> ImageAnnotation:
    return ImageAnnotation("k", width, height, tuple(ObjectAnnotation("cup", box) for box in boxes))


names = st.text(min_size=1, max_size=8)
objects = st.builds(
    ObjectAnnotation,
    names,
    st.tuples(*[st.floats(allow_nan=False, allow_infinity=False)] * 4),
    st.none() | names,
    st.booleans(),
    st.booleans(),
)


@given(st.builds(ImageAnnotation, names, st.integers(1), st.integers(1), st.lists(objects).map(tuple)))
def test_json_round_trip(annotation: ImageAnnotation) -> None:
    assert ImageAnnotation.from_json(json.loads(json.dumps(annotation.to_json()))) == annotation


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("key",), 3),
        (("width",), True),
        (("width",), 3.5),
        (("objects",), {}),
        (("objects", 0), "cup"),
        (("objects", 0, "box"), [1, 2, 3]),
        (("objects", 0, "box"), [1, 2, 3, "4"]),
        (("objects", 0, "category"), None),
        (("objects", 0, "subcategory"), 1),
        (("objects", 0, "difficult"), 0),
    ],
)
def test_from_json_names_the_wrong_field(path: tuple[str | int, ...], value: object) -> None:
    tree = image((1, 2, 3, 4)).to_json()
    node = tree
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = value
    with pytest.raises(ValueError, match=r"annotation .*field"):
        ImageAnnotation.from_json(tree)


@pytest.mark.parametrize("field", ["key", "width", "height", "objects"])
def test_from_json_needs_every_field(field: str) -> None:
    tree = image().to_json()
    del tree[field]
    with pytest.raises(ValueError, match=field):
        ImageAnnotation.from_json(tree)


@pytest.mark.parametrize(
    ("box", "kept"),
    [
        ((0, 0, 100, 80), (0, 0, 100, 80)),
        ((-1, -0.5, 101, 80.25), (0, 0, 100, 80)),
        ((3, 4, 3.5, 4.5), (3, 4, 3.5, 4.5)),
    ],
)
def test_a_pixel_of_overhang_is_clipped(box: tuple, kept: tuple) -> None:
    assert image(box).checked().objects[0].box == kept


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ((5, 5, 5, 9), "bad-box"),
        ((5, 5, 4, 9), "bad-box"),
        ((5, 9, 8, 8), "bad-box"),
        ((math.nan, 5, 8, 9), "bad-box"),
        ((5, 5, math.inf, 9), "bad-box"),
        ((100, 5, 101, 9), "bad-box"),
        ((-1, 5, 0, 9), "bad-box"),
        ((-1.1, 5, 8, 9), "box-outside-image"),
        ((5, 5, 101.5, 9), "box-outside-image"),
        ((5, 70, 9, 82), "box-outside-image"),
        ((500, 500, 600, 600), "box-outside-image"),
    ],
)
def test_bad_boxes(box: tuple, reason: str) -> None:
    with pytest.raises(DataError, match=r"k: cup") as caught:
        image((1, 1, 2, 2), box).checked()
    assert caught.value.reason == reason


def test_unknown_category() -> None:
    annotation = image((1, 1, 2, 2))
    assert annotation.checked(frozenset({"cup", "fish"})) == annotation
    with pytest.raises(DataError, match="'cup'") as caught:
        annotation.checked(frozenset({"fish"}))
    assert caught.value.reason == "unknown-category"


HUGE = 10**400


@pytest.mark.parametrize(
    ("thing", "told"),
    [
        ({"box": [0, 0, 1, HUGE]}, "a number that is too large"),
        ({"box": [[[[[9] * 10**6]]]]}, "must hold 4 numbers"),
        ({"category": "\ud800"}, "half a character"),
        ({"category": ["x" * 10**6]}, "must be str"),
        ({"subcategory": 3}, "must be str"),
        ({"difficult": HUGE}, "must be bool"),
    ],
)
def test_values_from_anywhere_are_told_in_a_short_line(thing: dict[str, object], told: str) -> None:
    one = image((1, 1, 2, 2)).to_json()
    one["objects"][0] |= thing
    with pytest.raises(ValueError, match=told) as caught:
        ImageAnnotation.from_json(one)
    assert len(str(caught.value)) < 300


def test_sizes() -> None:
    with pytest.raises(DataError) as caught:
        image(width=0).checked()
    assert caught.value.reason == "bad-annotation"
    image().check_size(100, 80)
    with pytest.raises(DataError, match="100 x 80, the image is 80 x 100") as caught:
        image().check_size(80, 100)
    assert caught.value.reason == "size-mismatch"
    assert str(caught.value).endswith(
        "of the turned picture, but pixels and boxes are those stored, without EXIF's orientation"
    )
    with pytest.raises(DataError, match=r"the image is 80 x 99$"):
        image().check_size(80, 99)


edge = st.floats(-1, 101)


@given(st.tuples(edge, st.floats(-1, 81), edge, st.floats(-1, 81)))
def test_a_checked_box_lies_inside(corners: tuple[float, float, float, float]) -> None:
    xs, ys = sorted(corners[::2]), sorted(corners[1::2])
    box = (xs[0], ys[0], xs[1], ys[1])
    assume(min(xs[1], 100) > max(xs[0], 0) and min(ys[1], 80) > max(ys[0], 0))
    kept = image(box).checked().objects[0].box
    assert 0 <= kept[0] < kept[2] <= 100
    assert 0 <= kept[1] < kept[3] <= 80
    assert max(abs(a - b) for a, b in zip(box, kept, strict=True)) <= 1


def test_index_and_ignored_are_kept_and_cost_nothing_where_there_are_none() -> None:
    plain = ImageAnnotation("k", 10, 10, ())
    assert set(plain.to_json()) == {"key", "width", "height", "objects"}
    full = ImageAnnotation("k", 10, 10, (), index=46, ignored=("n00007846", "n07753275"))
    assert full.to_json()["index"] == 46
    assert ImageAnnotation.from_json(full.to_json()) == full
    for field, value in (("index", 4.5), ("index", True), ("ignored", "x"), ("ignored", [1])):
        with pytest.raises(ValueError, match=field):
            ImageAnnotation.from_json({**full.to_json(), field: value})


def test_crowds_and_areas_are_kept_and_cost_nothing_where_there_are_none() -> None:
    crowd = ObjectAnnotation("cat", (0.0, 0.0, 5.0, 5.0), difficult=True, crowd=True, area=12.5)
    plain = ObjectAnnotation("cat", (0.0, 0.0, 5.0, 5.0))
    both = ImageAnnotation("k", 10, 10, (crowd, plain), index="a7")
    assert ImageAnnotation.from_json(both.to_json()) == both
    assert set(both.to_json()["objects"][1]) == {"category", "box", "subcategory", "difficult", "truncated"}
    for field, value in (("crowd", 1), ("area", "x")):
        row = {**both.to_json()["objects"][0], field: value}
        with pytest.raises(ValueError, match=field):
            ImageAnnotation.from_json({**both.to_json(), "objects": [row]})
