"""Rows without their zeros: no bit is lost, and columns that don't belong together are refused."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipelines.artifacts.packed_rows import packed_columns, unpack_columns
from sppnet.errors import ArtifactError
from tests.support.chain import equal_bytes


@settings(max_examples=60)
@given(st.data(), st.sampled_from(["u1", "<u2", "<u4"]), st.sampled_from([1, 63, 64, 130]), st.integers(1, 5))
def test_no_bit_is_lost(data: st.DataObject, kind: str, width: int, n: int) -> None:
    rows = data.draw(hnp.arrays(np.dtype(kind), (n, width), fill=st.just(0)))
    columns = packed_columns(rows)
    assert sum(map(len, columns[1].to_pylist())) == np.count_nonzero(rows) * rows.itemsize
    # A reader may get rows in several chunks, and from the middle of a buffer.
    cut = data.draw(st.integers(0, n))
    masks, nonzeros = (pa.chunked_array([column[:cut], column[cut:]]) for column in columns)
    assert equal_bytes(unpack_columns(masks, nonzeros, width, kind, "here"), rows)


def test_what_does_not_belong_together_is_refused() -> None:
    masks, nonzeros = (pa.chunked_array([column]) for column in packed_columns(np.eye(3, 70, dtype=np.uint16)))
    for width in (0, 64, 129):
        with pytest.raises(ArtifactError, match=f"here: its features are not rows of {width} uint16 values"):
            unpack_columns(masks, nonzeros, width, np.uint16, "here")
    with pytest.raises(ArtifactError, match="here: a row of features has more or fewer values than its mask"):
        unpack_columns(masks, nonzeros, 70, np.uint8, "here")
    with pytest.raises(ArtifactError, match="here: the mask is not one of 65 values a row"):
        unpack_columns(*beyond(), 65, np.uint8, "here")


def beyond() -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """A row of 70 values whose last is not zero."""
    row = np.zeros((1, 70), np.uint8)
    row[0, 69] = 1
    masks, nonzeros = (pa.chunked_array([column]) for column in packed_columns(row))
    return masks, nonzeros
