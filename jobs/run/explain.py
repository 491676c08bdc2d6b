"""Why steps would run again: what has changed outside the workspace and in the recipe, and what that costs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from jobs.run.differences import Difference, differences
from pipelines.engine.planning import PlannedStep
from pipelines.engine.registry import stage_type
from pipelines.engine.runner import Engine, StepStatus
from pipelines.engine.workspace import Artifact
from sppnet.errors import ArtifactError

_DATA = "data."


def explain_steps(engine: Engine) -> list[dict[str, Any]]:
    """Tell for each step whether it is there; if not, what has changed, and how many of its units are to be made.

    Returns:
        Rows of `step`, `artifact`, `state` (words), `changes` (lines), `units` and `missing` (None where what they are
        made from is not there yet).
    """
    names = engine.workspace.artifact_names()
    return [_explain(engine, status, names) for status in engine.status()]


def _explain(engine: Engine, status: StepStatus, names: Sequence[str]) -> dict[str, Any]:
    step = status.step
    missing = None if status.total is None else status.total - status.committed
    changes = outside_changes(engine, step)
    if missing and not status.committed:
        changes += _nearest_difference(engine, step, names)
    return {
        "step": step.name,
        "artifact": step.spec.artifact,
        "state": _state(status, missing),
        "changes": changes,
        "units": status.total,
        "missing": missing,
    }


def _state(status: StepStatus, missing: int | None) -> str:
    if missing is None:
        return "nothing of it is there"
    if missing == 0:
        return "complete"
    if not status.committed:
        return f"nothing of it is there: {missing} unit{'s' * (missing > 1)} to make"
    return f"{missing} of {status.total} units to make"


def outside_changes(engine: Engine, step: PlannedStep) -> list[str]:
    """Say what has changed outside the workspace since the last run, such as `train/000012: 1 image replaced`."""
    if step.before is None:
        return []
    return stage_type(step.config.stage).changes(engine.workspace.store, step.before, step.look)


def _nearest_difference(engine: Engine, step: PlannedStep, names: Sequence[str]) -> list[str]:
    """How a step differs from the artifact of its kind that differs least."""
    kind = step.spec.artifact.rsplit("-", 1)[0]
    others = [engine.workspace.artifact(name) for name in names if name.rsplit("-", 1)[0] == kind]
    now = json.loads(json.dumps(dict(step.preimage)))
    found = [list(differences(before, now)) for before in map(_preimage, others) if before]
    return [_told(change) for change in min((changes for changes in found if changes), key=len, default=[])]


def _preimage(artifact: Artifact) -> dict[str, Any] | None:
    try:
        return artifact.preimage()
    except ArtifactError:
        return None


def _told(change: Difference) -> str:
    if change.path.startswith(_DATA) and change.first is not None and change.second is not None:
        split, _, what = change.path.removeprefix(_DATA).rpartition(".")
        return f"the {what} of {split} have changed"
    return f"{change.path}: was {json.dumps(change.first)}, is {json.dumps(change.second)}"
