from __future__ import annotations

import numpy as np

from jobs.bench.mine import category_name, run, store_shard
from pipelines.engine.workspace import Workspace


def test_rows_of_both_ways_find_the_same_hard_negatives() -> None:
    rows = run(repeats=1, images=2, windows=60, categories=5, hidden=(16, 8), device="cpu")
    assert [row["name"] for row in rows] == [
        "mine pool5, in memory",
        "mine pool5, from storage",
        "mine fc7, in memory",
        "mine fc7, from storage",
    ]
    for memory, storage in (rows[:2], rows[2:]):
        assert memory["hard"] == storage["hard"] >= 5  # one window of 60 a category, of the first image at least
    for row in rows:
        assert (row["images"], row["windows"], row["categories"]) == (2, 120, 5)
        assert row["ratio"] == row["peer_s"] / row["ours_s"]
        assert row["windows_s"] == 120 / row["ours_s"]


def test_the_stored_shard_is_what_mining_reads(tmp_path) -> None:
    shards = store_shard(Workspace.open(str(tmp_path)), images=2, windows=40, categories=7)
    images, aside = shards.open(shards.units[0])
    found = list(images)
    assert aside == ()
    assert [image.key for image in found] == ["im000", "im001"]
    for image in found:
        assert image.windows.shape == (40, 4)
        assert image.maps[688].shape == (43, 57, 256)
        assert 0.5 < np.mean(image.maps[688] == 0) < 0.75
        assert {thing.category for thing in image.annotation.objects} <= {category_name(i) for i in range(7)}
