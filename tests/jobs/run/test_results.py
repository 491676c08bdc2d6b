"""What a run ends with: rows of classification beside those of detection, as values and as a table."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

from rich.console import Console

from jobs.formatting import NONE
from jobs.run.results import RunResult, class_results_table
from pipelines.artifacts.class_metrics import UNIT
from pipelines.engine.commits import Output
from pipelines.engine.ledger import StepSummary
from pipelines.engine.workspace import Workspace

ROWS = [
    {"name": "a", "views": "full", "images": 500, "figures": {"top1_error": {"mean": 0.3498, "deviation": None}}},
    {
        "name": "seeds",
        "views": "maps10",
        "images": 500,
        "figures": {"top1_error": {"mean": 0.346, "deviation": 0.0042}, "top5_error": {"mean": 0.14, "deviation": 0.0}},
    },
    {"name": "fc7", "views": "crop", "images": 20, "figures": {"voc07_map": {"mean": 0.759, "deviation": None}}},
]


def summary(step: str, stage: str, artifact: str) -> StepSummary:
    return StepSummary(step, stage, artifact, 1, 0, 0, 0, (), len(ROWS), 10, 1.0, 1.0)


def made_run(folder: Path) -> tuple[SimpleNamespace, list[StepSummary]]:
    workspace = Workspace.open(str(folder))
    rows = [{**row, "confusion": [[0, 0, 500]]} for row in ROWS]
    data = json.dumps({"rows": rows, "comparisons": [{"name": "gain", "difference": -0.01}]}).encode()
    workspace.artifact("class-metrics-x").publish(UNIT, Output(data, ".json", len(ROWS), 0), 0)
    engine = SimpleNamespace(workspace=workspace, recipe=SimpleNamespace(name="r"))
    summaries = [summary("scores", "classify", "scores-x"), summary("top", "evaluate-classes", "class-metrics-x")]
    return engine, summaries


def test_rows_of_classes_are_part_of_the_result(tmp_path) -> None:
    engine, summaries = made_run(tmp_path)
    result = RunResult.of(engine, summaries).to_json()
    assert result["classes"] == [{"step": "top", **row} for row in ROWS]
    assert result["comparisons"] == [{"step": "top", "name": "gain", "difference": -0.01}]
    assert (result["steps"], result["voc07_map"]) == ({}, None)
    assert list(result["stages"]) == ["scores", "top"]
    json.dumps(result)


def test_the_headline_is_the_last_detectors_or_else_that_of_the_last_row_of_classes(tmp_path) -> None:
    engine, summaries = made_run(tmp_path)
    classes = RunResult.of(engine, summaries)
    assert classes.headline == ("mAP, VOC 2007 11-point", 0.759)
    by_area = replace(classes, area_map=0.25)
    assert by_area.headline == ("area mAP", 0.25)
    assert replace(by_area, voc07_map=0.5).headline == ("VOC07 mAP", 0.5)
    assert replace(classes, coco={"AP": 0.125, "AP50": 0.25}).headline == ("COCO AP", 0.125)
    assert RunResult.of(engine, []).headline is None


def test_the_table_has_a_column_for_each_figure(tmp_path) -> None:
    engine, summaries = made_run(tmp_path)
    console = Console(file=io.StringIO(), width=160)
    console.print(class_results_table(RunResult.of(engine, summaries).classes))
    lines = [line.replace("┃", "│").strip("│").split("│") for line in console.file.getvalue().splitlines()]
    cells = [[cell.strip() for cell in line] for line in lines if len(line) > 1]
    assert cells == [
        ["step", "row", "views", "images", "top-1 error, %", "top-5 error, %", "mAP, VOC 2007 11-point, %"],
        ["top", "a", "full", "500", "35.0", NONE, NONE],
        ["top", "seeds", "maps10", "500", "34.6 ± 0.4", "14.0 ± 0.0", NONE],
        ["top", "fc7", "crop", "20", NONE, NONE, "75.9"],
    ]
