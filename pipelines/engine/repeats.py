"""Repeats and groups of a recipe, written out: `repeat: 6`, and categories that are called by a group's name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from pipelines.engine.nearest import nearest
from pipelines.engine.recipe_fields import MOST_REPEATS
from pipelines.engine.registry import stage_names, stage_type
from pipelines.engine.stage import MENTIONS, StageConfig
from sppnet.errors import ConfigError

ALL = "all"
"""Stands for all categories of a data set."""


@dataclass(frozen=True, slots=True)
class Written:
    """A step as it stands in a recipe.

    Attributes:
        name: Its name there, which messages say.
        fields: Its fields, repeats and groups written out.
    """

    name: str
    fields: Any


def write_out(steps: Mapping[str, Any], groups: Any, where: str) -> dict[str, Written]:
    """Write out the steps of a recipe.

    Args:
        steps: The steps as they stand there.
        groups: Its groups of categories.
        where: What messages begin with.

    Returns:
        By the step's own name, what it was written as. What is neither repeated nor called by a group stays as it is,
        right or wrong.

    Raises:
        ConfigError: A repeat or a group that can't be.
    """
    lists = _checked_groups(groups, where)
    steps = {str(name): _grouped(str(name), fields, lists, where) for name, fields in steps.items()}
    counts = _Counts(steps, where).all()
    found: dict[str, Written] = {}
    for count, run in groupby(steps, key=lambda name: counts.get(name, 0)):
        names = list(run)
        for number in range(1, max(count, 1) + 1):
            for name in names:
                own = f"{name}-{number}" if count else name
                if own in found or (count and own in steps):
                    raise ConfigError(f"{where}: steps.{name}.repeat: there is a step '{own}' already")
                found[own] = Written(name, _repeated(steps[name], number, counts))
    return found


def _checked_groups(groups: Any, where: str) -> dict[str, list[str]]:
    if not isinstance(groups, dict):
        raise ConfigError(f"{where}: category_groups must be a mapping of names to lists of categories")
    for name, members in groups.items():
        if name == ALL:
            raise ConfigError(f"{where}: category_groups.{ALL}: '{ALL}' stands for all categories of the data set")
        if not isinstance(members, list) or not members or not all(isinstance(member, str) for member in members):
            raise ConfigError(f"{where}: category_groups.{name}: must be a list of categories, one at least")
    return groups


def _grouped(step: str, fields: Any, groups: Mapping[str, list[str]], where: str) -> Any:
    """Write out the group that a step's categories are called by."""
    called = fields.get("categories") if isinstance(fields, dict) else None
    if not isinstance(called, str) or called == ALL:
        return fields
    if called not in groups:
        raise ConfigError(
            f"{where}: steps.{step}.categories: no group '{called}' in category_groups{nearest(called, [ALL, *groups])}"
        )
    return {**fields, "categories": groups[called]}


class _Counts:
    """How often each step is made."""

    def __init__(self, steps: Mapping[str, Any], where: str) -> None:
        self._steps = steps
        self._where = where
        self._found: dict[str, int] = {}

    def all(self) -> dict[str, int]:
        """Return by step how often it is made, if it is repeated."""
        for step, fields in self._steps.items():
            if isinstance(fields, dict) and "repeat" in fields:
                self._found[step] = self._said(step, fields)
        while any(self._follows(step) for step in self._steps):
            pass
        for step, fields in self._steps.items():
            if step in self._found and not self._read(step) and "seed" not in _config(fields).model_fields:
                self._refuse(step, "repeat", f"stage {fields['stage']} has no seed, so that all would be the same")
        return self._found

    def _said(self, step: str, fields: Mapping[str, Any]) -> int:
        count = fields["repeat"]
        if not isinstance(count, int) or isinstance(count, bool) or not 2 <= count <= MOST_REPEATS:
            self._refuse(step, "repeat", f"must be an integer from 2 to {MOST_REPEATS}, got {count!r}")
        if fields.get("stage") not in stage_names():
            self._refuse(step, "stage", f"must name what is repeated, one of {', '.join(stage_names())}")
        return int(count)

    def _read(self, step: str) -> list[tuple[str, str]]:
        """Return the repeated steps that a step reads one of, with the field that names each."""
        fields = self._steps[step]
        inputs = _config(fields).input_fields()
        named = [(name, fields[name]) for name in inputs if isinstance(fields.get(name), str)]
        return [(name, target) for name, target in named if target in self._found]

    def _follows(self, step: str) -> bool:
        """Repeat a step that reads a repeated one as often; tell whether that was new."""
        if not isinstance(self._steps[step], dict) or self._steps[step].get("stage") not in stage_names():
            return False
        new = False
        for field, target in self._read(step):
            count = self._found[target]
            new |= step not in self._found
            if self._found.setdefault(step, count) != count:
                self._refuse(step, field, f"'{target}' is made {count} times, '{step}' {self._found[step]} times")
        return new

    def _refuse(self, step: str, field: str, why: str) -> None:
        raise ConfigError(f"{self._where}: steps.{step}.{field}: {why}")


def _config(fields: Mapping[str, Any]) -> type[StageConfig]:
    return stage_type(fields["stage"]).config_type


def _repeated(fields: Any, number: int, counts: Mapping[str, int]) -> Any:
    """Return a step's fields with the names of repeated steps written out; `number` counts those of its own."""
    if not isinstance(fields, dict) or fields.get("stage") not in stage_names():
        return fields
    config = _config(fields)
    own = {name: value for name, value in fields.items() if name != "repeat"}
    followed = False
    for name in config.input_fields():
        value = own.get(name)
        if isinstance(value, str) and value in counts:
            own[name] = f"{value}-{number}"
            followed = True
        elif isinstance(value, list):
            own[name] = list(_all_of(value, counts))
    for name in config.fields_with(MENTIONS):
        if isinstance(own.get(name), dict):
            own[name] = {
                row: list(_all_of(members, counts)) if isinstance(members, list) else members
                for row, members in own[name].items()
            }
    if "repeat" in fields and not followed:
        first = fields.get("seed", 0)
        own["seed"] = first + number - 1 if isinstance(first, int) else first
    return own


def _all_of(names: list[Any], counts: Mapping[str, int]) -> Iterator[Any]:
    for name in names:
        if isinstance(name, str) and name in counts:
            yield from (f"{name}-{number}" for number in range(1, counts[name] + 1))
        else:
            yield name
