"""`bench extract`: the stage beside a bare loop."""

from __future__ import annotations

import pytest

from jobs.bench.extract import run
from jobs.bench.registry import measure_names


def test_the_row_tells_both_sides_and_what_ours_did() -> None:
    (row,) = run(repeats=1, count=3, scales=(96, 64), architecture="zf5", width=0.125, device="cpu")
    assert (row["images"], row["scales"], row["precision"]) == (3, [96, 64], "bfloat16")
    assert row["ratio"] == pytest.approx(row["ours_per_s"] / row["peer_per_s"])
    shares = [row[f"{part}_share"] for part in ("convolve", "decode_wait", "encode_wait")]
    assert all(share >= 0 for share in shares)
    assert 0 < sum(shares) < 1.1
    assert "extract" in measure_names()
