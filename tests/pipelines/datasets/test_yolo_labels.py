"""YOLO's text: label files line by line, and the classes' names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.datasets.yolo_labels import YoloNames, labels_of, parse_labels
from sppnet.errors import ConfigError, DataError

fraction = st.floats(0, 1)


@given(st.lists(st.tuples(st.integers(0, 3), fraction, fraction, fraction, fraction), max_size=5))
def test_boxes_are_written_and_read(rows: list[tuple[int, float, float, float, float]]) -> None:
    text = "\n".join(" ".join(map(repr, row)) for row in rows)
    found = parse_labels(text.encode(), 4, "k")
    assert [kind for kind, _ in found] == [row[0] for row in rows]
    for (_, (x0, y0, x1, y1)), (_, x, y, width, height) in zip(found, rows, strict=True):
        assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx((x, y), abs=1e-12)
        assert (x1 - x0, y1 - y0) == pytest.approx((width, height), abs=1e-12)


def reason(data: bytes) -> str:
    """Why a file can't be used; nothing if it can."""
    try:
        assert all(0 <= kind < 2 and len(box) == 4 for kind, box in parse_labels(data, 2, "k"))
    except DataError as error:
        return error.reason
    return ""


@given(st.binary(max_size=60))
def test_any_bytes_are_rows_or_one_error(data: bytes) -> None:
    assert reason(data) in ("", "bad-annotation", "unknown-category")


def test_keypoints_are_passed_over() -> None:
    names = YoloNames.parse(b"names: [person]\nkpt_shape: [2, 3]\n", "data.yaml")
    assert names.keypoints
    row = b"0 0.5 0.5 0.5 0.5 0.1 0.1 2 9 9 0"
    assert parse_labels(row, 1, "k", keypoints=True) == [(0, (0.25, 0.25, 0.75, 0.75))]
    with pytest.raises(DataError, match="2 is not a fraction"):
        parse_labels(row, 1, "k")


def test_where_labels_lie() -> None:
    assert labels_of("images/train/a.jpg") == "labels/train/a.txt"
    assert labels_of("x/images/images/a.b.jpg") == "x/images/labels/a.b.txt"
    assert labels_of("obj/a.jpg") == "obj/a.txt"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nc: 2", "has no 'names'"),
        ("names: 3", "neither a list of names"),
        ("names: []", "holds no categories"),
        ("names: {0: a, 2: b}", "numbered 0 to 1, without gaps"),
        ("names: [a, a]", "names the category 'a' twice"),
        ("names: [a", "not YAML"),
        ("a: !!python/object/apply:os.system [x]\nnames: [[a]]", "neither a list of names"),
        ("[" * 2000, "nested too deep"),
    ],
)
def test_names_that_are_none(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"^data.yaml.*{message}"):
        YoloNames.parse(text.encode(), "data.yaml")


def test_a_file_of_names_that_is_too_long_is_not_parsed() -> None:
    with pytest.raises(ConfigError, match=r"^data.yaml: \d+ characters, at most 1048576 of YAML are read$"):
        YoloNames.parse(b"names: [" + b"a, " * 400_000 + b"b]", "data.yaml")
