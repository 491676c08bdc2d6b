from __future__ import annotations

import math
from pathlib import Path

import pytest
from chain import BACKBONE, SCALES, Chain

from jobs.plan.corpus import Corpus, Rates
from jobs.plan.costs import Planner
from jobs.plan.table import check_budget, listed_images, parse_images, parse_size, plan_fields, plan_table
from jobs.recipes import find_recipe
from pipelines.manifest import Manifest
from pipelines.recipe import Recipe, load_recipe
from pipelines.shards import map_unit, read_images
from sppnet.costs import head_macs, map_cost
from sppnet.errors import ConfigError

RATES = Rates(macs=1e11, read=1e9, proposals=7.0, compression=0.25)


@pytest.fixture(scope="module")
def voc07() -> Recipe:
    return load_recipe(find_recipe("voc07"), ())


def steps(recipe: Recipe, **images: int) -> dict[str, object]:
    return {cost.step: cost for cost in Planner(recipe, Corpus(images), RATES).steps()}


def test_the_bytes_of_maps_are_those_that_extract_counts(chain: Chain) -> None:
    """The formula, beside what a real chain's commits say of the maps that it stored."""
    maps = chain.artifact("maps")
    for scale in SCALES:
        for shard in Manifest.read(chain.artifact("images")).units("val"):
            sizes = [(r.annotation.height, r.annotation.width) for r in read_images(chain.artifact("images"), shard)[0]]
            expected = sum(map_cost(BACKBONE, size, scale).bytes for size in sizes)
            assert maps.commit(map_unit(scale, shard)).metrics["raw_bytes"] == expected


def test_each_stage_is_counted_from_its_config(voc07: Recipe) -> None:
    found = steps(voc07, train=482, val=460)
    maps = voc07.steps["maps"]
    costs = [map_cost(voc07.steps["backbone"].spec(), (375, 500), scale) for scale in maps.scales]  # type: ignore[attr-defined]
    assert found["maps"].macs == 942 * sum(cost.macs for cost in costs)  # type: ignore[attr-defined]
    assert found["maps"].written == 942 * sum(cost.bytes for cost in costs) * 0.25  # type: ignore[attr-defined]
    assert found["maps"].units == 5 * math.ceil(942 / 32)  # type: ignore[attr-defined]
    head = voc07.steps["head"]
    macs = head_macs((25_600, 1024, 1024, 6))
    assert found["head"].macs == 3 * 2000 * head.batch * macs  # type: ignore[attr-defined]
    pooled = 460 * 2000 * 25_600 * 5
    assert found["pool5-1s"].macs == pooled  # type: ignore[attr-defined]
    assert found["pool5-1s"].read == 460 * costs[2].bytes  # type: ignore[attr-defined]


def test_rcnns_way_convolves_every_window_and_others_fewer() -> None:
    recipe = load_recipe(find_recipe("claims-detection"), ())
    found = steps(recipe, **{"images.train": 482, "images.val": 460, "tiny.train": 9130, "tiny.val": 2075})
    crop = map_cost(recipe.steps["squeezenet"].spec(), (227, 227)).macs  # type: ignore[attr-defined]
    assert found["few-rcnn"].macs == 460 * 100 * (crop + 25_600 * 5)  # type: ignore[attr-defined]
    assert found["few-spp"].macs == 460 * 100 * 25_600 * 5  # type: ignore[attr-defined]
    assert found["few-rcnn"].read == 0  # type: ignore[attr-defined]
    assert found["maps"].images == 942  # type: ignore[attr-defined]
    assert found["tiny"].images == 11_205  # type: ignore[attr-defined]
    assert found["head-zf5"].macs == 3 * 2000 * 128 * head_macs((3200, 512, 512, 6))  # type: ignore[attr-defined]


def test_ten_times_the_images_cost_ten_times_the_maps(voc07: Recipe) -> None:
    small, large = steps(voc07, train=100, val=100), steps(voc07, train=1000, val=1000)
    for step in ("windows", "maps", "pool5-5s"):
        assert large[step].seconds == pytest.approx(10 * small[step].seconds)  # type: ignore[attr-defined]


def test_every_recipe_can_be_planned() -> None:
    for path in sorted(Path(find_recipe("demo")).parent.glob("*.yaml")):
        recipe = load_recipe(path, ())
        images = dict.fromkeys(("train", "val", "trainval", "test", "all"), 1000)
        costs = Planner(recipe, Corpus(images), RATES).steps()
        assert [cost.step for cost in costs] == list(recipe.steps)
        assert all(cost.seconds >= 0 for cost in costs)
        assert plan_table(costs, RATES).row_count == len(costs)


def test_totals_and_the_budget(voc07: Recipe) -> None:
    costs = Planner(voc07, Corpus({"train": 482, "val": 460}), RATES).steps()
    fields = plan_fields(costs, workers=4, price=3.0)
    assert fields["worker_hours"] == pytest.approx(sum(cost.seconds for cost in costs) / 3600, abs=1e-4)
    assert fields["hours"] == pytest.approx(fields["worker_hours"] / 4, abs=1e-4)
    check_budget(fields, None)
    check_budget(fields, fields["cost"])
    with pytest.raises(ConfigError, match=r"more than the budget of 0\.01"):
        check_budget(fields, 0.01)


def test_a_split_of_unknown_size_is_named(voc07: Recipe) -> None:
    with pytest.raises(ConfigError, match=r"the size of split 'val' is not known \(known: train\); .* --images val=N"):
        steps(voc07, train=10)


@pytest.mark.parametrize("text", ["train", "train=", "=5", "train=x", "train=0"])
def test_images_that_can_not_be_read(text: str) -> None:
    with pytest.raises(ConfigError, match="expected SPLIT=N"):
        parse_images([text])


@pytest.mark.parametrize("text", ["500", "500x", "0x3", "axb"])
def test_sizes_that_can_not_be_read(text: str) -> None:
    with pytest.raises(ConfigError, match="expected WIDTHxHEIGHT"):
        parse_size(text)


def test_options_that_can_be_read() -> None:
    assert parse_images(["train=5", "val=7"]) == {"train": 5, "val": 7}
    assert parse_size("640x480") == (640, 480)


def test_images_are_counted_from_the_data_sets_lists(shared: Path) -> None:
    root = shared / "data/voc07/VOCdevkit/VOC2007"
    recipe = load_recipe(find_recipe("voc07"), [f"images.dataset.root={root}"])
    assert listed_images(recipe) == {"images.train": 482, "images.val": 460}
