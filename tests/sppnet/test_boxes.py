"""Boxes: NMS against the exact vectors, IoU against rational arithmetic, coding round trips."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st

from sppnet.boxes import (
    box_areas,
    clip_boxes,
    decode_boxes,
    encode_boxes,
    iou_matrix,
    mirror_boxes,
    nms,
    nms_by_category,
    paired_iou,
)
from sppnet.errors import DataError
from sppnet.sizes import Size
from tests.support.oracles import read_oracle

side = st.integers(0, 60)
box = st.tuples(side, side, side, side).map(lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]])
solid = st.tuples(side, side, side, side).map(lambda b: [b[0], b[1], b[0] + b[2] + 1, b[1] + b[3] + 1])


def exact_iou(a: list[int], b: list[int]) -> Fraction:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    inter = max(width, 0) * max(height, 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter
    return Fraction(inter, union) if union else Fraction(0)


def greedy_nms(boxes: list[list[int]], scores: list[float], threshold: Fraction) -> list[int]:
    """The textbook loop, in exact arithmetic."""
    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        if all(exact_iou(boxes[i], boxes[j]) <= threshold for j in kept):
            kept.append(i)
    return kept


def test_nms_equals_every_vector() -> None:
    rows = read_oracle("nms")
    assert len(rows) == 30
    for row in rows:
        detections = np.array(row["detections"], dtype=np.float64)
        assert nms(detections[:, :4], detections[:, 4], row["threshold"]).tolist() == row["keep"]


@given(st.lists(st.tuples(box, st.integers(0, 3)), max_size=12), st.sampled_from([1, 3, 5, 7]))
def test_nms_is_the_greedy_loop_with_ties_by_index(rows: list[tuple[list[int], int]], tenths: int) -> None:
    boxes, scores = [r[0] for r in rows], [float(r[1]) for r in rows]
    kept = nms(boxes, scores, tenths / 10)
    assert kept.dtype == np.int64
    assert kept.tolist() == greedy_nms(boxes, scores, Fraction(tenths, 10))


def test_nms_keeps_an_overlap_of_exactly_the_threshold() -> None:
    # 3 of 10 columns in common: IoU = 0.3 exactly, which does not exceed 0.3.
    boxes = [[0, 0, 6, 1], [3, 0, 10, 1], [2, 0, 8, 1]]
    assert iou_matrix(boxes[:1], boxes[1:2])[0, 0] == 0.3
    assert nms(boxes[:2], [1.0, 0.5], 0.3).tolist() == [0, 1]
    assert nms(boxes, [1.0, 0.5, 0.7], 0.3).tolist() == [0, 1]


def test_nms_rejects_scores_that_are_no_numbers_or_too_few() -> None:
    with pytest.raises(DataError, match="nan-scores"):
        nms([[0, 0, 1, 1]], [float("nan")])
    with pytest.raises(DataError, match="2 scores"):
        nms([[0, 0, 1, 1]], [1.0, 2.0])
    assert nms([], []).shape == (0,)


@given(st.integers(0, 2**31), st.sampled_from([0.0, 0.3, 0.7, 1.0]))
def test_nms_keeps_what_torchvision_keeps(seed: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 40, (80, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(0, 30, (80, 2))], axis=1)
    scores = rng.integers(0, 20, 80) / 4  # with ties, in which torchvision's sort is stable
    expected = torchvision.ops.nms(torch.from_numpy(boxes), torch.from_numpy(scores), threshold)
    assert nms(boxes, scores, threshold).tolist() == expected.tolist()


@given(
    st.lists(st.tuples(box, st.integers(0, 3), st.integers(-1, 2)), max_size=14),
    st.sampled_from([1, 3, 7]),
    st.sampled_from([None, 0, 1, 3]),
)
def test_categories_are_suppressed_apart_up_to_a_limit(
    rows: list[tuple[list[int], int, int]], tenths: int, limit: int | None
) -> None:
    boxes, scores = [r[0] for r in rows], [float(r[1]) for r in rows]
    categories = np.array([r[2] for r in rows], np.int64)
    expected: list[int] = []
    for category in sorted(set(categories.tolist())):
        own = np.flatnonzero(categories == category)
        kept = greedy_nms([boxes[i] for i in own], [scores[i] for i in own], Fraction(tenths, 10))
        expected += own[kept][:limit].tolist()
    found = nms_by_category(boxes, scores, categories, tenths / 10, limit)
    assert found.dtype == np.int64
    assert found.tolist() == expected


def test_nms_by_category_wants_a_category_for_each_box() -> None:
    with pytest.raises(DataError, match="2 boxes but 2 scores and 1 categories"):
        nms_by_category([[0, 0, 1, 1], [0, 0, 2, 2]], [1.0, 2.0], [0])


@given(st.lists(box, max_size=5), st.lists(box, max_size=5))
def test_iou_is_the_rounded_rational(a: list[list[int]], b: list[list[int]]) -> None:
    got = iou_matrix(a, b)
    assert got.shape == (len(a), len(b))
    assert got.tolist() == [[float(exact_iou(x, y)) for y in b] for x in a]
    assert np.array_equal(got, iou_matrix(b, a).T)


@given(st.lists(st.tuples(box, box), max_size=6))
def test_paired_iou_is_the_diagonal(pairs: list[tuple[list[int], list[int]]]) -> None:
    a, b = [p[0] for p in pairs], [p[1] for p in pairs]
    assert np.array_equal(paired_iou(a, b), np.diagonal(iou_matrix(a, b)))


def test_areas_of_crossed_and_empty_boxes_are_zero() -> None:
    assert box_areas([[0, 0, 3, 4], [5, 5, 4, 9], [1, 1, 1, 8]]).tolist() == [12.0, 0.0, 0.0]
    with pytest.raises(DataError, match=r"\[n, 4\]"):
        box_areas([[1, 2, 3]])


def test_encode_known_values() -> None:
    deltas = encode_boxes([[10, 20, 30, 60]], [[15, 10, 55, 90]])
    assert np.allclose(deltas, [[(35 - 20) / 20, (50 - 40) / 40, np.log(2), np.log(2)]], atol=0, rtol=1e-15)


@given(st.lists(st.tuples(solid, solid), min_size=1, max_size=6))
def test_decode_inverts_encode(pairs: list[tuple[list[int], list[int]]]) -> None:
    windows, targets = [p[0] for p in pairs], [p[1] for p in pairs]
    assert np.allclose(decode_boxes(windows, encode_boxes(windows, targets)), targets, atol=1e-9)


def test_decode_clips_and_stays_finite() -> None:
    boxes = decode_boxes([[10, 10, 20, 20], [0, 0, 10, 10]], [[0, 0, 1e4, 1e4], [-9, 0, 0, 0]], Size(50, 40))
    assert boxes.tolist() == [[0, 0, 50, 40], [0, 0, 0, 10]]
    assert clip_boxes([[-3, 4, 99, 7.5]], Size(50, 40)).tolist() == [[0, 4, 50, 7.5]]


def test_encode_rejects_boxes_without_area() -> None:
    with pytest.raises(DataError, match="empty-box"):
        encode_boxes([[0, 0, 0, 5]], [[0, 0, 5, 5]])
    with pytest.raises(DataError, match="1 windows but 2 targets"):
        encode_boxes([[0, 0, 1, 1]], [[0, 0, 1, 1], [0, 0, 1, 1]])


def test_mirrored_boxes() -> None:
    boxes = [[0.0, 1.0, 10.0, 5.0], [30.0, 0.0, 100.0, 2.0]]
    mirrored = mirror_boxes(boxes, 100)
    assert mirrored.tolist() == [[90, 1, 100, 5], [0, 0, 70, 2]]
    assert np.array_equal(mirror_boxes(mirrored, 100), boxes)
    assert mirror_boxes([], 100).shape == (0, 4)
