from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sppnet.augment import ColourJitter, TrainingCrops, crop_around_box, crop_origin, resize_short_side
from sppnet.errors import ConfigError


def coordinates(height: int, width: int) -> np.ndarray:
    """An image whose red is the row and whose green is the column."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.zeros_like(rows)], axis=2).astype(np.uint8)


def test_five_positions_of_the_entire_image() -> None:
    rng = np.random.default_rng(0)
    origins = [crop_origin((256, 340), 224, "five", rng) for _ in range(500)]
    assert set(origins) == {(16, 58), (0, 0), (0, 116), (32, 0), (32, 116)}
    assert all(70 < origins.count(one) < 130 for one in set(origins))


def test_uniform_positions_reach_every_place() -> None:
    rng = np.random.default_rng(0)
    origins = {crop_origin((10, 12), 8, "uniform", rng) for _ in range(500)}
    assert origins == {(top, left) for top in range(3) for left in range(5)}


def test_sample_is_a_crop_or_its_mirror() -> None:
    image = coordinates(64, 90)
    crops = TrainingCrops(short_side=64, size=40)
    rng = np.random.default_rng(0)
    mirrored = 0
    for _ in range(200):
        sample = crops.sample(image, rng)
        assert sample.shape == (40, 40, 3)
        assert sample.flags.c_contiguous
        flipped = sample[0, 0, 1] > sample[0, -1, 1]
        mirrored += bool(flipped)
        straight = sample[:, ::-1] if flipped else sample
        top, left = straight[0, 0, :2].tolist()
        np.testing.assert_array_equal(straight, image[top : top + 40, left : left + 40])
    assert 70 < mirrored < 130


def test_multi_size_resizes_the_same_crop() -> None:
    """Section 2.3: the 180 pixel input is the 224 pixel crop resized, not another crop."""
    image = np.random.default_rng(5).integers(0, 256, (300, 280, 3), dtype=np.uint8)
    large = TrainingCrops().sample(image, np.random.default_rng(1))
    small = TrainingCrops(network_size=180).sample(image, np.random.default_rng(1))
    assert (large.shape, small.shape) == ((224, 224, 3), (180, 180, 3))
    np.testing.assert_array_equal(small, resize_short_side(large, 180))


def test_same_generator_state_same_sample() -> None:
    image = np.random.default_rng(5).integers(0, 256, (70, 50, 3), dtype=np.uint8)
    crops = TrainingCrops(48, 32, "uniform", colour=ColourJitter.fit(image))
    first, second, third = (crops.sample(image, np.random.default_rng(seed)) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, third)


def test_colour_components_of_known_pixels() -> None:
    rng = np.random.default_rng(0)
    luminance = rng.normal(0, 40, 20000)[:, None]
    pixels = np.clip(128 + luminance + rng.normal(0, 4, (20000, 3)), 0, 255).astype(np.uint8)
    jitter = ColourJitter.fit(pixels)
    largest = np.array(jitter.eigenvectors)[:, 2]
    np.testing.assert_allclose(np.abs(largest), 3**-0.5, atol=0.01)
    assert jitter.eigenvalues[2] == pytest.approx(3 * (40 / 255) ** 2, rel=0.05)
    assert jitter.eigenvalues[0] == pytest.approx((4 / 255) ** 2, rel=0.1)


def test_colour_shift_is_krizhevskys() -> None:
    jitter = ColourJitter((0.1, 0.2, 0.4), ((1, 0, 0), (0, 1, 0), (0, 0, 1)), strength=0.1)
    rng = np.random.default_rng(0)
    shifts = np.stack([jitter.shift(rng) for _ in range(4000)])
    np.testing.assert_allclose(shifts.std(0), 255 * 0.1 * np.array([0.1, 0.2, 0.4]), rtol=0.05)
    np.testing.assert_allclose(shifts.mean(0), 0, atol=0.6)


def test_colour_shift_is_one_colour_clipped() -> None:
    jitter = ColourJitter((9.0, 9.0, 9.0), ((1, 0, 0), (0, 1, 0), (0, 0, 1)))
    image = np.random.default_rng(3).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    shift = jitter.shift(np.random.default_rng(2))
    expected = np.clip(np.rint(image + shift), 0, 255)
    assert np.abs(shift).max() > 50
    np.testing.assert_array_equal(jitter.apply(image, np.random.default_rng(2)), expected)


@settings(max_examples=80, deadline=None)
@given(
    data=st.data(),
    height=st.integers(30, 80),
    width=st.integers(30, 80),
    size=st.integers(8, 30),
    overlap=st.sampled_from(["object", "iou"]),
)
def test_crops_around_a_box_overlap_it(data: st.DataObject, height: int, width: int, size: int, overlap: str) -> None:
    x0, y0 = data.draw(st.integers(0, width - 2)), data.draw(st.integers(0, height - 2))
    x1, y1 = data.draw(st.integers(x0 + 1, width)), data.draw(st.integers(y0 + 1, height))
    inside = np.zeros((height, width, 3), dtype=np.uint8)
    inside[y0:y1, x0:x1] = 1
    area = (x1 - x0) * (y1 - y0)
    rng = np.random.default_rng(0)
    crop = crop_around_box(inside, (x0, y0, x1, y1), size, 0.5, rng, overlap=overlap)

    def share(covered: int) -> float:
        return covered / (area if overlap == "object" else area + size * size - covered)

    if crop is None:
        places = [(t, le) for t in range(height - size + 1) for le in range(width - size + 1)]
        best = max(share(int(inside[t : t + size, le : le + size, 0].sum())) for t, le in places)
        assert best < 0.5
    else:
        assert crop.shape == (size, size, 3)
        assert share(int(crop[:, :, 0].sum())) >= 0.5


def test_crops_around_a_box_are_uniform_over_all_that_fit() -> None:
    image = coordinates(12, 16)
    rng = np.random.default_rng(0)
    places = []
    for _ in range(3000):
        crop = crop_around_box(image, (0, 0, 4, 4), 8, 1.0, rng)
        assert crop is not None
        places.append(tuple(crop[0, 0, :2].tolist()))
    assert set(places) == {(0, 0)}
    half = [crop_around_box(image, (4, 4, 8, 8), 8, 0.5, rng) for _ in range(3000)]
    counts: dict[tuple[int, int], int] = {}
    for crop in half:
        assert crop is not None
        key = (int(crop[0, 0, 0]), int(crop[0, 0, 1]))
        counts[key] = counts.get(key, 0) + 1
    # Rows 0..4 hold the object whole; columns 0..4 too, 5 three quarters of it, 6 half of it.
    assert set(counts) == {(top, left) for top in range(5) for left in range(7)}
    assert min(counts.values()) > 50
    assert max(counts.values()) < 130


def test_sample_around_scales_the_box() -> None:
    image = np.zeros((40, 60, 3), dtype=np.uint8)
    image[10:20, 30:50] = 200
    crops = TrainingCrops(short_side=80, size=64, flip=False)
    sample = crops.sample_around(image, (30, 10, 50, 20), np.random.default_rng(0))
    assert sample is not None
    assert int((sample[:, :, 0] > 100).sum()) >= 0.5 * 20 * 40
    assert crops.sample_around(image, (30, 10, 30, 20), np.random.default_rng(0)) is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"short_side": 200, "size": 224}, "crops.size"),
        ({"where": "six"}, "crops.where"),
        ({"network_size": 0}, "crops.network_size"),
    ],
)
def test_wrong_crops_are_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrainingCrops(**values)


def test_image_smaller_than_the_crop() -> None:
    with pytest.raises(ConfigError, match="64 pixels from an image of 90 x 40"):
        crop_origin((40, 90), 64, "five", np.random.default_rng(0))
    with pytest.raises(ConfigError, match="overlap"):
        crop_around_box(coordinates(9, 9), (0, 0, 2, 2), 4, 0.5, np.random.default_rng(0), overlap="area")
