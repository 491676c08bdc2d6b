from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sppnet.errors import ConfigError, DataError
from sppnet.proposals.windows import first_of_each, fit_windows, join_windows, to_windows

PIXELS = (3, 5, 10, 9)
"""A window [3, 5, 10, 9): 7 pixels wide, 4 high."""


@pytest.mark.parametrize(
    ("convention", "box"),
    [
        ("xyxy-0-half-open", [3, 5, 10, 9]),
        ("xyxy-0-inclusive", [3, 5, 9, 8]),
        ("xyxy-1-inclusive", [4, 6, 10, 9]),
        ("yxyx-0-inclusive", [5, 3, 8, 9]),
        ("yxyx-1-inclusive", [6, 4, 9, 10]),
        ("xywh-0", [3, 5, 7, 4]),
        ("xywh-1", [4, 6, 7, 4]),
    ],
)
def test_every_convention_names_the_same_pixels(convention: str, box: list[int]) -> None:
    for dtype in (np.uint8, np.uint16, np.int32, np.float64):
        assert to_windows(np.array([box], dtype), convention).tolist() == [list(PIXELS)]  # type: ignore[arg-type]
    scored = np.array([[*box, 0.25]])
    assert to_windows(scored, convention).tolist() == [list(PIXELS)]  # type: ignore[arg-type]


def test_no_boxes_of_any_shape_are_no_windows() -> None:
    for empty in (np.zeros((0, 4)), np.zeros((0, 0), np.uint8), np.array([])):
        assert to_windows(empty, "yxyx-1-inclusive").shape == (0, 4)


@pytest.mark.parametrize(
    "boxes",
    [np.zeros((2, 3)), np.zeros(4), np.array([["a"] * 4]), np.array([[0, 0, np.nan, 5]]), np.zeros((1, 4), bool)],
)
def test_what_is_no_box_is_refused(boxes: np.ndarray) -> None:
    with pytest.raises(DataError) as caught:
        to_windows(boxes, "xywh-0")
    assert caught.value.reason == "bad-windows"


def test_an_unknown_convention_is_named() -> None:
    with pytest.raises(ConfigError, match=r"'yxyx'; known: .* yxyx-1-inclusive"):
        to_windows(np.zeros((1, 4)), "yxyx")  # type: ignore[arg-type]


def test_windows_outside_are_refused_or_clipped() -> None:
    windows = np.array([[-0.5, 0, 30, 20.8], [5, 5, 60, 15], [5, 5, 9, 9]])
    with pytest.raises(DataError, match=r"window-outside-image: window \[5.0, 5.0, 60.0, 15.0\] leaves .* 40 x 20"):
        fit_windows(windows, 40, 20, clip=False, min_side=0)
    clipped = fit_windows(windows, 40, 20, clip=True, min_side=0)
    assert clipped.tolist() == [[0, 0, 30, 20], [5, 5, 40, 15], [5, 5, 9, 9]]
    assert clipped.dtype == np.float32
    assert fit_windows(windows[[0]], 40, 20, clip=False, min_side=0).tolist() == [[0, 0, 30, 20]]


def test_small_degenerate_and_repeated_windows_are_dropped() -> None:
    windows = np.array(
        [[5, 5, 9, 15], [2, 2, 2, 9], [9, 9, 3, 3], [5, 5, 9, 15], [0, 0, 40, 20], [38, 0, 45, 9]], float
    )
    assert fit_windows(windows, 40, 20, clip=True, min_side=0).tolist() == [
        [5, 5, 9, 15],
        [0, 0, 40, 20],
        [38, 0, 40, 9],
    ]
    assert fit_windows(windows, 40, 20, clip=True, min_side=5).tolist() == [[0, 0, 40, 20]]
    assert fit_windows(windows[1:3], 40, 20, clip=True, min_side=0).shape == (0, 4)


@given(st.lists(st.lists(st.tuples(*[st.integers(0, 3)] * 4), max_size=8), max_size=4))
@settings(max_examples=60)
def test_a_union_is_every_window_once_where_it_came_first(parts: list[list[tuple[int, ...]]]) -> None:
    arrays = [np.array(part, np.float32).reshape(-1, 4) for part in parts]
    expected = list(dict.fromkeys(window for part in parts for window in part))
    joined = join_windows(arrays)
    assert [tuple(window) for window in joined.tolist()] == expected
    assert joined.dtype == np.float32
    assert joined.shape[1] == 4


@pytest.mark.parametrize("kind", [np.int32, np.float32])
@given(st.integers(0, 2**32 - 1), st.integers(0, 40))
def test_first_of_each_is_where_distinct_rows_begin(kind: type, seed: int, n: int) -> None:
    boxes = np.random.default_rng(seed).integers(-1, 2, (n, 4)).astype(kind)
    seen: dict[tuple[float, ...], int] = {}
    for place, row in enumerate(boxes.tolist()):
        seen.setdefault(tuple(row), place)
    assert first_of_each(boxes).tolist() == sorted(seen.values())


def test_zero_is_zero_whatever_its_sign() -> None:
    assert first_of_each(np.array([[0, 0, 1, 1], [-0.0, 0, 1, 1]], np.float32)).tolist() == [0]
