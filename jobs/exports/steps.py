"""Finds the step of a run that a person names for export."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from sppnet.errors import ConfigError

if TYPE_CHECKING:
    from pipelines.engine.planning import PlannedStep
    from pipelines.engine.runner import Engine


def step_making(engine: Engine, name: str, kinds: Collection[str]) -> PlannedStep:
    """Find a step by its name.

    Args:
        engine: The recipe in its workspace.
        name: The step's name.
        kinds: Kinds of artifacts, one of which it must make.

    Raises:
        ConfigError: There is no such step, or it makes something else; the message names those that do.
    """
    found = {step.name: step for step in engine.steps if engine.workspace.artifact(step.spec.artifact).kind in kinds}
    if name not in found:
        known = ", ".join(found) or "none of this recipe"
        raise ConfigError(f"step {name!r} makes no {' or '.join(kinds)}; these do: {known}")
    return found[name]
