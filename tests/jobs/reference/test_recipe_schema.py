"""The schema for editors: today's, and what it allows and refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from jobs.recipes import find_recipe, recipe_names
from jobs.reference.recipe_schema import schema_text
from tests.support.source_tree import ROOT

SCHEMA: dict[str, Any] = json.loads((ROOT / "docs/recipe.schema.json").read_text())
CHECKER = jsonschema.Draft202012Validator(SCHEMA)


def test_the_docs_have_the_schema_of_today() -> None:
    """If not: `sppnet help --schema > docs/recipe.schema.json`."""
    assert (ROOT / "docs/recipe.schema.json").read_text() == schema_text()
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", recipe_names())
def test_built_in_recipes_are_allowed(name: str) -> None:
    recipe = yaml.safe_load(Path(find_recipe(name)).read_text())
    assert [error.message for error in CHECKER.iter_errors(recipe)] == []


IMAGES = {"stage": "ingest", "dataset": {"root": "data"}}
FORMS: list[dict[str, Any]] = [
    {"stage": "ingest", "dataset": {"kind": "folders", "root": "a", "classes": "b.csv", "boxes": "c.csv"}},
    {"stage": "ingest", "dataset": {"kind": "tars", "root": "a", "splits": {"train": "{0..3}.tar"}}},
    {"stage": "ingest", "dataset": {"kind": "coco", "root": "a", "splits": {"train": "b.json"}}},
    {"stage": "ingest", "dataset": {"kind": "joined", "parts": [{"root": "a"}, {"kind": "drawn", "splits": {"a": 1}}]}},
    {"stage": "pretrain", "images": "images", "levels": "spp4", "repeat": 6, "gpus": "auto"},
    {"stage": "train-svms", "images": "i", "windows": "w", "maps": "m", "categories": "all", "gpus": 0.5},
    {"stage": "transfer", "images": "i", "features": ["f"], "protocol": {"kind": "caltech101", "repeats": 3}},
]


@pytest.mark.parametrize("step", FORMS, ids=str)
def test_every_way_to_write_a_field_is_allowed(step: dict[str, Any]) -> None:
    CHECKER.validate({"version": 1, "name": "r", "steps": {"images": IMAGES, "step": step}})


REFUSED = [
    ({"stage": "finetun"}, "step.stage"),
    ({"images": "images"}, "step"),
    ({"stage": "propose"}, "step"),
    ({"stage": "propose", "images": "images", "methd": ["selective-search"]}, "step"),
    ({"stage": "propose", "images": "images", "methods": ["edges"]}, "step.methods.0"),
    ({"stage": "propose", "images": "images", "selective_search": {"k": [0]}}, "step.selective_search.k.0"),
    ({"stage": "ingest", "dataset": {"root": "a", "split": ["train"]}}, "step.dataset"),
    ({"stage": "ingest", "dataset": {"kind": "coco", "root": "a"}}, "step.dataset"),
    ({"stage": "ingest", "dataset": {"kind": "koko", "root": "a"}}, "step.dataset.kind"),
    ({"stage": "pretrain", "images": "images", "repeat": 1}, "step.repeat"),
]


@pytest.mark.parametrize(("step", "where"), REFUSED, ids=str)
def test_what_is_wrong_is_marked_where_it_stands(step: dict[str, Any], where: str) -> None:
    errors = list(CHECKER.iter_errors({"version": 1, "name": "r", "steps": {"step": step}}))
    assert {".".join(map(str, error.absolute_path)) for error in errors} == {f"steps.{where}"}


def test_editors_show_the_words_of_every_field() -> None:
    definitions = {**SCHEMA["$defs"], "": SCHEMA}
    named = [
        (name, field, part) for name, one in definitions.items() for field, part in one.get("properties", {}).items()
    ]
    chosen = {("StepFields", "stage"), ("DatasetConfig", "kind")}
    assert [(name, field) for name, field, part in named if not part.get("description")] == sorted(chosen)
    batch = definitions["FinetuneConfig"]["properties"]["batch"]
    assert batch["description"] == "Windows of a batch, over all workers. [windows; section 4.1]"
