"""Mean image and colours of a data set, against numpy over all pixels at once."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sppnet.errors import ConfigError
from sppnet.images.statistics import PixelSums
from sppnet.images.training_crops import ColourJitter, resize_short_side


def images(count: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    tint = rng.integers(0, 100, (count, 1, 1, 3))
    sides = rng.integers(20, 60, (count, 2))
    return [(rng.integers(0, 156, (*side, 3)) + one).astype(np.uint8) for side, one in zip(sides, tint, strict=True)]


def sums_of(parts: list[np.ndarray]) -> PixelSums:
    sums = PixelSums(32, 24)
    for image in parts:
        sums.add(image)
    return sums


def test_they_are_numpys() -> None:
    parts = images(9)
    found = sums_of(parts).statistics()
    resized = [resize_short_side(image, 32) for image in parts]
    pixels = np.concatenate([image.reshape(-1, 3) for image in resized])
    assert (found.images, found.pixels) == (9, len(pixels))
    np.testing.assert_allclose(found.covariance, np.cov(pixels / 255.0, rowvar=False), rtol=1e-12)
    centres = []
    for image in resized:
        top, left = (image.shape[0] - 24) // 2, (image.shape[1] - 24) // 2
        centres.append(image[top : top + 24, left : left + 24].transpose(2, 0, 1))
    assert found.mean_image.dtype == np.float32
    np.testing.assert_array_equal(found.mean_image, np.mean(centres, axis=0, dtype=np.float64).astype(np.float32))
    expected = ColourJitter.fit(pixels, 0.3)
    np.testing.assert_allclose(found.colours(0.3).eigenvalues, expected.eigenvalues, rtol=1e-9)
    np.testing.assert_allclose(found.colours(0.3).eigenvectors, expected.eigenvectors, atol=1e-9)
    assert found.colours(0.3).strength == 0.3


@settings(max_examples=20)
@given(count=st.integers(1, 8), cut=st.lists(st.integers(0, 8), max_size=4), order=st.randoms())
def test_any_cut_and_order_gives_the_same_bits(count: int, cut: list[int], order: object) -> None:
    parts = images(count)
    edges = sorted({0, count, *(edge for edge in cut if edge < count)})
    groups = [sums_of(parts[low:high]) for low, high in itertools.pairwise(edges)]
    order.shuffle(groups)  # type: ignore[attr-defined]
    merged = PixelSums(32, 24)
    merged.merge(groups)
    whole, found = sums_of(parts).statistics(), merged.statistics()
    assert whole.mean_image.tobytes() == found.mean_image.tobytes()
    assert whole.covariance.tobytes() == found.covariance.tobytes()
    assert (whole.images, whole.pixels) == (found.images, found.pixels)


def test_an_image_smaller_than_the_crop_is_enlarged() -> None:
    found = sums_of([np.full((3, 5, 3), (10, 20, 30), np.uint8)]).statistics()
    assert found.pixels == 32 * 53
    np.testing.assert_array_equal(found.mean_image[:, 0, 0], [10, 20, 30])
    np.testing.assert_array_equal(found.covariance, np.zeros((3, 3)))


def test_wrong_sizes_and_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"size: must be in 1\.\.short_side = 20, not 24"):
        PixelSums(20, 24)
    with pytest.raises(ConfigError, match="32/24 and 32/20 can't be merged"):
        PixelSums(32, 20).merge([PixelSums(32, 24)])
    with pytest.raises(ConfigError, match="at least 2 pixels, there are 0 of 0 images"):
        PixelSums().statistics()
