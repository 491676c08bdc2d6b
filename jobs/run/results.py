"""A run's outcome as plain values: for `--json`, and for the last lines on a terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from jobs.report.read.class_model import METRICS, Metric
from jobs.report.tables import figures
from pipelines.artifacts import class_metrics
from pipelines.artifacts.metrics import UNIT
from pipelines.engine.runner import Engine, StepSummary


def metric_rows(engine: Engine, summaries: Sequence[StepSummary]) -> list[dict[str, Any]]:
    """Rows of every evaluate step, in the order of the recipe: one a set of detections and kind of boxes."""
    rows: list[dict[str, Any]] = []
    for summary in summaries:
        if summary.stage == "evaluate":
            found = json.loads(engine.workspace.artifact(summary.artifact).read(UNIT))["rows"]
            rows.extend({"step": summary.step, **row} for row in found)
    return rows


def titles(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What rows are called: by their names, after `<step>/` where several evaluate steps have rows of one name."""
    steps: dict[str, set[str]] = {}
    for row in rows:
        steps.setdefault(row["name"], set()).add(row["step"])
    return [row["name"] if len(steps[row["name"]]) == 1 else f"{row['step']}/{row['name']}" for row in rows]


def class_rows(engine: Engine, summaries: Sequence[StepSummary]) -> list[dict[str, Any]]:
    """Rows of every step that judges classes, in the order of the recipe: one a network or feature and view set."""
    rows: list[dict[str, Any]] = []
    for summary in summaries:
        artifact = engine.workspace.artifact(summary.artifact)
        if artifact.kind == "class-metrics":
            found = json.loads(artifact.read(class_metrics.UNIT))["rows"]
            rows.extend({"step": summary.step, **row} for row in found)
    return rows


def class_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """A line for each row: what it is, its views, and its figures in percent with their deviation."""
    names = list(dict.fromkeys(name for row in rows for name in row["figures"]))
    table = Table("step", "row", "views", "images", *(f"{METRICS.get(name, Metric(name)).title}, %" for name in names))
    for row in rows:
        found = [row["figures"].get(name) for name in names]
        cells = [figures.spread(f["mean"], f["deviation"]) if f else figures.NONE for f in found]
        table.add_row(row["step"], row["name"], row["views"], figures.count(row["images"]), *cells)
    return table


def run_result(engine: Engine, summaries: Sequence[StepSummary], seconds: float) -> dict[str, Any]:
    """What `sppnet run --json` prints: mean average precision per step of the head, the last one's on top."""
    rows = metric_rows(engine, summaries)
    steps = {
        title: {
            "voc07_map": row["voc07_map"],
            "area_map": row["area_map"],
            "categories": {
                category: {"voc07_ap": figures["voc07_ap"], "area_ap": figures["area_ap"]}
                for category, figures in row["categories"].items()
            },
        }
        for title, row in zip(titles(rows), rows, strict=True)
    }
    last: dict[str, Any] = next(reversed(steps.values()), {})
    return {
        "run": engine.recipe.name,
        "workspace": engine.workspace.store.uri,
        "voc07_map": last.get("voc07_map"),
        "area_map": last.get("area_map"),
        "steps": steps,
        "classes": [
            {field: row[field] for field in ("step", "name", "views", "images", "figures")}
            for row in class_rows(engine, summaries)
        ],
        "stages": {
            summary.step: {
                "artifact": summary.artifact,
                "units": summary.units,
                "keys": summary.keys,
                "done": summary.done,
                "quarantined": summary.own_quarantined,
                "bytes": summary.bytes,
                "worker_seconds": summary.seconds,
                "wall_seconds": summary.wall_seconds,
            }
            for summary in summaries
        },
        "seconds": round(seconds, 3),
    }
