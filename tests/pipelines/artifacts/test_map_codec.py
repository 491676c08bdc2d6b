"""Packed maps: no bit is lost, and whatever bytes are given instead, the process lives."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipelines.artifacts import nonzeros
from pipelines.artifacts.map_codec import PackedMap, pack_map, unpack_map
from sppnet.errors import ArtifactError
from tests.support.chain import equal_bytes

CHANNELS = st.sampled_from([1, 3, 63, 64, 65, 128, 130])


@st.composite
def maps(draw: st.DrawFn) -> np.ndarray:
    """Values of any bits, NaN and -0.0 among them, of which some are zero."""
    bits, dtype = draw(st.sampled_from([(np.uint16, np.float16), (np.uint32, np.float32)]))
    shape = (draw(st.integers(1, 4)), draw(st.integers(1, 4)), draw(CHANNELS))
    values = draw(hnp.arrays(bits, shape, fill=st.just(0)))
    return values.view(dtype)


@settings(max_examples=60)
@given(maps(), st.booleans())
def test_no_bit_is_lost(values: np.ndarray, kernel: bool) -> None:
    with patch.object(nonzeros, "has_kernel", nonzeros.has_kernel if kernel else lambda: False):
        packed = pack_map(values)
        assert equal_bytes(unpack_map(packed, values.shape, values.dtype.name), values)
    assert packed.nonzeros.size == np.count_nonzero(values.view(f"u{values.itemsize}")) * values.itemsize
    found = unpack_map(packed, values.shape, values.dtype.name)
    assert equal_bytes(found, values)


def test_what_the_bytes_mean() -> None:
    """Two cells of 65 channels: the first has channels 0 and 64, the second 1 and 64."""
    values = np.zeros((1, 2, 65), np.float16)
    values[0, 0, [0, 64]] = [1, 2]  # 0x3C00, 0x4000
    values[0, 1, [1, 64]] = [1.5, -3]  # 0x3E00, 0xC200
    mask, nonzeros = pack_map(values)
    assert mask.view("<u8").tolist() == [1, 1, 1 ^ 2, 0]
    assert nonzeros.tolist() == [0, 0, 0, 0, 0x3C, 0x40, 0x3E, 0xC2]


@settings(max_examples=150)
@given(
    st.binary(max_size=64),
    st.binary(max_size=64),
    st.tuples(st.integers(-1, 3), st.integers(-1, 3), st.integers(-1, 130)),
    st.sampled_from(["float16", "float32", "float64", ""]),
)
def test_any_bytes_are_a_map_or_refused(mask: bytes, nonzeros: bytes, shape, dtype: str) -> None:
    try:
        found = unpack_map(PackedMap(*(np.frombuffer(part, np.uint8) for part in (mask, nonzeros))), shape, dtype)
    except ArtifactError:
        return
    assert found.shape == shape
    assert found.dtype.name == dtype


@settings(max_examples=100)
@given(maps(), st.data())
def test_a_flipped_bit_changes_values_or_is_told(values: np.ndarray, data: st.DataObject) -> None:
    packed = pack_map(values)
    part = data.draw(st.sampled_from([part for part in packed if part.size]))
    part[data.draw(st.integers(0, part.size - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = unpack_map(packed, values.shape, values.dtype.name)
    except ArtifactError:
        return
    assert not equal_bytes(found, values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda mask, rest: (mask[:-1], rest), "23 bytes of mask are not of 1 x 3 x 5 float16 values"),
        (lambda mask, rest: (mask, rest[:-1]), "29 bytes are not 15 float16 values, as many as its mask has bits"),
        (lambda mask, rest: (mask ^ ([32] + [0] * 23), np.zeros(36)), "the mask is not one of 5 values a row"),
    ],
)
def test_what_does_not_fit_is_told(change, message: str) -> None:
    parts = change(*pack_map(np.ones((1, 3, 5), np.float16)))
    with pytest.raises(ArtifactError, match=f"^{message}$"):
        unpack_map(PackedMap(*(part.astype(np.uint8) for part in parts)), (1, 3, 5), "float16")
