from __future__ import annotations

from jobs.bench.rcnn import run


def test_both_ways_are_measured_on_the_same_windows() -> None:
    rows = run(repeats=1, windows=12, crops=3, device="cpu")
    names = ["pool5 at 1 scale", "pool5 at 5 scales", "fc7 at 1 scale", "fc7 at 5 scales"]
    assert [row["name"] for row in rows] == names
    for row in rows:
        assert (row["windows"], row["crops"], row["device"]) == (12, 3, "cpu")
        assert row["ratio"] == row["peer_s"] / row["ours_s"] > 0
