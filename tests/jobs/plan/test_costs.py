"""Costs of whole recipes, beside what runs of them took."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from jobs.plan.corpus import Corpus, ImageSet
from jobs.plan.costs import Planner
from jobs.plan.table import plan_table
from jobs.recipes import find_recipe
from pipelines.engine.recipe import Recipe, load_recipe
from sppnet.networks.costs import head_macs, map_cost
from sppnet.sizes import Size
from tests.support.measured_runs import CLAIMS, CLAIMS_SECONDS, PHOTOGRAPHS, RATES_THEN, TINY, VOC07
from tests.support.plans import RATES, steps


def as_measured(name: str) -> Recipe:
    """A recipe as it was when it was measured: SVMs' rows with every bit."""
    settings = [
        f"{step}.rows=float16"
        for step, config in load_recipe(find_recipe(name), ()).steps.items()
        if config.stage == "train-svms"
    ]
    return load_recipe(find_recipe(name), settings)


@pytest.mark.parametrize(
    ("name", "measured", "images"), [("voc07", VOC07, PHOTOGRAPHS), ("claims-detection", CLAIMS, PHOTOGRAPHS | TINY)]
)
def test_plans_are_what_was_measured(
    name: str, measured: dict[str, tuple[int, float]], images: dict[str, ImageSet]
) -> None:
    """Bytes of every step within a factor of 1.5, its seconds within 2, sums within 1.5."""
    found = steps(as_measured(name), RATES_THEN, **images)
    for step, (stored, seconds) in measured.items():
        assert stored / 1.5 < found[step].written < stored * 1.5, step
        assert seconds / 2 < found[step].seconds < seconds * 2, step
    stored = sum(stored for stored, _ in measured.values())
    seconds = sum(seconds for _, seconds in measured.values())
    assert sum(found[step].written for step in measured) == pytest.approx(stored, rel=0.25)
    assert seconds / 1.5 < sum(found[step].seconds for step in measured) < seconds * 1.5


def test_seconds_of_steps_that_store_what_nobody_can_tell_before(claims: Recipe) -> None:
    found = steps(claims, RATES_THEN, **PHOTOGRAPHS, **TINY)
    for step, seconds in CLAIMS_SECONDS.items():
        assert seconds / 2 < found[step].seconds < seconds * 2, step


def test_each_stage_is_counted_from_its_config(voc07: Recipe) -> None:
    found = steps(voc07, train=482, val=460)
    maps = voc07.steps["maps"]
    costs = [map_cost(voc07.steps["backbone"].spec(), Size(500, 375), scale) for scale in maps.scales]  # type: ignore[attr-defined]
    assert found["maps"].macs == 942 * sum(cost.macs for cost in costs)
    assert found["maps"].written == pytest.approx(942 * sum(cost.bytes for cost in costs) * RATES.compression)
    pooled = 460 * 2000 * 25_600 * 5
    kept = 460 * 5 * RATES.pool5_detections
    assert found["pool5-1s"].macs == pooled
    assert found["pool5-5s"].macs == pooled + kept * 25_600 * 4
    assert found["pool5-1s"].read == 460 * costs[2].bytes
    assert found["fc7-5s"].macs == pytest.approx(
        460 * 2000 * (head_macs((25_600, 1024, 1024)) + 5 * 1024) + 460 * 5 * RATES.fc_detections * 25_600 * 4
    )


def test_every_recipe_can_be_planned() -> None:
    for path in sorted(Path(find_recipe("demo")).parent.glob("*.yaml")):
        recipe = load_recipe(path, ())
        sets = [config.dataset for config in recipe.steps.values() if hasattr(config, "dataset")]
        parts = [part for one in sets for part in getattr(one, "parts", (one,))]
        named = [getattr(part, "splits", None) or getattr(part, "into", ()) for part in parts]
        images = {name: ImageSet(1000) for splits in [*named, ("train", "val", "all")] for name in splits}
        costs = Planner(recipe, Corpus(images), RATES).steps()
        assert [cost.step for cost in costs] == list(recipe.steps)
        assert all(math.isfinite(cost.seconds) and cost.seconds >= 0 for cost in costs)
        assert plan_table(costs, RATES).row_count == len(costs)
