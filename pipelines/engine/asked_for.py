"""Values that a recipe asks for instead of having one: paths of data that everybody keeps elsewhere.

Such a value begins with `???`; behind it stands what is wanted and where it is had.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipelines.engine.recipe import Recipe
from sppnet.errors import ConfigError

MARK = "???"


def asked_for(recipe: Recipe, *stages: str) -> dict[str, str]:
    """Return what a recipe asks for: by `step.field`, what is wanted and where it is had.

    Args:
        recipe: The recipe.
        stages: Only what their steps ask for; none: all.
    """
    return {
        path: value.removeprefix(MARK).strip()
        for step, config in recipe.steps.items()
        if not stages or config.stage in stages
        for path, value in _asked(step, config.model_dump(mode="json"))
    }


def check_given(recipe: Recipe, *stages: str) -> None:
    """Raise `ConfigError` naming all that a recipe asks for and was not given, and how to give it.

    Args:
        recipe: The recipe.
        stages: Only what their steps ask for; none: all.
    """
    wanted: dict[str, list[str]] = {}
    for path, what in asked_for(recipe, *stages).items():
        wanted.setdefault(what, []).append(path)
    if wanted:
        paths = [path for group in wanted.values() for path in group]
        whats = [f"{' and '.join(group)}: {what}" if what else " and ".join(group) for what, group in wanted.items()]
        how = " ".join(f"--set {path}=..." for path in paths)
        raise ConfigError(f"recipe {recipe.source} asks for {'; '.join(whats)}. Give it: {how}")


def _asked(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield the places and texts of values that are asked for."""
    if isinstance(value, str) and value.startswith(MARK):
        yield path, value
    elif isinstance(value, Mapping):
        for name, part in value.items():
            yield from _asked(f"{path}.{name}", part)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for number, part in enumerate(value):
            yield from _asked(f"{path}.{number}", part)
