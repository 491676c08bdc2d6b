"""What is told of a built-in recipe: its first comment, what it asks for, and its steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from jobs.recipes import find_recipe
from pipelines.engine.asked_for import asked_for
from pipelines.engine.recipe import load_recipe

_COMMENT = "#"


@dataclass(frozen=True, slots=True)
class RecipeNote:
    """A built-in recipe as it is told.

    Attributes:
        name: By which it is run.
        about: The comment that it begins with, its lines as they are.
        asks: What it asks for and where that is had, by `step.field`.
        steps: The stage of each step, each after the steps that it reads.
    """

    name: str
    about: str
    asks: Mapping[str, str]
    steps: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def text(self) -> str:
        """Return it for a terminal."""
        left = max(map(len, self.steps)) + 2
        blocks = [f"recipe {self.name}\n\n{self.about}"]
        if self.asks:
            blocks.append("\n".join(["It asks for:", *(f"  {path}: {what}" for path, what in self.asks.items())]))
        blocks.append("\n".join(["Its steps:", *(f"  {step:<{left}}{stage}" for step, stage in self.steps.items())]))
        blocks.append(f"sppnet plan {self.name} tells what it costs, sppnet help STAGE what a step's fields mean.")
        return "\n\n".join(blocks)


def recipe_note(name: str) -> RecipeNote:
    """Tell of a built-in recipe; raise `ConfigError` if there is none of that name."""
    file = Path(find_recipe(name))
    recipe = load_recipe(file)
    lines = takewhile(lambda line: line.startswith(_COMMENT), file.read_text(encoding="utf-8").splitlines())
    about = "\n".join(line.removeprefix(_COMMENT).removeprefix(" ") for line in lines)
    return RecipeNote(name, about, asked_for(recipe), {step: config.stage for step, config in recipe.steps.items()})
