"""The recipes that come with sppnet, found by name."""

from __future__ import annotations

import difflib
from pathlib import Path

from sppnet.errors import ConfigError

_FOLDER = Path(__file__).parent


def recipe_names() -> list[str]:
    """Return the names of the built-in recipes."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def find_recipe(name: str) -> Path | str:
    """Return the file of a recipe given by path or by built-in name; one given by URI is returned as it is.

    Raises:
        ConfigError: There is neither.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        return name if "://" in name else path
    built_in = _FOLDER / f"{name}.yaml"
    if built_in.is_file():
        return built_in
    near = difflib.get_close_matches(name, recipe_names(), n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"built-in recipes: {', '.join(recipe_names())}"
    raise ConfigError(f"no recipe '{name}': give a .yaml file or a built-in name; {hint}")
