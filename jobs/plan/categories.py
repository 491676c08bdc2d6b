"""How many categories there are where a recipe asks for all of a data set."""

from __future__ import annotations

from dataclasses import replace

from pipelines.datasets.contents import Contents
from pipelines.datasets.protocol import DatasetConfig
from pipelines.engine.recipe import Recipe
from pipelines.engine.stage import StageConfig
from pipelines.shards.categories import ALL_CATEGORIES
from pipelines.stages.ingest import IngestConfig
from sppnet.errors import ConfigError


def with_categories(recipe: Recipe) -> Recipe:
    """Return a recipe in which steps that ask for all categories have as many as their data set.

    A data set that is not there counts as what its kind usually has.

    Raises:
        ConfigError: It can't be told how many that are.
    """
    steps = {name: _with_categories(recipe, name, config) for name, config in recipe.steps.items()}
    return replace(recipe, steps=steps)


def _with_categories(recipe: Recipe, name: str, config: StageConfig) -> StageConfig:
    if getattr(config, "categories", None) != ALL_CATEGORIES:
        return config
    (images,) = config.references()["images"]
    ingest = recipe.steps[images]
    if not isinstance(ingest, IngestConfig):
        return config
    try:
        found = _categories(ingest.dataset)
    except ConfigError as error:
        raise ConfigError(f"steps.{name}.categories: all: {error}") from error
    return config.model_copy(update={"categories": found})


def count_categories(dataset: DatasetConfig) -> int | None:
    """Count a data set's categories, or what its kind usually has; None if neither is known."""
    try:
        return len(_categories(dataset))
    except ConfigError:
        return None


def _categories(dataset: DatasetConfig) -> tuple[str, ...]:
    try:
        return dataset.open().categories(Contents())
    except ConfigError:
        if dataset.usual_categories is None:
            raise
        return tuple(f"category {number}" for number in range(1, dataset.usual_categories + 1))
