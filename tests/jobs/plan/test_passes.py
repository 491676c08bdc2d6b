"""How often steps go through maps, and what that costs where they are stored and where they are not."""

from __future__ import annotations

from jobs.plan.corpus import Corpus, ImageSet
from jobs.plan.passes import images_passed, map_passes, map_work, step_passes
from jobs.plan.shapes import Shapes
from jobs.recipes import find_recipe
from pipelines.engine.recipe import Recipe, load_recipe
from sppnet.networks.costs import map_cost
from sppnet.sizes import Size
from tests.support.plans import RATES

FIVE = (480, 576, 688, 864, 1200)


def shapes(recipe: Recipe) -> Shapes:
    images = {name: ImageSet(count) for name, count in (("objects.train", 9), ("train", 100), ("val", 40), ("test", 7))}
    return Shapes(recipe, Corpus(images), RATES)


def test_steps_go_through_maps_as_often_as_their_phases_do(voc07: Recipe) -> None:
    passes = {found.step: found for found in map_passes(voc07, "maps")}
    assert {name: dict(found.times) for name, found in passes.items()} == {
        "head": {"train": 1},
        "svms-pool5-1s": {"train": 2},
        "svms-pool5-5s": {"train": 2},
        "svms-fc7-5s": {"train": 2},
        "regressors": {"train": 1},
        "pool5-1s": {"val": 1},
        "pool5-5s": {"val": 1},
        "fc7-5s": {"val": 1},
    }
    assert passes["pool5-1s"].scales == {688}
    assert passes["fc7-5s"].scales == passes["head"].scales == {480, 576, 688, 864, 1200}


def test_what_is_combined_is_a_pass_over_its_members_maps() -> None:
    recipe = load_recipe(find_recipe("det"))
    passes = {found.step: found for found in map_passes(recipe, "maps-3")}
    assert passes["together"].times == passes["model-3"].times
    assert passes["together"].scales == passes["model-3"].scales
    assert set(step_passes(recipe, "together")) == {f"maps-{number}" for number in range(1, 7)}


def test_stored_maps_are_read_and_others_are_made() -> None:
    stored, made = (load_recipe(find_recipe("voc07"), [f"maps.keep={keep}"]) for keep in ("parquet", "never"))
    spec = stored.steps["backbone"].spec()  # type: ignore[attr-defined]
    costs = [map_cost(spec, Size(500, 375), scale) for scale in FIVE]
    reading, making = (map_work(shapes(recipe), "svms-fc7-5s") for recipe in (stored, made))
    assert reading.read == 2 * 100 * sum(cost.bytes for cost in costs)
    assert reading.macs == making.read == 0
    assert making.macs == 2 * 100 * sum(cost.macs for cost in costs)
    assert making.amounts["decode"] == 2 * 100 * 500 * 375


def test_splits_of_positives_are_gone_through_once() -> None:
    recipe = load_recipe(find_recipe("det"))
    assert images_passed(shapes(recipe), "svms-1") == 2 * 40 + 100
    assert images_passed(shapes(recipe), "head-1") == 40 + 100
    assert images_passed(shapes(recipe), "boxes-1") == 40
    assert images_passed(shapes(recipe), "together") == 6 * 7
    assert images_passed(shapes(recipe), "windows") == 0
