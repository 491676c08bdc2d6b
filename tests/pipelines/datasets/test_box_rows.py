from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipelines.datasets.box_rows import BoxColumns

box = st.tuples(
    st.integers(-1, 3), st.integers(0, 2), st.booleans(), st.lists(st.floats(-9, 9), min_size=2, max_size=2)
)


@given(st.lists(box, max_size=12))
def test_boxes_are_sorted_by_image_in_their_order(given_boxes: list[tuple[int, int, bool, list[float]]]) -> None:
    columns = BoxColumns(2)
    for row in given_boxes:
        columns.add(*row)
    assert [columns.row(place) for place in range(len(columns))] == given_boxes
    rows = columns.sorted(columns.image, columns.category, 4)
    for image in range(4):
        own = [row for row in given_boxes if row[0] == image]
        found = [(rows.category[n], rows.crowd[n], rows.numbers[n].tolist()) for n in rows.of(image)]
        assert found == [row[1:] for row in own]
    np.testing.assert_array_equal(columns.values, np.array([row[3] for row in given_boxes]).reshape(-1, 2))
