"""Why steps would run again: what has changed outside the workspace and in the recipe, and what that costs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from jobs.formatting import duration
from jobs.run.differences import Difference, differences
from pipelines.engine.planning import PlannedStep
from pipelines.engine.registry import stage_type
from pipelines.engine.runner import Engine, StepStatus
from pipelines.engine.workspace import Artifact
from sppnet.errors import ArtifactError

_DATA = "data."
_SAMPLED = 16


def explain_steps(engine: Engine) -> list[dict[str, Any]]:
    """Tell for each step whether it is there; if not, what has changed, and how many of its units are to be made.

    Returns:
        Rows of `step`, `artifact`, `state` (words), `changes` (lines), `units` and `missing` (None where what they are
        made from is not there yet), and `seconds`: what a worker would take for those, from what units like them took
        (None where there are none).
    """
    names = engine.workspace.artifact_names()
    return [_explain(engine, status, names) for status in engine.status()]


def _explain(engine: Engine, status: StepStatus, names: Sequence[str]) -> dict[str, Any]:
    step = status.step
    missing = None if status.total is None else status.total - status.committed
    changes = outside_changes(engine, step)
    like: Artifact | None = engine.workspace.artifact(step.spec.artifact)
    if missing and not status.committed:
        like, differing = _nearest(engine, step, names)
        changes += differing
    seconds = 0.0 if missing == 0 else _seconds_a_unit(like)
    if missing and seconds is not None:
        seconds = round(seconds * missing, 1)
    return {
        "step": step.name,
        "artifact": step.spec.artifact,
        "state": _state(status, missing, seconds),
        "changes": changes,
        "units": status.total,
        "missing": missing,
        "seconds": seconds,
    }


def _state(status: StepStatus, missing: int | None, seconds: float | None) -> str:
    if missing is None:
        return "nothing of it is there"
    if missing == 0:
        return "complete"
    cost = "" if seconds is None else f", about {duration(seconds)} of work"
    if not status.committed:
        return f"nothing of it is there: {missing} unit{'s' * (missing > 1)} to make{cost}"
    return f"{missing} of {status.total} units to make{cost}"


def _seconds_a_unit(like: Artifact | None) -> float | None:
    """Return the mean time of a sample of an artifact's units; None without any."""
    if like is None:
        return None
    units = sorted(like.committed())
    sample = like.commits(units[:: max(1, len(units) // _SAMPLED)])
    return fmean(commit.seconds for commit in sample) if sample else None


def outside_changes(engine: Engine, step: PlannedStep) -> list[str]:
    """Say what has changed outside the workspace since the last run, such as `train/000012: 1 image replaced`."""
    if step.before is None:
        return []
    return stage_type(step.config.stage).changes(engine.workspace.store, step.before, step.look)


def _nearest(engine: Engine, step: PlannedStep, names: Sequence[str]) -> tuple[Artifact | None, list[str]]:
    """Find the artifact of a step's stage that differs least, and how it differs."""
    kind = step.spec.artifact.rsplit("-", 1)[0]
    others = [engine.workspace.artifact(name) for name in names if name.rsplit("-", 1)[0] == kind]
    now = json.loads(json.dumps(dict(step.preimage)))
    known = [(other, _preimage(other)) for other in others]
    found = [
        (other, list(differences(before, now)))
        for other, before in known
        if before is not None and before.get("stage") == now["stage"] and before != now
    ]
    if not found:
        return None, []
    other, changes = min(found, key=lambda pair: len(pair[1]))
    return other, [_told(change) for change in changes]


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
