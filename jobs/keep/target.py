"""What a command that looks after a workspace is about: all of it, or what one recipe uses."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from jobs.keep.references import References, references
from jobs.recipes import recipe_names
from pipelines.engine.runner import Engine
from pipelines.engine.store import Store
from pipelines.engine.workspace import Workspace
from pipelines.keeping.lineage import Steps
from sppnet.errors import ConfigError


@dataclass(frozen=True)
class Target:
    """A workspace, or what of it a recipe uses.

    Attributes:
        workspace: The workspace.
        recipe: The recipe's steps; None for the whole workspace.
    """

    workspace: Workspace
    recipe: Steps | None = None

    @cached_property
    def names(self) -> list[str]:
        """The artifacts that are there: all, or the recipe's."""
        there = self.workspace.artifact_names()
        if self.recipe is None:
            return there
        own = {step.spec.artifact for step in self.recipe}
        return [name for name in there if name in own]

    @cached_property
    def references(self) -> References:
        """What the workspace's runs refer to."""
        return references(self.workspace)

    @property
    def recipes(self) -> tuple[Steps, ...]:
        """The steps that accounts are checked of: the recipe's, or those of all runs."""
        return self.references.recipes if self.recipe is None else (self.recipe,)

    @property
    def every_recipe(self) -> tuple[Steps, ...]:
        """All steps that are known, the recipe's and those of all runs: what follows from a unit may be another's."""
        return self.references.recipes if self.recipe is None else (self.recipe, *self.references.recipes)


def open_workspace(uri: str) -> Workspace:
    """Open a workspace that is there.

    Raises:
        ConfigError: Nothing is there.
        ArtifactError: It is of a version that can't be read.
    """
    workspace = Workspace.open(uri)
    workspace.check_version()
    if not workspace.is_marked() and not workspace.artifact_names():
        raise ConfigError(f"no workspace at {workspace.store.uri}: nothing was run there")
    return workspace


def store_time(store: Store) -> float:
    """Return the time by the store's clock or by ours, whichever is earlier: things must not look older than they are.

    Raises:
        ConfigError: The store can't be written.
    """
    probe = f"runs/.probe-{uuid.uuid4().hex}"
    store.put(probe, b"")
    entry = store.entry(probe)
    store.delete(probe)
    return min(time.time(), entry.modified if entry else time.time())


def find_target(what: str | None, workspace: str, open_engine: Callable[[str], Engine]) -> Target:
    """Find out what a person means.

    Args:
        what: A workspace's folder or URI; a recipe's file, URI or built-in name; None for `workspace`.
        workspace: The workspace where none is named, or a recipe is.
        open_engine: Opens a recipe there.

    Raises:
        ConfigError: There is no such workspace or recipe.
        ArtifactError: The workspace is of a version that can't be read.
    """
    if what is not None and _is_recipe(what):
        return Target(open_workspace(workspace), open_engine(what).steps)
    return Target(open_workspace(workspace if what is None else what))


def _is_recipe(what: str) -> bool:
    return Path(what).suffix in (".yaml", ".yml") or what in recipe_names()
