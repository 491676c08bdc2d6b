"""What people and recipes rely on, against a frozen list: commands and options, stages' fields, built-in recipes.

A change here is a change of the interface. If it is meant, write the lists anew and look at their difference:

    SPPNET_UPDATE_FROZEN=1 python -m pytest tests/test_frozen_surface.py && git diff tests/frozen
"""

from __future__ import annotations

import hashlib
import json
import os
from inspect import Parameter, signature
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import typer
from typer.models import ArgumentInfo

from jobs.cli import app
from jobs.recipes import find_recipe, recipe_names
from pipelines.engine.recipe import load_recipe
from pipelines.engine.registry import stage_names, stage_type
from pipelines.engine.stage import COVERAGE, RUNTIME, StageConfig

FOLDER = Path(__file__).parent / "frozen"


def commands() -> dict[str, Any]:
    """Every command with its arguments and options: names as typer parses them, the rest as it is declared."""
    parsed: Any = typer.main.get_command(app)
    found = {}
    for command in app.registered_commands:
        assert command.callback
        hints = get_type_hints(command.callback, include_extras=True)
        title = command.name or command.callback.__name__
        names = {param.name: [*param.opts, *param.secondary_opts] for param in parsed.commands[title].params}
        found[title] = {
            name: parameter(names[name], hints[name], declared.default)
            for name, declared in signature(command.callback).parameters.items()
            if hints[name] is not typer.Context
        }
    return found


def parameter(names: list[str], hint: Any, default: Any) -> dict[str, Any]:
    """One argument or option."""
    kind, info = get_args(hint)
    return {
        "kind": "argument" if isinstance(info, ArgumentInfo) else "option",
        "names": names,
        "type": getattr(kind, "__name__", str(kind)) if not get_args(kind) else str(kind),
        "minimum": info.min,
        "default": "required" if default is Parameter.empty else default,
    }


def role(config: type[StageConfig], field: str) -> str:
    """How a field enters fingerprints."""
    if field in config.input_fields():
        return f"input: {' or '.join(config.input_fields()[field].kinds)}"
    if field in config.fields_with(COVERAGE):
        return "coverage"
    return "runtime" if field in config.fields_with(RUNTIME) else "semantic"


def stages() -> dict[str, Any]:
    """Every stage with what it makes and its fields."""
    found = {}
    for name in stage_names():
        kind = stage_type(name)
        config = kind.config_type
        fields = {}
        for field, info in config.model_fields.items():
            if field == "stage":
                continue
            default = json.dumps(
                "required" if info.is_required() else info.get_default(call_default_factory=True), default=_plain
            )
            fields[field] = {"role": role(config, field), "default": json.loads(default)}
        found[name] = {"makes": kind.makes, "schema": kind.schema, "seeded": kind.seeded, "fields": fields}
    return found


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else str(value)


def recipes() -> dict[str, Any]:
    """Every built-in recipe: its steps, and a digest of all that its fingerprints are made from."""
    found = {}
    for name in recipe_names():
        recipe = load_recipe(find_recipe(name))
        found[name] = {
            "seed": recipe.seed,
            "steps": {step: config.stage for step, config in recipe.steps.items()},
            "digests": {
                step: hashlib.sha256(
                    json.dumps([config.semantic(), config.references()], sort_keys=True).encode()
                ).hexdigest()[:16]
                for step, config in recipe.steps.items()
            },
            "yaml": hashlib.sha256(recipe.to_yaml().encode()).hexdigest()[:16],
        }
    return found


def differences(path: str, before: Any, now: Any) -> list[str]:
    """One line for each leaf that differs."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = sorted({*before, *now})
        return [
            line
            for key in keys
            for line in differences(f"{path}.{key}" if path else key, before.get(key, "-"), now.get(key, "-"))
        ]
    return [] if before == now else [f"{path}: was {json.dumps(before)}, is {json.dumps(now)}"]


@pytest.mark.parametrize("surface", [commands, stages, recipes], ids=lambda surface: surface.__name__)
def test_the_surface_is_the_frozen_one(surface) -> None:
    path = FOLDER / f"{surface.__name__}.json"
    now = json.loads(json.dumps(surface()))
    if os.environ.get("SPPNET_UPDATE_FROZEN") == "1":
        FOLDER.mkdir(exist_ok=True)
        path.write_text(json.dumps(now, indent=1, sort_keys=surface is not recipes) + "\n")
    changed = differences("", json.loads(path.read_text()), now)
    if changed:
        pytest.fail(
            f"{len(changed)} changes of {path.name}, on which people and old workspaces rely:\n  "
            + "\n  ".join(changed)
            + "\nIf they are meant: SPPNET_UPDATE_FROZEN=1 python -m pytest tests/test_frozen_surface.py, and commit",
            pytrace=False,
        )


def test_the_order_of_steps_is_frozen_too() -> None:
    frozen = json.loads((FOLDER / "recipes.json").read_text())
    for name, recipe in recipes().items():
        assert list(frozen[name]["steps"]) == list(recipe["steps"])


def test_differences_are_told_leaf_by_leaf() -> None:
    before = {"run": {"cpus": {"default": 1, "kind": "option"}, "old": 3}}
    now = {"run": {"cpus": {"default": 2, "kind": "option"}, "new": 3}}
    assert differences("", before, now) == [
        "run.cpus.default: was 1, is 2",
        'run.new: was "-", is 3',
        'run.old: was 3, is "-"',
    ]


def test_every_field_is_documented() -> None:
    """Each stage's docstring has a line for every field of its config."""
    for name in stage_names():
        config = stage_type(name).config_type
        text = "\n".join(parent.__doc__ or "" for parent in config.__mro__ if issubclass(parent, StageConfig))
        for field in config.model_fields:
            assert f"{field}:" in text, f"{name}: {field}"
