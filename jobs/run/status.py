"""What a workspace holds of a recipe: the table of `sppnet status`, and the reasons of `sppnet explain`."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from rich.table import Table

from jobs.run.differences import Difference, differences
from jobs.run.history import folder_of
from pipelines.engine.planning import PlannedStep
from pipelines.engine.runner import Engine, StepStatus
from pipelines.engine.workspace import Artifact
from sppnet.errors import ArtifactError

_FAILURES_SHOWN = 3


def status_table(engine: Engine) -> tuple[Table, dict[str, Any]]:
    """Tell the status of every step, as a table for a person and as the same in plain values."""
    failures = last_failures(engine)
    table = Table("step", "artifact", "units", "keys", "done", "quarantined", "rate", "last failure")
    rows = []
    for status in engine.status():
        row = _row(status, failures.get(status.step.name, {}))
        rows.append(row)
        units = f"{row['committed']}/{'?' if row['total'] is None else row['total']}"
        rate = f"{row['keys_per_second']:.1f} keys/s" if row["keys_per_second"] else ""
        cells = [row["step"], row["artifact"], units, *(_shown(row[k]) for k in ("keys", "done", "quarantined")), rate]
        table.add_row(*cells, "; ".join(f"{u}: {r}" for u, r in list(row["failures"].items())[:_FAILURES_SHOWN]))
    complete = all(row["total"] is not None and row["committed"] == row["total"] for row in rows)
    return table, {"run": engine.recipe.name, "complete": complete, "steps": rows}


def _shown(value: int | None) -> str:
    return "" if value is None else str(value)


def _row(status: StepStatus, failures: dict[str, str]) -> dict[str, Any]:
    summary = status.summary
    rate = summary.done / summary.wall_seconds if summary and summary.wall_seconds > 0 else None
    return {
        "step": status.step.name,
        "artifact": status.step.spec.artifact,
        "committed": status.committed,
        "total": status.total,
        "keys": summary.keys if summary else None,
        "done": summary.done if summary else None,
        "quarantined": summary.keys - summary.done if summary else None,
        "reasons": dict(Counter(entry.reason for entry in summary.quarantined)) if summary else {},
        "keys_per_second": round(rate, 3) if rate else None,
        "failures": {} if summary else failures,
    }


def last_failures(engine: Engine) -> dict[str, dict[str, str]]:
    """Read which units the newest attempt of the run gave up, with their reasons, by step."""
    folder = folder_of(engine)
    failed: dict[str, dict[str, str]] = {}
    for event in folder.events() if folder else ():
        if event["event"] == "unit_failed":
            failed.setdefault(event["step"], {})[event["unit"]] = event["reason"]
    return failed


def explain_steps(engine: Engine) -> list[dict[str, Any]]:
    """Tell of each step whether it is there, and if not, how it differs from the nearest artifact of its kind."""
    statuses = {status.step.name: status for status in engine.status()}
    names = sorted({entry.name.split("/", 1)[0] for entry in engine.workspace.store.list()} - {"runs"})
    return [_explain(engine, step, statuses[step.name], names) for step in engine.steps]


def _explain(engine: Engine, step: PlannedStep, status: StepStatus, names: list[str]) -> dict[str, Any]:
    row: dict[str, Any] = {"step": step.name, "artifact": step.spec.artifact, "changes": []}
    if status.committed:
        missing = None if status.total is None else status.total - status.committed
        row["state"] = "complete" if missing == 0 else f"{missing} of {status.total} units are missing"
        return row
    kind = step.spec.artifact.rsplit("-", 1)[0]
    others = [_preimage(engine.workspace.artifact(name)) for name in names if name.rsplit("-", 1)[0] == kind]
    row["state"] = "nothing of it is there"
    now = json.loads(json.dumps(dict(step.preimage)))
    changes = [list(differences(before, now)) for before in others if before]
    row["changes"] = [_told(change) for change in min(changes, key=len, default=[])]
    return row


def _preimage(artifact: Artifact) -> dict[str, Any] | None:
    try:
        return artifact.preimage()
    except ArtifactError:
        return None


def _told(change: Difference) -> str:
    return f"{change.path}: was {json.dumps(change.first)}, is {json.dumps(change.second)}"
