"""`sppnet add-category`, `remove-category` and `rename-category`: the recipe of a changed detector.

A category that is added is a step of its own that trains one SVM, and one that trains one box regressor, on the
detector's own windows and cached maps; the step that scores puts them beside what there was. So no SVM is trained
again, and the others stay what they were. What differs from training all categories together: objects of the other
categories are no negatives by their boxes (mining finds those that score), and the others have never seen the new
category's objects as such.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import yaml

from jobs.apply.corpus import choose_step
from pipelines.engine.recipe import VERSION, Recipe, parse_recipe
from pipelines.stages.evaluate import EvaluateConfig
from sppnet.errors import ConfigError

Fields = dict[str, Any]
_PLAIN = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Added:
    """A recipe with one more category.

    Attributes:
        recipe: The recipe.
        detector: Its step that scores.
        trained: The steps that train the category's SVM and regressor.
    """

    recipe: Recipe
    detector: str
    trained: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Boxes of the new category.

    Attributes:
        path: A CSV table, a path or URI.
        unit: What they are told in: `pixel`, or `fraction` of the image's sides.
        columns: Columns by what they say, see `CsvColumns`; those that are left out have Open Images' names.
    """

    path: str
    unit: str
    columns: Mapping[str, str]


def add_category(base: Recipe, category: str, detector: str | None, table: Table | None) -> Added:
    """Derive the recipe of a detector with one more category.

    Args:
        base: The recipe of the trained detector.
        category: The new category's name.
        detector: The step that scores; None if only one does.
        table: Its boxes; None if the data set that the detector was trained on has them already.

    Raises:
        ConfigError: No such step, or one that combines; the detector has the category already.
    """
    score, fields = _scoring(base, detector)
    _require_new(base, score, fields, category)
    end = _plain(category) or "added"
    steps = _behind(base, score)
    newest = steps[_several(fields["svms"])[-1]]
    images = _Images(steps, end, None if table is None else _extended(steps, newest, category, table))
    trained = []
    for field in ("svms", "regressors"):
        if fields.get(field):
            there = _several(fields[field])
            like, name = there[-1], _free(f"{there[0]}-{end}", steps)
            steps[name] = {**images.moved(steps[like]), "categories": [category]}
            images.as_before(like, name)
            fields[field] = [*there, name]
            trained.append(name)
    if fields.get("categories") is not None:
        fields["categories"] = [*fields["categories"], category]
    steps[score] = images.moved(fields)
    _evaluated(base, score, steps)
    found = _recipe(base, end, steps)
    return Added(found, score, tuple(trained))


def remove_category(base: Recipe, category: str, detector: str | None) -> tuple[Recipe, str]:
    """Derive the recipe of a detector without one of its categories, and name its step that scores.

    Raises:
        ConfigError: No such step, or one that combines; the detector has no such category, or no other.
    """
    score, fields = _scoring(base, detector)
    known = _categories(base, fields)
    left = [trained for trained, name in known.items() if name != category]
    if category not in known.values() or not left:
        raise ConfigError(f"the detector of step {score} has {_listed(known)}: '{category}' can't be removed")
    others = {old: new for old, new in fields.pop("renamed", {}).items() if new != category}
    changed = {**fields, "categories": left, **({"renamed": others} if others else {})}
    return _with_score(base, score, changed, f"without-{_plain(category) or 'one'}"), score


def rename_category(base: Recipe, category: str, name: str, detector: str | None) -> tuple[Recipe, str]:
    """Derive the recipe of a detector that calls one of its categories otherwise, and name its step that scores.

    Raises:
        ConfigError: No such step, or one that combines; the detector has no such category, or one of the new name.
    """
    score, fields = _scoring(base, detector)
    known = _categories(base, fields)
    trained = next((old for old, called in known.items() if called == category), None)
    if trained is None:
        raise ConfigError(f"the detector of step {score} has {_listed(known)}: '{category}' can't be renamed")
    if not name.strip():
        raise ConfigError(f"'{category}' can't be renamed to '{name}': that is no name")
    renamed = {old: new for old, new in fields.pop("renamed", {}).items() if old != trained}
    if name != trained or name == category:  # back to the name that it was trained under is none
        _require_new(base, score, {**fields, "renamed": renamed}, name)
        renamed[trained] = name
    changed = {**fields, **({"renamed": renamed} if renamed else {})}
    return _with_score(base, score, changed, f"with-{_plain(name) or 'renamed'}"), score


def recipe_text(recipe: Recipe) -> str:
    """Return a recipe as YAML, without the fields that it leaves to their defaults."""
    steps = {name: _fields(config) for name, config in recipe.steps.items()}
    raw = {"version": VERSION, "name": recipe.name, "seed": recipe.seed, "steps": steps}
    return yaml.safe_dump(raw, sort_keys=False, width=120, allow_unicode=True)


def part_of(recipe: Recipe, steps: Sequence[str]) -> Recipe:
    """Return the part of a recipe that makes some steps."""
    wanted = set(_names_behind(recipe, steps))
    return replace(recipe, steps={name: config for name, config in recipe.steps.items() if name in wanted})


