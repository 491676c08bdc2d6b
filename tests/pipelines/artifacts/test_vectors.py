"""Vectors as a column: no bit is lost, and rows that don't fit one another are told."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipelines.artifacts.vectors import VECTOR, read_vectors, vector_column
from sppnet.errors import ArtifactError
from tests.support.chain import equal_bytes


def read(rows: list[dict[str, object]]) -> np.ndarray:
    return read_vectors(pa.chunked_array([pa.array(rows, VECTOR)]), "store/unit")


ROWS = st.tuples(st.integers(1, 5), st.sampled_from([1, 63, 64, 65, 200])).flatmap(
    lambda shape: hnp.arrays(np.uint16, shape, fill=st.just(0))
)


@settings(max_examples=40)
@given(ROWS, st.data())
def test_no_bit_is_lost(bits: np.ndarray, data: st.DataObject) -> None:
    column = vector_column(bits.view(np.float16))
    assert column.type == VECTOR
    assert equal_bytes(read_vectors(pa.chunked_array([column]), "here"), bits.view(np.float16))
    chosen = data.draw(st.lists(st.integers(0, len(bits) - 1), min_size=1, max_size=6))
    taken = pa.chunked_array([column]).take(pa.array(chosen))
    assert equal_bytes(read_vectors(taken, "here"), bits[chosen].view(np.float16))
    start = data.draw(st.integers(0, len(bits) - 1))
    assert equal_bytes(read_vectors(pa.chunked_array([column[start:]]), "here"), bits[start:].view(np.float16))


def test_what_a_row_holds() -> None:
    (row,) = vector_column(np.array([[0, 1, 0, 1.5]], np.float16)).to_pylist()
    assert row == {"length": 4, "mask": bytes([0b1010, *[0] * 7]), "nonzeros": bytes([0, 0x3C, 0, 0x3E])}


def test_no_rows() -> None:
    assert read([]).shape == (0, 0)
    assert len(vector_column(np.zeros((0, 5), np.float16))) == 0


GOOD = {"length": 4, "mask": bytes([1] + [0] * 7), "nonzeros": bytes(2)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"length": 65}, "its vectors are not all of one length"),
        ({"length": 0, "mask": b""}, "its vectors are not all of one length"),
        ({"length": -4}, "its vectors are not all of one length"),
        ({"mask": bytes([1] + [0] * 6)}, "its vectors are not all of one length"),
        ({"nonzeros": bytes(3)}, "its vectors have not as many values as their masks have bits"),
        ({"mask": bytes([16] + [0] * 7)}, r"its vectors are damaged \(the mask is not one of 4 values a row\)"),
    ],
)
def test_what_does_not_fit_is_told(change: dict[str, object], message: str) -> None:
    with pytest.raises(ArtifactError, match=f"^store/unit: {message}$"):
        read([GOOD | change])
    with pytest.raises(ArtifactError, match=r"^store/unit: its vectors"):
        read([GOOD, GOOD | change])
