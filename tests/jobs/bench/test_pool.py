from __future__ import annotations

import numpy as np

from jobs.bench.inputs import MAP
from jobs.bench.pool import proposal_cells, random_cells, run


def test_rows_name_both_sides_and_values_are_equal() -> None:
    rows = run(repeats=1, windows=30, device="cpu")
    assert [(row["name"], row["dtype"]) for row in rows] == [
        ("pool random windows", "float32"),
        ("pool random windows", "float16"),
        ("pool proposals", "float32"),
        ("pool proposals", "float16"),
    ]
    for row in rows:
        assert row["equal"] is True
        assert row["windows"] == 30
        assert row["ratio"] == row["peer_s"] / row["ours_s"]


def test_inputs_are_cells_of_the_map_and_depend_on_the_seed_only() -> None:
    for draw in (random_cells, proposal_cells):
        cells = draw(500, 1)
        assert cells.dtype == np.int32
        assert (cells[:, :2] >= 0).all()
        assert (cells[:, :2] < cells[:, 2:]).all()
        assert (cells[:, 2:] <= MAP).all()
        np.testing.assert_array_equal(cells, draw(500, 1))
        assert not np.array_equal(cells, draw(500, 2))
