"""The fields of stages, of kinds of data sets and of a recipe itself, with all that can be told of each."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from jobs.reference.types import type_words
from jobs.reference.words import Words, summary_of, words_of
from pipelines.datasets.kinds import KINDS, OWN, dataset_config
from pipelines.datasets.protocol import DatasetConfig
from pipelines.engine.recipe_fields import RecipeFields
from pipelines.engine.registry import stage_names, stage_type
from pipelines.engine.stage import COVERAGE, FILES, RUNTIME, Input

REQUIRED = "required"
RECIPE, DATASET = "recipe", "dataset"
_SEMANTIC = "yes"
_DATA = "yes, by the images and annotations that are found, not by where they lie"


@dataclass(frozen=True, slots=True)
class Field:
    """A field as it is told.

    Attributes:
        path: Its name below the section's, parts of mappings and lists after a dot.
        type: Which values it takes, in words.
        default: As YAML would have it, or `required`.
        changes_results: Whether it changes results, in words.
        meaning: What it means.
        unit: Of its numbers; empty if it has none.
        paper: Where the paper has it; empty if nowhere.
    """

    path: str
    type: str
    default: str
    changes_results: str
    meaning: str
    unit: str = ""
    paper: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """A stage, a kind of data set, or what a recipe has beside its steps.

    Attributes:
        name: As it is asked for: `finetune`, `dataset.coco`, `recipe`.
        summary: What it is, in a line.
        fields: Its fields, those of mappings right behind the mapping.
    """

    name: str
    summary: str
    fields: tuple[Field, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def sections() -> Iterator[Section]:
    """Yield all sections: the recipe itself, the stages in the order of the pipeline, the kinds of data sets."""
    yield recipe_section()
    yield from map(stage_section, stage_names())
    yield from map(kind_section, (*KINDS, OWN))


def recipe_section() -> Section:
    """Tell what a recipe has beside the fields of its stages."""
    return Section(RECIPE, summary_of(RecipeFields.__doc__), tuple(_fields(RecipeFields, "", "")))


def stage_section(name: str) -> Section:
    """Tell of a stage; raise KeyError for an unknown one."""
    kind = stage_type(name)
    summary = summary_of(sys.modules[kind.__module__].__doc__).removeprefix(f"{name}: ")
    return Section(name, _sentence(summary), tuple(_fields(kind.config_type, "", "")))


def _sentence(text: str) -> str:
    """Begin with a capital, unless it begins with a name such as fc6."""
    first, _, rest = text.partition(" ")
    return f"{first.capitalize()} {rest}" if first.rstrip(",").isalpha() and first.islower() else text


def kind_section(kind: str) -> Section:
    """Tell of a kind of data set; raise KeyError for an unknown one."""
    config = dataset_config(kind)
    return Section(f"{DATASET}.{kind}", summary_of(config.__doc__), tuple(_fields(config, "", _DATA)))


def config_models(annotation: Any) -> list[type[BaseModel]]:
    """Return the configs that a type holds; a data set's is told by its kind and left out."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return [] if issubclass(annotation, DatasetConfig) else [annotation]
    return [model for part in get_args(annotation) for model in config_models(part)]


def _fields(model: type[BaseModel], prefix: str, inherited: str) -> Iterator[Field]:
    """Yield a config's fields and those of what they hold; `inherited` says what changes results, if they don't."""
    words, schema = words_of(model), model.model_json_schema()
    for name, info in model.model_fields.items():
        told = words.get(name, Words(""))
        changes = inherited or _changes_results(name, info)
        type_text = _type(info, schema["properties"][name])
        yield Field(f"{prefix}{name}", type_text, _default(info), changes, told.meaning, told.unit, told.paper)
        parts = config_models(info.annotation)
        for part in parts:
            between = f"{_kind(part)}." if len(parts) > 1 else ""
            yield from _fields(part, f"{prefix}{name}.{between}", changes)


def _kind(model: type[BaseModel]) -> str:
    """Return the value of `kind` by which one of several configs is chosen."""
    (kind,) = get_args(model.model_fields["kind"].annotation)
    return str(kind)


def _type(info: FieldInfo, schema: dict[str, Any]) -> str:
    inputs = [mark for mark in info.metadata if isinstance(mark, Input)]
    if inputs:
        steps = "list of names of steps that make" if schema.get("type") == "array" else "name of a step that makes"
        return f"{steps} {' or '.join(inputs[0].kinds)}{'' if info.is_required() else ', or null'}"
    return type_words(schema)


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return REQUIRED
    value = info.get_default(call_default_factory=True)
    return json.dumps(value, default=lambda model: model.model_dump(mode="json"))


def _changes_results(name: str, info: FieldInfo) -> str:
    marks = info.metadata
    if name == DATASET:
        return _DATA
    if any(isinstance(mark, Input) for mark in marks):
        return "yes, by what that step makes"
    if FILES in marks:
        return "yes, by the files' content, not by where they lie"
    if COVERAGE in marks:
        return "no: it says which units are made"
    return "no" if RUNTIME in marks else _SEMANTIC
