"""The categories of a step: named one by one, or all of its images' data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, Field

from pipelines.artifacts.manifest import Manifest
from pipelines.engine.repeats import ALL
from pipelines.engine.stage import StageConfig, StageSpec
from pipelines.engine.store import Store
from pipelines.engine.workspace import Workspace
from sppnet.errors import ConfigError

ALL_CATEGORIES = ("*",)
"""What `all` is until the data set is known."""

C = TypeVar("C", bound=StageConfig)


def _parse(value: Any) -> Any:
    return ALL_CATEGORIES if value == ALL else value


CategoriesField = Annotated[
    tuple[str, ...], BeforeValidator(_parse, json_schema_input_type=str | tuple[str, ...]), Field(min_length=1)
]
"""Categories one by one, or `all`; a recipe may call them by a group's name too, which is written out before."""


def fill_in(config: C, store: Store, manifest: str) -> C:
    """Return a config that has `categories` with those of its images, in their order, if it asks for all.

    Raises:
        ConfigError: They have none.
    """
    if getattr(config, "categories", None) != ALL_CATEGORIES:
        return config
    found = Manifest.read(store, manifest).categories
    if not found:
        raise ConfigError("categories: all: the data set has none; name them")
    return config.model_copy(update={"categories": found})


def check_categories(names: Sequence[str], spec: StageSpec, field: str = "categories") -> None:
    """Raise `ConfigError` naming the step, the field and the first category that the images of a step don't have."""
    if names:
        manifest = Manifest.read(Workspace.open(spec.workspace).store, spec.manifest)
        manifest.check_categories(names, f"step {spec.step}: {field}")
