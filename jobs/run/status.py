"""What a workspace holds of a recipe: the table of `sppnet status`, and the reasons of `sppnet explain`."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

from rich.table import Table
from rich.text import Text

from jobs.run.history import folder_of
from jobs.run.left_out import left_out
from pipelines.engine.runner import Engine, StepStatus

_FAILURES_SHOWN = 3


def status_table(engine: Engine) -> tuple[Table, dict[str, Any]]:
    """Tell the status of every step, as a table for a person and as the same in plain values."""
    failures = last_failures(engine)
    beside = left_out(engine)
    table = Table(
        "step", "artifact", "asks for", "units", "keys", "done", "quarantined", "damaged", "rate", "last failure"
    )
    rows = []
    for status in engine.status():
        row = _row(status, failures.get(status.step.name, {}))
        row["left_out"] = asdict(beside[status.step.name]) if status.step.name in beside else {}
        rows.append(row)
        units = f"{row['committed']}/{'?' if row['total'] is None else row['total']}"
        rate = f"{row['keys_per_second']:.1f} keys/s" if row["keys_per_second"] else ""
        cells = [
            row["step"],
            row["artifact"],
            row["asks_for"],
            units,
            *(_shown(row[k]) for k in ("keys", "done", "quarantined")),
            str(len(row["damaged"]) or ""),
            rate,
        ]
        table.add_row(*cells, "; ".join(f"{u}: {r}" for u, r in list(row["failures"].items())[:_FAILURES_SHOWN]))
    if beside:
        lines = (f"{step}: left out, being no images: {part.describe()}" for step, part in beside.items())
        table.caption, table.caption_justify = Text("\n".join(lines)), "left"
    complete = all(row["total"] is not None and row["committed"] == row["total"] and not row["damaged"] for row in rows)
    return table, {"run": engine.recipe.name, "complete": complete, "steps": rows}


def _shown(value: int | None) -> str:
    return "" if value is None else str(value)


def _row(status: StepStatus, failures: dict[str, str]) -> dict[str, Any]:
    summary = status.summary
    rate = summary.done / summary.wall_seconds if summary and summary.wall_seconds > 0 else None
    return {
        "step": status.step.name,
        "artifact": status.step.spec.artifact,
        "asks_for": status.step.config.needs(status.step.name).describe(),
        "committed": status.committed,
        "total": status.total,
        "keys": summary.keys if summary else None,
        "done": summary.done if summary else None,
        "quarantined": summary.keys - summary.done if summary else None,
        "reasons": dict(Counter(entry.reason for entry in summary.quarantined)) if summary else {},
        "keys_per_second": round(rate, 3) if rate else None,
        "damaged": [damage.line for damage in status.damaged],
        "failures": {entry.key: f"{entry.reason}: {entry.detail}" for entry in summary.shards_aside}
        if summary
        else failures,
    }


def last_failures(engine: Engine) -> dict[str, dict[str, str]]:
    """Read which units the newest attempt of the run gave up, with their reasons, by step."""
    folder = folder_of(engine)
    failed: dict[str, dict[str, str]] = {}
    for event in folder.events() if folder else ():
        if event["event"] == "unit_failed":
            failed.setdefault(event["step"], {})[event["unit"]] = event["reason"]
    return failed
