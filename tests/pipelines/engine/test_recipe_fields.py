"""What a recipe has beside its stages' fields is what its parser takes."""

from __future__ import annotations

from pipelines.engine.recipe import VERSION, parse_recipe
from pipelines.engine.recipe_fields import TOP_LEVEL, RecipeFields
from tests.support.toy_fixtures import Toys


def test_the_parser_takes_all_of_them(toys: Toys) -> None:
    raw = {**toys.raw(), "seed": 3, "category_groups": {"pets": ["cat", "dog"]}}
    assert set(raw) == set(TOP_LEVEL)
    told, read = RecipeFields.model_validate(raw), parse_recipe(raw, "r")
    assert (told.version, told.name, told.seed) == (VERSION, read.name, read.seed)
    assert {name: step.stage for name, step in told.steps.items()} == {n: s.stage for n, s in read.steps.items()}
