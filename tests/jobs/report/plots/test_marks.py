"""Marks on photographs: pure noise has a picture too, and letters can be read on any colour."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from jobs.report.plots.marks import encode_jpeg, ink


@pytest.mark.parametrize("shape", [(400, 300, 3), (700, 900, 3)])
def test_pure_noise_is_encoded(shape: tuple[int, ...]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    found = Image.open(io.BytesIO(encode_jpeg(Image.fromarray(noise))))
    assert np.asarray(found).shape == shape
    assert np.abs(np.asarray(found).astype(int) - noise).mean() < 20


def test_letters_are_dark_on_light_colours_and_light_on_dark_ones() -> None:
    assert [ink(colour) for colour in ("#ffffff", "#f0e442", "#0072b2", "#000000")] == ["#000000"] * 2 + ["#ffffff"] * 2
