"""A plan counts the categories where a recipe asks for all, also without its data set."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.plan.categories import with_categories
from jobs.recipes import find_recipe
from pipelines.engine.recipe import load_recipe, parse_recipe
from sppnet.errors import ConfigError


def recipe(dataset: dict[str, Any]) -> Any:
    steps = {
        "images": {"stage": "ingest", "dataset": dataset},
        "windows": {"stage": "propose", "images": "images"},
        "network": {"stage": "pretrain", "images": "images"},
        "maps": {"stage": "extract", "images": "images", "backbone": "network"},
        "svms": {"stage": "train-svms", "images": "images", "windows": "windows", "maps": "maps", "categories": "all"},
    }
    return parse_recipe({"version": 1, "name": "r", "steps": steps}, "r")


def test_they_are_the_data_sets() -> None:
    asked = recipe({"kind": "drawn", "splits": {"train": 1, "val": 1}})
    found: Any = with_categories(asked)
    assert found.steps["svms"].categories == ("bottle", "butterfly", "car", "fish", "flower", "house")
    assert found.steps["maps"] is asked.steps["maps"]


@pytest.mark.parametrize(("name", "step", "count"), [("det", "svms-6", 200), ("voc07-paper", "head", 20)])
def test_data_sets_that_are_away_count_as_their_kind_has(name: str, step: str, count: int) -> None:
    found: Any = with_categories(load_recipe(find_recipe(name)))
    assert len(set(found.steps[step].categories)) == count


def test_others_have_to_be_there() -> None:
    with pytest.raises(ConfigError, match=r"^steps\.svms\.categories: all: .*nowhere"):
        with_categories(recipe({"kind": "coco", "root": "nowhere", "splits": {"train": "a.json", "val": "b.json"}}))
