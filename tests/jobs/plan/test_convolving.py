"""Costs of stages that look at images or train networks, from their configs."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from pipelines.engine.recipe import Recipe
from sppnet.networks.costs import head_macs, map_cost
from sppnet.sizes import Size
from tests.support.measured_runs import PHOTOGRAPHS, TINY
from tests.support.plans import RATES, steps, written


def test_pre_training_is_counted_from_its_config(claims: Recipe) -> None:
    found = steps(claims, **PHOTOGRAPHS, **TINY)["zf5"]
    samples = 2000 * 64
    crop = map_cost(claims.steps["zf5"].spec(), Size.square(112)).macs  # type: ignore[attr-defined]
    assert found.images == samples
    assert found.macs == 3 * samples * (crop + head_macs((3200, 512, 512, 1000)))
    assert found.parts["decode"] == pytest.approx(samples * 64 * 64 / RATES.decode)
    assert found.units == math.ceil(9130 / 256) + 1


def test_images_that_are_drawn_cost_their_drawing(voc07: Recipe, demo: Recipe) -> None:
    assert steps(demo, train=400, val=120)["images"].parts["drawing"] == pytest.approx(520 / RATES.drawing)
    assert "drawing" not in steps(voc07, **PHOTOGRAPHS)["images"].parts


def test_fine_tuning_has_no_gradient_below_fc6(voc07: Recipe) -> None:
    found = steps(voc07, train=482, val=460)["head"]
    assert found.macs == 2000 * 128 * (3 * head_macs((25_600, 1024, 1024, 6)) - 25_600 * 1024)
    assert found.parts["updates"] == pytest.approx(2000 * (head_macs((25_600, 1024, 1024, 6)) + 2054) / RATES.updates)


def test_fine_tuning_goes_through_the_maps_once_and_streams_what_it_pooled(tmp_path: Path, voc07: Recipe) -> None:
    found = steps(voc07, train=482, val=460)["head"]
    maps = steps(voc07, train=482, val=460)["regressors"].read  # one pass at the same scales
    row = 25_600 * 2 * RATES.pool5_compression * RATES.pool5_stepped
    assert found.images == 482
    assert found.read == pytest.approx(maps + 2000 * 128 * 25_600)
    more = steps(voc07, train=964, val=460)["head"]
    assert more.read - found.read == pytest.approx(maps)
    # Batches take 192,000 windows on background: of 964 images 200 each, of 482 more than these have.
    share = 2000 / 2142
    objects = RATES.objects * RATES.overlapping * share
    assert more.written - found.written == pytest.approx(row * (964 * (objects + 200) - 482 * (objects + 336 * share)))
    few = written(tmp_path, "voc07", {"head": {"negatives_per_image": 20}})
    less = found.written - steps(few, train=482, val=460)["head"].written
    assert less == pytest.approx(482 * (336 * share - 20) * row)


def test_a_trainers_memory_does_not_grow_with_the_images(voc07: Recipe) -> None:
    found, more = (steps(voc07, train=images, val=10)["head"].memory for images in (482, 100_000))
    parameters = head_macs((25_600, 1024, 1024, 6)) + 2054
    assert found == more == 12 * parameters + 96 * (8 << 20)


def test_imported_fully_connected_layers_are_stored_too(tmp_path: Path, voc07: Recipe) -> None:
    whole = written(tmp_path, "voc07", {"backbone": {"head": {"levels": [4, 2], "labels": ["a", "b", "c"]}}})
    more = steps(whole, **PHOTOGRAPHS)["backbone"].written - steps(voc07, **PHOTOGRAPHS)["backbone"].written
    sizes = (20 * 512, 4096, 4096, 3)
    assert more == 4 * (head_macs(sizes) + sum(sizes[1:]))


def test_ten_times_the_images_cost_ten_times_the_maps(voc07: Recipe) -> None:
    small, large = steps(voc07, train=100, val=100), steps(voc07, train=1000, val=1000)
    for step in ("windows", "maps", "pool5-5s"):
        assert large[step].seconds == pytest.approx(10 * small[step].seconds)


def test_edges_that_a_network_finds_cost_their_time(tmp_path: Path) -> None:
    def parts(**fields: object) -> dict[str, float]:
        recipe = written(tmp_path, "voc07", {"windows": {"methods": ["edge-boxes"], **fields}})
        return dict(steps(recipe, **PHOTOGRAPHS)["windows"].parts)

    plain, learned = parts(), parts(edge_boxes={"model": "pidinet.safetensors"})
    assert learned.pop("learned_edges") == pytest.approx(plain["edge_boxes"] * RATES.edge_boxes / RATES.learned_edges)
    assert learned == pytest.approx(plain)
    assert parts(edge_boxes={"model": "forest.yml"}).keys() == plain.keys()
