from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sppnet.errors import ConfigError
from sppnet.images.training_crops import (
    ColourJitter,
    EpochSizes,
    TrainingCrops,
    crop_origin,
    five_origins,
    overlapping_origins,
    resize_short_side,
)
from sppnet.sizes import Size


def coordinates(height: int, width: int) -> np.ndarray:
    """An image whose red is the row and whose green is the column."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.zeros_like(rows)], axis=2).astype(np.uint8)


def test_five_positions_of_the_entire_image() -> None:
    rng = np.random.default_rng(0)
    origins = [crop_origin(Size(340, 256), 224, "five", rng) for _ in range(500)]
    assert set(origins) == {(16, 58), (0, 0), (0, 116), (32, 0), (32, 116)}
    assert all(70 < origins.count(one) < 130 for one in set(origins))


def test_uniform_positions_reach_every_place() -> None:
    rng = np.random.default_rng(0)
    origins = {crop_origin(Size(12, 10), 8, "uniform", rng) for _ in range(500)}
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


@settings(max_examples=80)
@given(
    data=st.data(),
    height=st.integers(30, 80),
    width=st.integers(30, 80),
    size=st.integers(8, 30),
    overlap=st.sampled_from(["object", "iou"]),
    where=st.sampled_from(["uniform", "five"]),
)
def test_crops_that_overlap_a_box_are_all_that_do(
    data: st.DataObject, height: int, width: int, size: int, overlap: str, where: str
) -> None:
    x0, y0 = data.draw(st.integers(0, width - 2)), data.draw(st.integers(0, height - 2))
    x1, y1 = data.draw(st.integers(x0 + 1, width)), data.draw(st.integers(y0 + 1, height))
    inside = np.zeros((height, width), dtype=np.uint8)
    inside[y0:y1, x0:x1] = 1
    area = (x1 - x0) * (y1 - y0)
    found = overlapping_origins(Size(width, height), (x0, y0, x1, y1), size, 0.5, overlap=overlap, where=where)

    def share(top: int, left: int) -> float:
        covered = int(inside[top : top + size, left : left + size].sum())
        return covered / (area if overlap == "object" else area + size * size - covered)

    if where == "five":
        places = five_origins(Size(width, height), size)
    else:
        places = [(top, left) for top in range(height - size + 1) for left in range(width - size + 1)]
    assert [tuple(origin) for origin in found.tolist()] == [place for place in places if share(*place) >= 0.5]


def test_crops_around_a_box_are_uniform_over_all_that_fit() -> None:
    image = coordinates(12, 16)
    rng = np.random.default_rng(0)
    crops = TrainingCrops(short_side=12, size=8, where="uniform", flip=False)
    places = [crops.sample_around(image, (4, 4, 8, 8), rng)[0, 0, :2].tolist() for _ in range(3000)]
    # Rows 0..4 hold the object whole; columns 0..4 too, 5 three quarters of it, 6 half of it.
    counts = {(top, left): places.count([top, left]) for top in range(5) for left in range(7)}
    assert sum(counts.values()) == 3000
    assert min(counts.values()) > 50
    assert max(counts.values()) < 130
    held = [crops.sample_around(image, (0, 0, 4, 4), rng, min_overlap=1.0) for _ in range(20)]
    assert {tuple(crop[0, 0, :2].tolist()) for crop in held} == {(0, 0)}


def test_epochs_take_turns_or_draw() -> None:
    turns = EpochSizes((224, 180))
    assert [turns.of(epoch) for epoch in range(5)] == [224, 180, 224, 180, 224]
    drawn = EpochSizes((224,), (180, 224), seed=3)
    sizes = [drawn.of(epoch) for epoch in range(2000)]
    assert set(sizes) == set(range(180, 225))
    assert max(sizes.count(size) for size in set(sizes)) < 2 * 2000 / 45
    assert sizes == [EpochSizes((224,), (180, 224), seed=3).of(epoch) for epoch in range(2000)]
    assert sizes[:20] != [EpochSizes((224,), (180, 224), seed=4).of(epoch) for epoch in range(20)]


def test_components_have_their_sign_fixed() -> None:
    covariance = np.array([[4.0, 1.0, 0.5], [1.0, 3.0, 0.2], [0.5, 0.2, 1.0]]) / 100
    jitter = ColourJitter.of_covariance(covariance)
    vectors = np.array(jitter.eigenvectors)
    np.testing.assert_allclose(vectors @ np.diag(jitter.eigenvalues) @ vectors.T, covariance, atol=1e-15)
    assert (vectors[np.abs(vectors).argmax(0), range(3)] > 0).all()


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
        crop_origin(Size(90, 40), 64, "five", np.random.default_rng(0))
    with pytest.raises(ConfigError, match="overlap"):
        overlapping_origins(Size(9, 9), (0, 0, 2, 2), 4, 0.5, overlap="area")
