from __future__ import annotations

import pytest

from jobs.bench.registry import measure_names
from jobs.bench.views import run


def test_rows_name_both_sides_and_what_each_convolves() -> None:
    rows = run(repeats=1, networks=("zf5",), width=0.03125, size=112, device="cpu")
    assert [(row["name"], row["views"]) for row in rows] == [("views zf5 maps10", 10), ("views zf5 maps96", 96)]
    for row in rows:
        assert row["ratio"] == row["peer_s"] / row["ours_s"]
        assert (row["precision"], row["device"], row["images"]) == ("float32", "cpu", 1)
    # Ten crops of 112 x 112, or a map of 128 x 171 and its mirror image.
    assert rows[0]["pixels_ratio"] == pytest.approx(10 * 112**2 / (2 * 128 * 171))
    assert "views" in measure_names()