class _Images:
    """Where the new category's steps have their images, windows and maps from.

    Args:
        steps: The recipe's steps, to which those of other annotations are added.
        end: Of their names.
        extended: Of a table: the step that ingests what the detector was trained on, and its fields with the table.
    """

    def __init__(self, steps: dict[str, Fields], end: str, extended: tuple[str, Fields] | None) -> None:
        self._steps = steps
        self._end = end
        self._copies: dict[str, str] = {}
        if extended is not None:
            images, fields = extended
            self._copies[images] = _free(f"{images}-{end}", steps)
            steps[self._copies[images]] = fields

    def moved(self, fields: Fields) -> Fields:
        """Return a step's fields on the images with the new annotations: the same images, windows and maps."""
        if fields["images"] not in self._copies:
            return dict(fields)
        return {
            **fields,
            "images": self._copies[fields["images"]],
            **{field: self._copy(fields[field]) for field in ("windows", "maps") if field in fields},
        }

    def as_before(self, like: str, name: str) -> None:
        """Let a new step take its maps as the one like it does, stored or made."""
        maps = self._steps[self._steps[name]["maps"]]
        kept = maps.get("kept")
        if kept and like in kept["makers"]:
            maps["kept"] = {**kept, "makers": [*kept["makers"], name]}

    def _copy(self, name: str) -> str:
        if name not in self._copies:
            self._copies[name] = _free(f"{name}-{self._end}", self._steps)
            fields = self._steps[name]
            self._steps[self._copies[name]] = {**fields, "images": self._copies[fields["images"]]}
        return self._copies[name]


def _scoring(base: Recipe, detector: str | None) -> tuple[str, Fields]:
    name = choose_step(base, "detections", detector, "--detector")
    if base.steps[name].stage != "score":
        raise ConfigError(f"--detector {name}: stands for several detectors; change one that it combines")
    return name, _fields(base.steps[name])


def _categories(base: Recipe, fields: Fields) -> dict[str, str]:
    """Return what the detector's categories are called, by the names that they were trained under."""
    configs: list[Any] = [base.steps[name] for name in _several(fields["svms"])]
    chosen = fields.get("categories") or [category for config in configs for category in config.categories]
    renamed = fields.get("renamed", {})
    return {category: renamed.get(category, category) for category in chosen}


def _require_new(base: Recipe, score: str, fields: Fields, name: str) -> None:
    """Refuse a name that a category has, or was trained under: which is meant could not be told."""
    known = _categories(base, fields)
    if name in (*known, *known.values()):
        trained = "" if name in known.values() else f", now called '{known[name]}'"
        raise ConfigError(f"the detector of step {score} has category '{name}' already{trained}")


def _listed(known: Mapping[str, str]) -> str:
    return ", ".join(known.values())


def _plain(name: str) -> str:
    return _PLAIN.sub("-", name.lower()).strip("-")


def _with_score(base: Recipe, score: str, fields: Fields, end: str) -> Recipe:
    """Return the part of a recipe that one step makes, which is another, and what evaluates it."""
    steps = {**_behind(base, score), score: fields}
    _evaluated(base, score, steps)
    return _recipe(base, end, steps)


def _extended(steps: Mapping[str, Fields], svms: Fields, category: str, table: Table) -> tuple[str, Fields]:
    images: str = svms["images"]
    fields = steps[images]
    dataset = {
        "kind": "extended",
        "base": fields["dataset"],
        "category": category,
        "boxes": table.path,
        "unit": table.unit,
        **({"columns": dict(table.columns)} if table.columns else {}),
    }
    return images, {**fields, "dataset": dataset}


def _evaluated(base: Recipe, score: str, steps: dict[str, Fields]) -> None:
    """Keep the steps that evaluate the detector, of it alone; of comparisons those of its own rows."""
    for name, config in base.steps.items():
        if isinstance(config, EvaluateConfig) and score in config.references()["detections"]:
            steps[name] = {**_fields(config), "images": steps[score]["images"], "detections": [score]}
            own = {key: one.model_dump() for key, one in config.comparisons.items() if set(one.steps) == {score}}
            if config.comparisons:
                steps[name]["comparisons"] = own


def _behind(base: Recipe, score: str) -> dict[str, Fields]:
    return {name: _fields(base.steps[name]) for name in _names_behind(base, [score])}


def _names_behind(recipe: Recipe, names: Sequence[str]) -> Iterator[str]:
    """Yield steps and those that they are made from, in the recipe's order."""
    waiting, wanted = list(names), set[str]()
    while waiting:
        name = waiting.pop()
        if name not in wanted:
            wanted.add(name)
            waiting += [one for many in recipe.steps[name].references().values() for one in many]
    return (name for name in recipe.steps if name in wanted)


def _fields(config: Any) -> Fields:
    found: Fields = config.model_dump(mode="json", exclude_unset=True)
    return {"stage": config.stage, **found}


def _several(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def _free(name: str, steps: Mapping[str, Fields]) -> str:
    """Return a step's name that is not taken."""
    number, found = 2, name
    while found in steps:
        found, number = f"{name}-{number}", number + 1
    return found


def _recipe(base: Recipe, end: str, steps: dict[str, Fields]) -> Recipe:
    raw = {"version": VERSION, "name": f"{base.name}-{end}"[:100], "seed": base.seed, "steps": steps}
    return parse_recipe(raw, f"{base.source} with other categories")
