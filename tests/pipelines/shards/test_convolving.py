"""What stages that convolve share: images that would grow too large are refused."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from pipelines.artifacts.image_tars import ImageRecord
from pipelines.shards.convolving import decode_for_scale
from sppnet.errors import DataError


def test_an_image_is_decoded_if_it_does_not_grow_too_much() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "PNG")
    record = ImageRecord("a", "png", sink.getvalue(), width=30, height=20)
    np.testing.assert_array_equal(decode_for_scale(record, 40, 2400), pixels)
    with pytest.raises(DataError, match="too-large: 60 x 40 pixels at scale 40, the limit is 2399 pixels"):
        decode_for_scale(record, 40, 2399)
