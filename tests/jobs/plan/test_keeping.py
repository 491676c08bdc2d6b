"""Which maps a run stores where it may choose: by what storing, reading and making cost at the rates of a worker."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from jobs.plan.keeping import decide_keeping, is_undecided
from jobs.plan.passes import map_passes
from jobs.plan.rates import Rates
from jobs.recipes import find_recipe
from pipelines.engine.recipe import Recipe, load_recipe
from pipelines.stages.extract import KeptMaps

CORE = Rates(1.2e11)
GPU = Rates(2e14, read=1e10, decode=4e9, resize=1e10, encode=3e9)


def voc07(**maps: Any) -> Recipe:
    return load_recipe(
        find_recipe("voc07"), [f"maps.{name}={value}" for name, value in {"keep": "auto", **maps}.items()]
    )


def kept(recipe: Recipe, rates: Rates) -> KeptMaps:
    config: Any = decide_keeping(recipe, rates)[0].steps["maps"]
    return config.kept


def test_on_a_core_maps_that_are_used_again_are_stored() -> None:
    """Making an image's five maps takes half a second, reading them 36 ms."""
    assert kept(voc07(), CORE) == KeptMaps(splits=("train", "val"), makers=())


def test_on_a_gpu_nothing_is_stored() -> None:
    users = tuple(sorted(found.step for found in map_passes(voc07(), "maps")))
    assert kept(voc07(), GPU) == KeptMaps(splits=(), makers=users)


def test_what_is_used_once_is_made_once() -> None:
    """Of the paper's recipe the test images are scored by one step."""
    recipe = load_recipe(find_recipe("voc07-paper"), ["maps.keep=auto"])
    assert kept(recipe, CORE) == KeptMaps(splits=("trainval",), makers=("detections",))


def test_a_store_that_is_slow_changes_the_decision() -> None:
    assert kept(voc07(), replace(CORE, storage=1e6)).splits == ()


def test_what_was_said_is_not_decided() -> None:
    assert not is_undecided(voc07(keep="never"))
    assert not is_undecided(voc07(keep="parquet"))
    given = voc07(kept="{splits: [val], makers: [head]}")
    assert not is_undecided(given)
    assert decide_keeping(given, CORE)[0] == given


def test_it_says_why() -> None:
    _, why = decide_keeping(voc07(), CORE)
    assert len(why) == 2
    assert why[0].startswith("maps: maps of train are stored: an image is made in ")
    assert why[0].endswith("used by head, svms-pool5-1s 2 x, svms-pool5-5s 2 x, regressors, svms-fc7-5s 2 x")
    _, why = decide_keeping(voc07(), GPU)
    assert why[1].startswith("maps: maps of val are made where they are used: an image is made in ")
