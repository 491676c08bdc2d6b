"""Every field has words, and what is told of it is so."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from jobs.reference.fields import REQUIRED, Field, Section, kind_section, recipe_section, sections, stage_section
from pipelines.engine.registry import stage_names, stage_type

ALL = list(sections())
PAPER = re.compile(r"(section [1-4](\.[1-6]){0,2}|Table \d{1,2}|figure \d|appendix [AB])")


def field(section: Section, path: str) -> Field:
    (found,) = [field for field in section.fields if field.path == path]
    return found


@pytest.mark.parametrize("section", ALL, ids=lambda section: section.name)
def test_no_field_lacks_words(section: Section) -> None:
    assert section.summary.endswith(".")
    assert [found.path for found in section.fields if not found.meaning.endswith((".", "`"))] == []


@pytest.mark.parametrize("section", ALL, ids=lambda section: section.name)
def test_every_number_has_a_unit(section: Section) -> None:
    numbers = [found for found in section.fields if re.search(r"\b(integer|number)\b", found.type)]
    assert [found.path for found in numbers if not found.unit] == []


@pytest.mark.parametrize("section", ALL, ids=lambda section: section.name)
def test_the_paper_has_the_parts_that_are_named(section: Section) -> None:
    named = [part for found in section.fields if found.paper for part in found.paper.split(", ")]
    assert [part for part in named if not PAPER.fullmatch(part)] == []


def test_every_stage_and_every_field_is_there() -> None:
    names = [section.name for section in ALL]
    assert names[0] == "recipe"
    assert names[1 : 1 + len(stage_names())] == list(stage_names())
    assert {"dataset.voc", "dataset.coco", "dataset.joined"} <= set(names)
    for name in stage_names():
        own = {found.path for found in stage_section(name).fields if "." not in found.path}
        assert own == set(stage_type(name).config_type.model_fields)


def test_defaults_are_those_of_the_configs() -> None:
    own = stage_section("finetune")
    assert field(own, "maps").default == REQUIRED
    assert field(own, "batch").default == "128"
    assert json.loads(field(own, "schedule").default)[1] == {"lr": 1e-4, "steps": 30_000}
    assert field(own, "schedule.lr").type == "number above 0"


CHANGES = [
    ("finetune", "batch", "yes"),
    ("finetune", "schedule.lr", "yes"),
    ("finetune", "maps", "yes, by what that step makes"),
    ("finetune", "log_every", "no"),
    ("extract", "scales", "no: it says which units are made"),
    ("extract", "kept.splits", "no"),
    ("weights", "path", "yes, by the files' content, not by where they lie"),
    ("ingest", "dataset", "yes, by the images and annotations that are found, not by where they lie"),
]


@pytest.mark.parametrize(("stage", "path", "told"), CHANGES)
def test_what_changes_results_follows_from_the_roles(stage: str, path: str, told: str) -> None:
    assert field(stage_section(stage), path).changes_results == told


def test_a_step_is_asked_for_by_what_it_makes() -> None:
    assert field(stage_section("finetune"), "init").type == "name of a step that makes head or network, or null"
    combined = field(stage_section("combine"), "detections").type
    assert combined == "list of names of steps that make detections"


def test_parts_of_which_one_is_chosen_have_its_kind_in_their_path() -> None:
    paths = [found.path for found in stage_section("transfer").fields]
    assert {"protocol.voc07.test", "protocol.caltech101.repeats"} <= set(paths)


def test_a_kind_of_data_set_and_the_recipe_are_told_likewise() -> None:
    assert field(kind_section("coco"), "splits.annotations").default == REQUIRED
    assert field(recipe_section(), "steps.repeat").type == "integer from 2 to 100 or null"
    plain: Any = recipe_section().to_json()
    assert plain["fields"][0]["path"] == "version"
