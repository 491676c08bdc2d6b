from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sppnet.proposals.grouping_numba import group
from sppnet.proposals.regions_numba import describe, gradient_bins, neighbours
from sppnet.proposals.segmentation_numba import segment


def test_gradients_fall_in_the_nearest_bin_of_their_direction() -> None:
    x = np.array([[0.0, 1.49, 1.51, -2.4, 40.0, -40.0]], np.float32)
    y = np.zeros_like(x)
    right, down_right, down, down_left = gradient_bins(x, y, np.float32(1), 10).astype(int) - 9
    assert right.tolist() == [[0, 1, 2, -2, 9, -9]]
    assert down.tolist() == [[0] * 6]
    assert down_right.tolist() == np.clip(np.round(x * np.sqrt(0.5)), -9, 9).tolist()
    assert down_left.tolist() == (-down_right).tolist()
    halves = np.array([[0.5, 1.5, 2.5, -0.5, -1.5]], np.float32)
    assert (gradient_bins(halves, halves * 0, np.float32(1), 10)[0].astype(int) - 9).tolist() == [[0, 2, 2, 0, -2]]
    assert (gradient_bins(halves * 0, halves, np.float32(2), 10)[2].astype(int) - 9).tolist() == [[1, 3, 5, -1, -3]]


def test_describe() -> None:
    labels = np.array([[0, 0, 1], [2, 0, 1]], np.int32)
    colours = np.array([[[0, 1, 0], [1, 1, 0], [1, 0, 0]], [[0, 0, 0], [0, 1, 0], [1, 1, 1]]], np.uint8)
    gradients = np.full((4, 2, 3), 1, np.uint8)  # none
    gradients[0] = [[2, 2, 1], [0, 0, 1]]  # bin 1 of 2 to the right twice, to the left twice
    gradients[3, 0, 2] = 2
    sizes, boxes, colour, texture = describe(labels, colours, gradients, 2, 2)
    assert sizes.tolist() == [3, 2, 1]
    assert boxes.tolist() == [[0, 0, 2, 2], [2, 0, 3, 2], [0, 1, 1, 2]]
    # Columns: two bins of each channel.
    assert colour * 3 * sizes[:, None] == pytest.approx(
        np.array([[2, 1, 0, 3, 3, 0], [0, 2, 1, 1, 1, 1], [1, 0, 1, 0, 1, 0]])
    )
    # Columns: two bins of each direction: right, down-right, down, down-left, then the opposite ones.
    none = [[s, 0] for s in (3, 2, 1)]
    expected = np.array([[row] * 8 for row in none])
    expected[0, 0], expected[0, 4], expected[2, 4], expected[1, 3] = [1, 2], [2, 1], [0, 1], [1, 1]
    assert texture.reshape(3, 8, 2) * 8 * sizes[:, None, None] == pytest.approx(expected)


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.tuples(st.integers(1, 9), st.integers(1, 9)), st.integers(1, 12))
def test_histograms_count_every_pixel_once(seed: int, shape: tuple[int, int], n: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.unique(rng.integers(0, n, shape), return_inverse=True)[1].reshape(shape).astype(np.int32)
    colours = rng.integers(0, 5, (*shape, 3), dtype=np.uint8)
    gradients = rng.integers(0, 7, (4, *shape), dtype=np.uint8)
    sizes, boxes, colour, texture = describe(labels, colours, gradients, 5, 4)
    for segment_, box in enumerate(boxes):
        inside = labels == segment_
        y, x = np.nonzero(inside)
        assert box.tolist() == [x.min(), y.min(), x.max() + 1, y.max() + 1]
        channels = [np.bincount(colours[inside, c], minlength=5) for c in range(3)]
        signed = [gradients[i][inside].astype(int) - 3 for i in range(4)]
        directions = [np.bincount(np.maximum(side, 0), minlength=4) for side in signed + [-side for side in signed]]
        assert sizes[segment_] == inside.sum()
        assert np.array_equal(colour[segment_], np.float32(np.concatenate(channels)) / np.float32(3 * inside.sum()))
        assert np.array_equal(texture[segment_], np.float32(np.concatenate(directions)) / np.float32(8 * inside.sum()))


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.tuples(st.integers(1, 12), st.integers(1, 12)), st.integers(1, 30))
def test_neighbours_touch_at_sides_and_corners(seed: int, shape: tuple[int, int], n: int) -> None:
    labels = np.random.default_rng(seed).integers(0, n, shape).astype(np.int32)
    height, width = shape
    expected = {
        tuple(sorted((int(labels[y, x]), int(labels[y + dy, x + dx]))))
        for y in range(height)
        for x in range(width)
        for dy, dx in [(0, 1), (1, 0), (1, 1), (-1, 1)]
        if 0 <= y + dy < height and x + dx < width and labels[y, x] != labels[y + dy, x + dx]
    }
    assert neighbours(labels).tolist() == sorted(map(list, expected))


def test_noise_with_thousands_of_segments_ends_in_one_region() -> None:
    image = np.random.default_rng(2).integers(0, 256, (300, 400, 3))
    (labels,) = segment(image.astype(np.float32), [5])
    bins = np.zeros((300, 400, 3), np.uint8)
    sizes, boxes, colour, _ = describe(labels, bins, np.ones((4, 300, 400), np.uint8), 1, 2)
    assert len(sizes) > 1000
    merged = group(sizes, boxes, colour, neighbours(labels), 120_000)
    assert len(merged) == len(sizes) - 1
    assert merged[-1].tolist() == pytest.approx([0, 0, 400, 300])
