from __future__ import annotations

import pytest

from jobs.bench.maps import run
from sppnet.errors import ConfigError


@pytest.mark.usefixtures("one_thread")
def test_rows_name_both_sides_and_values_are_equal() -> None:
    rows = run(repeats=1, images=1, scales=(160,), architectures=("zf5",))
    peers = ("raw bytes, zstd", "BYTE_STREAM_SPLIT, zstd")
    assert [(row["name"], row["dtype"], row["peer"]) for row in rows] == [
        (f"{way} maps, zf5", dtype, peer)
        for dtype in ("float16", "float32", "float10_e5m5")
        for peer in peers
        for way in ("encode", "decode")
    ]
    for row in rows:
        assert row["equal"] is True
        assert row["maps"] == 1
        assert 0.1 < row["nonzero"] <= 0.21
        assert row["ratio"] == row["peer_s"] / row["ours_s"]
        assert 0 < row["ours_share"] < row["peer_share"]


def test_too_few_photographs_are_told(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"has 0 files \*\.jpg, 2 are wanted"):
        run(images=2, folder=str(tmp_path))
