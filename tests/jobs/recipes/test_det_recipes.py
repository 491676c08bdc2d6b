"""The recipes that pre-train for DET."""

from __future__ import annotations

from typing import Any

from jobs.recipes import find_recipe
from pipelines.datasets.contents import Contents
from pipelines.engine.recipe import load_recipe


def steps(name: str, *overrides: str) -> dict[str, Any]:
    recipe = load_recipe(find_recipe(name), overrides)
    return {step: config.model_dump(mode="json") for step, config in recipe.steps.items()}


def test_the_protocol_of_the_paper() -> None:
    both = {ways: steps(f"det-pretrain-{ways}") for ways in (200, 499)}
    for found in both.values():
        network = found["network"]
        assert (network["view"], network["short_side"], network["size"], network["min_overlap"]) == (
            "crop",
            400,
            [224],
            0.5,
        )
        assert network["architecture"] == "overfeat7"
    classes = [found["network"].pop("classes") for found in both.values()]
    assert classes == ["category", "subcategory-only"]
    assert both[200] == both[499]  # one ingest serves both


def test_a_layout_can_be_set() -> None:
    found = steps("det-pretrain-499", "images.dataset.layout=2015", "images.dataset.root=elsewhere")
    assert (found["images"]["dataset"]["layout"], found["images"]["dataset"]["root"]) == ("2015", "elsewhere")


def test_the_small_one_reads_boxes_and_leaves(shared: Any) -> None:
    dataset = load_recipe(
        find_recipe("det-pretrain-small"), [f"images.dataset.root={shared}/data/pretrain/tinyimagenet_det"]
    ).steps["images"]
    data = dataset.dataset.open()
    place = data.places("val")[0]
    (thing,) = data.annotation(place, 64, 64).objects
    assert thing.subcategory == place.key.split("/")[0]
    assert thing.category in data.categories(Contents())
