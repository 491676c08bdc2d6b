"""Making what a changed detector lacks, after a look at whether the rest is there."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from jobs.change.categories import part_of
from pipelines.engine.recipe import Recipe
from pipelines.engine.runner import Engine
from pipelines.engine.workspace import Workspace
from sppnet.errors import ConfigError


def known_recipe(engine: Engine) -> Recipe:
    """Return a recipe with what only its data sets tell: the categories of steps that ask for all."""
    return replace(engine.recipe, steps={step.name: step.config for step in engine.steps})


def training_engine(recipe: Recipe, trained: Sequence[str], old: Collection[str], workspace: str) -> Engine:
    """Open what trains a new category, in the workspace of the detector.

    Args:
        recipe: The changed recipe.
        trained: Its steps that train the category.
        old: Steps of the recipe as it was.
        workspace: The workspace.

    Raises:
        ConfigError: A step of the recipe as it was has not been run to its end: nothing of it is trained here.
    """
    part = part_of(recipe, trained)
    # New annotations are looked at; what the detector was made from need not be there any more.
    engine = Engine(part, Workspace.open(workspace), [name for name in part.steps if name not in old])
    planned, engine.steps = engine.steps, [step for step in engine.steps if step.name in old]
    for status in engine.status():
        if status.committed != status.total:
            raise ConfigError(
                f"step {status.step.name} has not been run in {engine.workspace.store.uri} to its end; "
                "run the recipe first"
            )
    engine.steps = planned
    return engine
