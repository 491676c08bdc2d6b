"""Sampling: the bands' ends, the 30 % and 70 % rules against plain loops, batches of 32 + 96."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sppnet.boxes import iou_matrix
from sppnet.detection.sampling import (
    draw_batch,
    finetune_bands,
    label_windows,
    svm_negative_mask,
    svm_negatives,
)
from sppnet.errors import ConfigError, DataError

side = st.integers(0, 12)
box = st.tuples(side, side, st.integers(1, 15), st.integers(1, 15)).map(
    lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]]
)


def test_label_windows_takes_the_first_of_the_largest() -> None:
    windows = [[0, 0, 10, 10], [0, 0, 10, 5], [50, 50, 60, 60], [0, 0, 10, 9]]
    max_iou, labels = label_windows(windows, [[0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 5]], [4, 2, 7])
    assert labels.tolist() == [4, 7, -1, 4]
    assert max_iou.dtype == np.float32
    assert labels.dtype == np.int64
    assert max_iou.tolist() == [1.0, 1.0, 0.0, np.float32(0.9)]


def test_label_windows_without_objects() -> None:
    max_iou, labels = label_windows([[0, 0, 1, 1]], [], [])
    assert (max_iou.tolist(), labels.tolist()) == ([0.0], [-1])
    with pytest.raises(DataError, match="1 objects but 2 labels"):
        label_windows([[0, 0, 1, 1]], [[0, 0, 1, 1]], [1, 2])


def test_bands_at_their_ends() -> None:
    max_iou = np.array([0.0, 0.09, 0.1, 0.3, 0.49999, 0.5, 0.7, 1.0], np.float32)
    positive, negative = finetune_bands(max_iou)
    assert positive.tolist() == [5, 6, 7]
    assert negative.tolist() == [2, 3, 4]
    positive, negative = finetune_bands(max_iou, positive=(0.6, 1.0), negative=(0.0, 0.1))
    assert (positive.tolist(), negative.tolist()) == ([6, 7], [0, 1])
    with pytest.raises(ConfigError, match="follow each other"):
        finetune_bands(max_iou, negative=(0.1, 0.6))


def test_batch_is_a_quarter_objects_without_repetition() -> None:
    positive, negative = draw_batch(40, 500, np.random.default_rng(0))
    assert (len(set(positive.tolist())), len(set(negative.tolist()))) == (32, 96)
    assert positive.max() < 40
    assert negative.max() < 500
    again = draw_batch(40, 500, np.random.default_rng(0))
    assert (again[0].tolist(), again[1].tolist()) == (positive.tolist(), negative.tolist())


def test_batch_repeats_only_what_is_too_few() -> None:
    positive, negative = draw_batch(3, 12, np.random.default_rng(0), size=16)
    assert len(positive) == 4
    assert set(positive.tolist()) <= {0, 1, 2}
    assert sorted(negative.tolist()) == list(range(12))
    with pytest.raises(DataError, match="4 positive"):
        draw_batch(0, 12, np.random.default_rng(0), size=16)


def test_negatives_at_exactly_thirty_percent() -> None:
    windows = [[3, 0, 10, 1], [0, 0, 6, 1], [20, 0, 30, 1]]
    objects = [[0, 0, 6, 1]]
    assert iou_matrix(windows, objects)[0, 0] == 0.3
    assert svm_negatives(windows, objects).tolist() == [0, 2]
    assert svm_negatives(windows, objects, inclusive=False).tolist() == [2]


def test_negatives_at_exactly_seventy_percent() -> None:
    # 7 of 10 columns: 0.7 is not more than 0.7; 8 of 10 is.
    windows = [[0, 0, 10, 1], [0, 0, 7, 1], [0, 0, 8, 1]]
    assert svm_negatives(windows, []).tolist() == [0, 1]
    assert svm_negatives(windows, [], dedupe_iou=None).tolist() == [0, 1, 2]
    assert svm_negatives(windows, [], dedupe_iou=0.9).tolist() == [0, 1, 2]
    assert svm_negatives(windows[::-1], []).tolist() == [0]


@given(st.lists(box, max_size=12), st.lists(box, max_size=3), st.sampled_from([0.5, 0.7, None]))
def test_negatives_are_the_greedy_loop(windows: list[Any], objects: list[Any], dedupe: float | None) -> None:
    with_objects, with_windows = iou_matrix(windows, objects), iou_matrix(windows, windows)
    kept: list[int] = []
    for i in range(len(windows)):
        if (with_objects[i] > 0.3).any():
            continue
        if dedupe is None or all(with_windows[i, j] <= dedupe for j in kept):
            kept.append(i)
    assert svm_negatives(windows, objects, dedupe_iou=dedupe).tolist() == kept


@given(st.lists(box, max_size=10), st.lists(st.tuples(box, st.integers(0, 3)), max_size=5))
def test_mask_has_every_categorys_negatives(windows: list[Any], objects: list[Any]) -> None:
    boxes, labels = [o[0] for o in objects], [o[1] for o in objects]
    mask = svm_negative_mask(windows, boxes, labels, 4)
    assert mask.shape == (len(windows), 4)
    for category in range(4):
        own = [b for b, label in objects if label == category]
        assert np.flatnonzero(mask[:, category]).tolist() == svm_negatives(windows, own).tolist()
