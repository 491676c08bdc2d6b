"""The JSON schema of recipes, by which editors complete and check them while they are written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from jobs.reference.fields import config_models
from jobs.reference.words import summary_of, words_of
from pipelines.datasets.kinds import KINDS, OWN, dataset_config
from pipelines.datasets.protocol import DatasetConfig
from pipelines.engine.recipe_fields import RecipeFields, StepFields
from pipelines.engine.registry import stage_names, stage_type

Schema = dict[str, Any]

_DEFINITIONS = "#/$defs/"
_IMPORT_PATH = {"type": "string", "pattern": ":"}


def recipe_schema() -> Schema:
    """Return the schema (draft 2020-12) of recipes that name every stage and every kind of data set."""
    stages: dict[str, type[BaseModel]] = {name: stage_type(name).config_type for name in stage_names()}
    kinds: dict[str, type[BaseModel]] = {name: dataset_config(name) for name in (*KINDS, OWN)}
    models = _with_parts([RecipeFields, StepFields, *stages.values(), DatasetConfig, *kinds.values()])
    names, schema = models_json_schema([(model, "validation") for model in models])
    definitions: dict[str, Schema] = schema["$defs"]
    of = {model: ref["$ref"].removeprefix(_DEFINITIONS) for (model, _), ref in names.items()}
    for model in models:
        _describe(definitions[of[model]], model)
    repeat = definitions[of[StepFields]]["properties"]["repeat"]
    for config in stages.values():
        definitions[of[config]]["properties"]["repeat"] = repeat
    definitions[of[StepFields]] = _chosen("stage", {name: of[config] for name, config in stages.items()})
    definitions[of[DatasetConfig]] = _chosen("kind", {name: of[config] for name, config in kinds.items()}, "voc")
    top = definitions.pop(of[RecipeFields])
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "sppnet recipe"}
    return {**head, **top, "$defs": dict(sorted(definitions.items()))}


def schema_text() -> str:
    """Return the schema as it is kept."""
    return json.dumps(recipe_schema(), indent=1) + "\n"


def _with_parts(models: Sequence[type[BaseModel]]) -> list[type[BaseModel]]:
    """Return configs with those that their fields hold, each once."""
    found = dict.fromkeys(models)
    waiting = list(models)
    while waiting:
        parts = [part for info in waiting.pop().model_fields.values() for part in config_models(info.annotation)]
        waiting += [part for part in parts if part not in found]
        found.update(dict.fromkeys(parts))
    return list(found)


def _describe(definition: Schema, model: type[BaseModel]) -> None:
    """Give a config's definition its words instead of titles and docstrings."""
    definition.pop("title", None)
    definition["description"] = summary_of(model.__doc__)
    words = words_of(model)
    for name, schema in definition["properties"].items():
        schema.pop("title", None)
        if name in words:
            said = words[name]
            marks = "; ".join(mark for mark in (said.unit, said.paper) if mark)
            schema["description"] = f"{said.meaning} [{marks}]" if marks else said.meaning


def _chosen(field: str, names: Mapping[str, str], default: str | None = None) -> Schema:
    """Return the schema of a mapping whose other fields follow from what one field says."""
    choices = []
    values: Schema = {"enum": [name for name in names if name != OWN]}
    for value, name in names.items():
        wanted: Schema = {"properties": {field: {"const": value}}}
        if value == OWN:
            wanted = {"properties": {field: _IMPORT_PATH}}
            values = {"anyOf": [values, _IMPORT_PATH]}
        if value != default:
            wanted["required"] = [field]
        choices.append({"if": wanted, "then": {"$ref": f"{_DEFINITIONS}{name}"}})
    chosen: Schema = {"type": "object", "properties": {field: values}, "allOf": choices}
    return chosen if default else {**chosen, "required": [field]}
