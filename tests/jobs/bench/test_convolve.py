"""The bench of the convolutions: rows name both sides, and both make the same maps."""

from __future__ import annotations

import torch

from jobs.bench.convolve import run


def test_rows_name_both_sides_and_maps_agree() -> None:
    before = torch.get_num_threads()
    rows = run(repeats=1, architectures=["zf5"], scales=[96], threads=[1, 2], compiler=False)
    assert torch.get_num_threads() == before
    assert [(row["name"], row["peer"], row["threads"]) for row in rows] == [
        ("zf5 at 96", "torch", 1),
        ("zf5 at 96", "torch", 2),
    ]
    for row in rows:
        assert row["least"] == row["ratio"] == row["most"] == row["peer_s"] / row["ours_s"]
        assert 0 < row["apart"] < 0.02
