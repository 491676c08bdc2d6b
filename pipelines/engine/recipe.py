"""Recipes: the YAML that names a run's steps, read strictly."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from pipelines.engine.fingerprint import content_digest
from pipelines.engine.nearest import nearest
from pipelines.engine.own_code import check_parts
from pipelines.engine.recipe_fields import NAME_PATTERN, TOP_LEVEL
from pipelines.engine.registry import stage_names, stage_type
from pipelines.engine.repeats import Written, write_out
from pipelines.engine.stage import StageConfig
from pipelines.engine.store import open_store
from pipelines.engine.text import decode_text
from pipelines.engine.yaml_text import BYTES, parse_yaml
from sppnet.errors import ArtifactError, ConfigError, UnreadableError

VERSION = 1
_NAME = re.compile(NAME_PATTERN)
# A job's recipe lies in the workspace and may name code, which who writes the workspace may not: its digest is checked.
_SUBMITTED = re.compile(r"/uploads/([0-9a-f]{64})/recipe\.yaml$")
_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Recipe:
    """A validated recipe.

    Attributes:
        name: Name of the run's folder.
        seed: The run's seed.
        steps: Configs by step name, each after the steps that it reads.
        source: Where it was read from, for messages.
    """

    name: str
    seed: int
    steps: Mapping[str, StageConfig]
    source: str

    def to_yaml(self) -> str:
        """Return the recipe with every default written out."""
        steps = {name: config.model_dump(mode="json") for name, config in self.steps.items()}
        return yaml.safe_dump(
            {"version": VERSION, "name": self.name, "seed": self.seed, "steps": steps},
            sort_keys=False,
            width=120,
        )


def load_recipe(path: Path | str, overrides: Iterable[str] = (), gpus: str | None = None) -> Recipe:
    """Read and check a recipe that somebody runs: own parts that it names are imported.

    Args:
        path: The YAML file, or its URI, such as `s3://bucket/recipe.yaml`.
        overrides: `step.field=value`, `seed=value` or `name=value`; values are YAML.
        gpus: GPUs of every unit that computes on them, a number or `auto`, in place of what the recipe says; an
            override of one step holds all the same.

    Raises:
        ConfigError: One line that names the file, the key's path and the nearest right key.
    """
    raw = parse_yaml(_read_text(path), lambda where, why: ConfigError(f"recipe {path}{where}: {why}"))
    if not isinstance(raw, dict):
        raise ConfigError(f"recipe {path}: expected a mapping with the keys {', '.join(TOP_LEVEL)}")
    if gpus is not None:
        _set_gpus(raw.get("steps"), gpus)
    for override in overrides:
        apply_override(raw, override)
    return parse_recipe(raw, str(path), own_code=True)


def _set_gpus(steps: Any, gpus: str) -> None:
    """Set the GPUs of all steps that have such a field; what is wrong with a step is said when it is parsed."""
    for fields in steps.values() if isinstance(steps, dict) else ():
        stage = fields.get("stage") if isinstance(fields, dict) else None
        if stage in stage_names() and "gpus" in stage_type(stage).config_type.model_fields:
            fields["gpus"] = gpus


def _read_text(path: Path | str) -> str:
    folder, _, name = (str(path) if "://" in str(path) else str(Path(path).absolute())).rpartition("/")
    try:
        data = open_store(folder or "/").read(name, BYTES)
        submitted = _SUBMITTED.search(str(path))
        if submitted and content_digest(data) != submitted[1]:
            raise ConfigError(f"recipe {path}: is not what was submitted: submit it again")
        return decode_text(data, f"recipe {path}")
    except ArtifactError as error:
        why = f"{error}" if "://" in str(path) else f"{path} can't be read: No such file or directory"
        raise ConfigError(f"recipe {why}") from None
    except UnreadableError as error:
        raise ConfigError(f"recipe {error}") from error


def apply_override(raw: dict[str, Any], override: str) -> None:
    """Set one value of a recipe that is not checked yet.

    Args:
        raw: The recipe's values; changed in place.
        override: `step.field=value`, `seed=value` or `name=value`; the value is YAML. Parts of a list go by their
            numbers from 0: `step.field.0.part=value`.

    Raises:
        ConfigError: It is none of these, or names no step of the recipe.
    """
    key, sep, value = override.partition("=")
    parts = key.strip().split(".")
    if not sep or not all(parts):
        raise ConfigError(f"--set {override}: expected step.field=value")
    if len(parts) == 1 and parts[0] not in ("seed", "name"):
        raise ConfigError(f"--set {override}: expected step.field=value, seed=value or name=value")
    if parts[0] not in TOP_LEVEL:
        parts = ["steps", *parts]
    target: Any = raw
    for depth, part in enumerate(parts):
        if isinstance(target, list):
            if not part.isdigit() or int(part) >= len(target):
                raise ConfigError(f"--set {override}: {'.'.join(parts[:depth])} is a list of {len(target)}: 0, 1, ...")
            place: Any = int(part)
        elif not isinstance(target, dict):
            raise ConfigError(f"--set {override}: {'.'.join(parts[:depth])} holds no fields")
        elif part not in target and depth < len(parts) - 1:
            where = ".".join(parts[: depth + 1])
            raise ConfigError(f"--set {override}: no {where} in the recipe{nearest(part, target)}")
        else:
            place = part
        if depth < len(parts) - 1:
            # What an alias (`*edges`) shares with another step is this step's own from here on.
            target[place] = copy(target[place])
            target = target[place]
    target[place] = parse_yaml(value, lambda _, why: ConfigError(f"--set {override:.200}: the value is {why}"))


def parse_recipe(raw: Mapping[str, Any], source: str, *, own_code: bool = False) -> Recipe:
    """Check a recipe that is already plain values.

    Args:
        raw: Its values.
        source: Where they are from, for messages.
        own_code: Whether own parts that it names may be imported; if not, those that were before may be named.

    Raises:
        ConfigError: See `load_recipe`.
    """
    for key in raw:
        if key not in TOP_LEVEL:
            raise ConfigError(f"recipe {source}: unknown key '{key}'{nearest(str(key), TOP_LEVEL)}")
    if raw.get("version") != VERSION:
        raise ConfigError(f"recipe {source}: version is {raw.get('version')!r}, this sppnet reads version {VERSION}")
    name, seed, steps = raw.get("name"), raw.get("seed", 0), raw.get("steps")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigError(
            f"recipe {source}: name {name!r} must be at most 100 lower-case letters, digits, '.', '_' or '-'"
        )
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise ConfigError(f"recipe {source}: seed {seed!r} must be an integer")
    if not isinstance(steps, dict) or not steps:
        raise ConfigError(f"recipe {source}: steps must be a mapping with at least one step")
    written = write_out(steps, raw.get("category_groups", {}), f"recipe {source}")
    configs = {step: _parse_step(source, step, found) for step, found in written.items()}
    for step, config in configs.items():
        check_parts(config, f"recipe {source}: steps.{written[step].name}", allow=own_code)
    return Recipe(name=name, seed=seed, steps=_ordered(configs, written, source), source=source)


def _parse_step(source: str, step: str, written: Written) -> StageConfig:
    where, fields = f"recipe {source}: steps.{written.name}", written.fields
    if not _NAME.fullmatch(step):
        raise ConfigError(f"{where}: a step's name must be at most 100 lower-case letters, digits, '.', '_' or '-'")
    if not isinstance(fields, dict) or not isinstance(fields.get("stage"), str):
        raise ConfigError(f"{where}: needs 'stage', one of {', '.join(stage_names())}")
    try:
        config_type = stage_type(fields["stage"]).config_type
    except KeyError:
        near = nearest(fields["stage"], stage_names())
        raise ConfigError(f"{where}.stage: unknown stage '{fields['stage']}'{near}") from None
    try:
        return config_type.model_validate(fields)
    except ValidationError as error:
        raise ConfigError(_first_error(where, error, config_type)) from None


def _first_error(where: str, error: ValidationError, config_type: type[StageConfig]) -> str:
    first = error.errors(include_url=False)[0]
    path = ".".join(str(part) for part in first["loc"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        known = _fields_at(config_type, first["loc"][:-1])
        return f"{where}.{path}: unknown key{nearest(str(first['loc'][-1]), known)}{more}"
    if first["type"] == "missing":
        return f"{where}.{path}: is required{more}"
    message = first["msg"].removeprefix("Value error, ")
    return f"{where}.{path}: {message[:1].lower()}{message[1:]}, got {_shown(first['input'])}{more}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _fields_at(model: Any, path: tuple[int | str, ...]) -> list[str]:
    for part in path:
        info = getattr(model, "model_fields", {}).get(part)
        model = info.annotation if info else None
    return list(getattr(model, "model_fields", {}))


def _ordered(configs: Mapping[str, StageConfig], written: Mapping[str, Written], source: str) -> dict[str, StageConfig]:
    graph: dict[str, list[str]] = {}
    for step, config in configs.items():
        graph[step] = []
        for field, kinds in config.input_fields().items():
            for target in config.references().get(field, ()):
                where = f"recipe {source}: steps.{written[step].name}.{field}"
                if target not in configs:
                    raise ConfigError(f"{where}: no step '{target}'{nearest(target, configs)}")
                made = stage_type(configs[target].stage).makes
                if made not in kinds.kinds:
                    raise ConfigError(f"{where}: step '{target}' makes {made}, expected {' or '.join(kinds.kinds)}")
                graph[step].append(target)
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise ConfigError(f"recipe {source}: steps read each other in a circle: {' -> '.join(error.args[1])}") from None
    ordered = {step: configs[step] for step in order}
    for step, config in ordered.items():
        given = {field: tuple(ordered[t] for t in targets) for field, targets in config.references().items()}
        try:
            stage_type(config.stage).check(config, given)
        except ConfigError as error:
            raise ConfigError(f"recipe {source}: steps.{written[step].name}.{error}") from None
    return ordered
