"""What stages that convolve share: a bounded number of images ahead, in order, errors at their own item."""

from __future__ import annotations

import io
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from pipelines.artifacts.annotations import ImageAnnotation
from pipelines.artifacts.image_tars import ImageRecord
from pipelines.shards.convolving import ConvolvingConfig, choose_device, decode_for_scale, prefetched
from sppnet.errors import ConfigError, DataError


@pytest.mark.parametrize("ahead", [1, 2, 5, 50])
def test_items_come_in_order_and_few_are_ahead(ahead: int) -> None:
    taken = []

    def items():
        for number in range(20):
            taken.append(number)
            yield number

    for place, (item, prepared) in enumerate(prefetched(items(), lambda number: number**2, ahead)):
        assert (item, prepared.result()) == (place, place**2)
        assert len(taken) <= place + ahead


def test_errors_come_out_at_their_own_item() -> None:
    def prepare(number: int) -> int:
        if number == 2:
            raise DataError("truncated", "cut")
        return number

    found = list(prefetched(range(4), prepare, 3))
    with pytest.raises(DataError, match="truncated: cut"):
        found[2][1].result()
    assert [found[i][1].result() for i in (0, 1, 3)] == [0, 1, 3]


def test_preparing_happens_on_threads_that_end() -> None:
    before = threading.active_count()
    names = {prepared.result() for _, prepared in prefetched(range(6), lambda _: threading.get_ident(), 4)}
    assert threading.get_ident() not in names
    assert threading.active_count() == before


def test_an_image_is_decoded_if_it_does_not_grow_too_much() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "PNG")
    record = ImageRecord("a", "png", sink.getvalue(), ImageAnnotation("a", 30, 20, ()))
    np.testing.assert_array_equal(decode_for_scale(record, 40, 2400), pixels)
    with pytest.raises(DataError, match="too-large: 60 x 40 pixels at scale 40, the limit is 2399 pixels"):
        decode_for_scale(record, 40, 2399)


def test_devices() -> None:
    config = ConvolvingConfig(stage="extract", device="cpu")
    assert choose_device(config, "maps") == torch.device("cpu")
    automatic = choose_device(ConvolvingConfig(stage="extract"), "maps")
    assert automatic.type == ("cuda" if torch.cuda.is_available() else "cpu")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="step maps: device is cuda, but there is no GPU here"):
            choose_device(ConvolvingConfig(stage="extract", device="cuda"), "maps")
