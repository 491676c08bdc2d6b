from __future__ import annotations

import pytest

from jobs.bench.driver import run


def test_the_row_tells_of_every_unit_and_of_both_ways() -> None:
    (row,) = run(shards=60, gpu_nodes=1, cpu_nodes=2, slow_nodes=1, hanging=0.02)
    assert (row["name"], row["units"], row["workers"]) == ("driver", 240, 8)
    assert row["listings"] == 4  # one a step, however many shards
    assert row["retries"] > 0
    assert 600 <= row["noticed_s"] < 605
    assert row["ratio"] == row["peer_hours"] / row["hours"]
    assert row["ratio"] > 1
    assert 0 < row["peer_gpu_busy"] < row["gpu_busy"] <= 1
    assert row["submissions_per_s"] * row["driver_ms_per_unit"] >= 1e3  # a retry is a submission too


def test_the_simulated_cluster_is_the_same_for_the_same_seed() -> None:
    rows = [run(shards=20, gpu_nodes=1, cpu_nodes=1, slow_nodes=0, seed=seed)[0] for seed in (3, 3, 4)]
    hours = [row["hours"] for row in rows]
    assert hours[0] == pytest.approx(hours[1])
    assert hours[0] != hours[2]
