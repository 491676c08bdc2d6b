"""Why steps would run again: what has changed outside the workspace and in the recipe, and what that costs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

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
    found = [_differences("", before, now) for before in map(_preimage, others) if before]
    return min((lines for lines in found if lines), key=len, default=[])


def _preimage(artifact: Artifact) -> dict[str, Any] | None:
    try:
        return artifact.preimage()
    except ArtifactError:
        return None


def _differences(path: str, before: Any, now: Any) -> list[str]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        return [
            line
            for key in sorted({*before, *now})
            for line in _differences(f"{path}.{key}" if path else key, before.get(key), now.get(key))
        ]
    if before == now:
        return []
    if path.startswith(_DATA) and before is not None and now is not None:
        split, _, what = path.removeprefix(_DATA).rpartition(".")
        return [f"the {what} of {split} have changed"]
    return [f"{path}: was {json.dumps(before)}, is {json.dumps(now)}"]
