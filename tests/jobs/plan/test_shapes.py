"""Sizes of what steps make, beside what a real run made."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.engine.recipe import Recipe
from pipelines.shards.reading import map_unit
from sppnet.networks.costs import map_cost
from tests.support.chain import BACKBONE, SCALES, Chain
from tests.support.measured_runs import PHOTOGRAPHS
from tests.support.plans import steps, written


def test_the_bytes_of_maps_are_those_that_extract_counts(chain: Chain) -> None:
    """The formula, beside what a real chain's commits say of the maps that it stored."""
    maps = chain.artifact("maps")
    for scale in SCALES:
        for shard in chain.shards("val"):
            sizes = [record.size for record in chain.records(shard)]
            expected = sum(map_cost(BACKBONE, size, scale).bytes for size in sizes)
            assert maps.commit(map_unit(scale, shard)).metrics["raw_bytes"] == expected


def test_units_are_those_of_the_run(voc07: Recipe) -> None:
    """Shards are cut from each split by itself: 482 and 460 images make 16 and 15 shards of 32."""
    found = steps(voc07, **PHOTOGRAPHS)
    units = {name: cost.units for name, cost in found.items()}
    assert units | {"images": 31, "windows": 31, "maps": 155, "head": 17, "svms-pool5-1s": 42} == units
    assert units | {"regressors": 21, "pool5-1s": 15, "metrics": 1} == units


def test_mirrored_images_are_convolved_and_read_too(tmp_path: Path, voc07: Recipe) -> None:
    flips = written(tmp_path, "voc07", {"maps": {"flips": True}, "head": {"flips": True}})
    plain, found = steps(voc07, **PHOTOGRAPHS), steps(flips, **PHOTOGRAPHS)
    assert (found["maps"].units, found["maps"].macs) == (2 * plain["maps"].units, 2 * plain["maps"].macs)
    assert found["maps"].written == pytest.approx(2 * plain["maps"].written)
    once = plain["regressors"].read  # one pass at the same scales
    assert found["head"].read - plain["head"].read == pytest.approx(once)
    assert found["head"].images == 2 * plain["head"].images
    assert found["head"].macs == plain["head"].macs
