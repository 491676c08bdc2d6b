from __future__ import annotations

import numpy as np
import pytest

from pipelines.drawing.textures import background, colour, flat, near, noise


@pytest.mark.parametrize(("height", "width"), [(64, 80), (97, 50), (1, 90), (240, 320)])
def test_noise_has_unit_variance_and_the_asked_shape(height: int, width: int) -> None:
    field = noise(np.random.default_rng(0), height, width, 60)
    assert field.shape == (height, width)
    assert field.dtype == np.float32
    assert field.mean() == pytest.approx(0, abs=1e-3)
    assert field.std() == pytest.approx(1, abs=1e-2)


def test_noise_without_fine_waves_is_smooth() -> None:
    rough, soft = (noise(np.random.default_rng(1), 100, 100, 50, finest=f) for f in (2, 20))
    assert np.abs(np.diff(soft)).mean() < 0.5 * np.abs(np.diff(rough)).mean()


@pytest.mark.parametrize("seed", range(24))
def test_backgrounds_of_any_size_have_texture(seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width = rng.integers(40, 130, 2).tolist()
    image = background(rng, height, width)
    assert image.shape == (height, width, 3)
    assert image.dtype == np.uint8
    assert image.std() > 4
    assert np.abs(np.diff(image.astype(int), axis=0)).mean() > 0.2


def test_colours_stay_in_range() -> None:
    rng = np.random.default_rng(2)
    values = [colour(rng) for _ in range(200)] + [near(rng, (250, 3, 128), 60) for _ in range(200)]
    assert 0 <= np.min(values) <= np.max(values) <= 255
    assert colour(rng, 1 / 3, 1, 1) == pytest.approx((0, 255, 0))
    assert flat((1, 2, 3), 2, 5).shape == (2, 5, 3)
