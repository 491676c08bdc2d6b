"""What a workspace holds of a recipe: the table of `sppnet status`, and the reasons of `sppnet explain`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table
from rich.text import Text

from jobs.run.going import is_at_work
from jobs.run.history import folder_of
from jobs.run.left_out import left_out
from jobs.run.running import Activity, activity
from pipelines.engine.runner import Engine, StepStatus

_FAILURES_SHOWN = 3


def status_table(engine: Engine) -> tuple[Table, dict[str, Any]]:
    """Tell the status of every step, as a table for a person and as the same in plain values."""
    folder = folder_of(engine)
    events = folder.events() if folder is not None else []
    failures, running = last_failures(events), folder is not None and is_at_work(folder)
    beside = left_out(engine)
    table = Table("step", "artifact", "asks for", "units", "keys", "done", "quarantined", "damaged", "rate", "failures")
    rows = []
    for status in engine.status():
        now = activity(status, events) if running else None
        row = _row(status, now, failures.get(status.step.name, {}))
        row["left_out"] = asdict(beside[status.step.name]) if status.step.name in beside else {}
        rows.append(row)
        table.add_row(*_cells(row, now))
    lines = [f"{step}: left out, being no images: {part.describe()}" for step, part in beside.items()]
    if lines:
        table.caption, table.caption_justify = Text("\n".join(lines)), "left"
    complete = all(row["total"] is not None and row["committed"] == row["total"] and not row["damaged"] for row in rows)
    return table, {"run": engine.recipe.name, "running": running, "complete": complete, "steps": rows}


def _cells(row: dict[str, Any], now: Activity | None) -> list[str]:
    rate = f"{row['keys_per_second']:.1f} keys/s" if row["keys_per_second"] else ""
    return [
        row["step"],
        row["artifact"],
        row["asks_for"],
        f"{row['committed']}/{'?' if row['total'] is None else row['total']}",
        _shown(row["keys"]),
        _shown(row["done"]),
        _quarantined(row),
        str(len(row["damaged"]) or ""),
        rate if now is None else now.describe(),
        "; ".join(f"{unit}: {reason}" for unit, reason in list(row["failures"].items())[:_FAILURES_SHOWN]),
    ]


def _shown(value: int | None) -> str:
    return "" if value is None else str(value)


def _quarantined(row: dict[str, Any]) -> str:
    """Say how many keys were set aside, and why."""
    whole = row["quarantined"]
    number = sum(row["reasons"].values()) if whole is None else whole
    if not number:
        return _shown(whole)
    return f"{number} ({', '.join(f'{times} {reason}' for reason, times in row['reasons'].items())})"


def _row(status: StepStatus, now: Activity | None, failures: dict[str, str]) -> dict[str, Any]:
    summary = status.summary
    reasons = Counter(entry.reason for entry in summary.quarantined) if summary else now.reasons if now else {}
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
        "reasons": dict(reasons),
        "now": now.fields() if now is not None else None,
        "keys_per_second": round(rate, 3) if rate else None,
        "damaged": [damage.line for damage in status.damaged],
        "failures": {entry.key: f"{entry.reason}: {entry.detail}" for entry in summary.shards_aside}
        if summary
        else failures,
    }


def last_failures(events: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """Return which units the newest attempt of a run gave up, with their reasons, by step."""
    failed: dict[str, dict[str, str]] = {}
    for event in events:
        if event["event"] == "unit_failed":
            failed.setdefault(event["step"], {})[event["unit"]] = event["reason"]
    return failed
