"""Two runs side by side: what differs in the recipe, AP, figures of classes, units and time."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
import yaml
from rich.console import Console

from jobs.formatting import NONE
from jobs.report.read.classification import Figure
from jobs.run.compare import MEAN, ComparedAp, ComparedFigure, ComparedStep, Comparison, Pair, compare_runs
from jobs.run.compare import comparison_tables as tables
from jobs.run.differences import Difference
from jobs.run.history import RunFolder, RunKey
from jobs.run.results import CategoryAp, ClassFigures, DetectorFigures, RunResult, StepFigures
from jobs.run.summary import RunSummary, write_summary
from pipelines.engine.store import Store, open_store
from sppnet.errors import ConfigError


def stage(artifact: str, units: int, seconds: float) -> StepFigures:
    return StepFigures(artifact, units, 0, 0, 0, 0, seconds, seconds / 2)


def recorded(store: Store, digit: str, recipe: dict[str, Any], result: RunResult, seconds: float) -> RunFolder:
    folder = RunFolder(store, RunKey("toy", "20260101T000000Z", digit * 12))
    folder.write("recipe.yaml", yaml.safe_dump(recipe).encode())
    write_summary(folder, RunSummary(start=0.0, end=seconds, seconds=seconds, exit_code=0, result=result))
    return folder


@pytest.fixture
def pair(tmp_path) -> tuple[RunFolder, RunFolder]:
    store = open_store(str(tmp_path))
    pool5 = DetectorFigures(None, 0.3, {"car": CategoryAp(None, 0.3)})
    fc7 = {"car": CategoryAp(0.5, 0.52), "cat": CategoryAp(0.25, 0.2)}
    first = RunResult(
        voc07_map=0.375,
        area_map=0.36,
        steps={
            "pool5": pool5,
            "fc7": DetectorFigures(0.375, 0.36, fc7),
        },
        classes=[ClassFigures("top", "net", "full", 7, {"top1_error": Figure(0.35)})],
        stages={"images": stage("images-x", 3, 8.0), "svms": stage("svms-x", 4, 100.0)},
    )
    better = {"car": CategoryAp(0.625, 0.6), "cat": CategoryAp(0.25, 0.2)}
    second = RunResult(
        voc07_map=0.4375,
        area_map=0.4,
        steps={"fc7": DetectorFigures(0.4375, 0.4, better)},
        classes=[ClassFigures("top", "net", "full", 7, {"top1_error": Figure(0.3)})],
        stages={"images": stage("images-x", 3, 8.0), "svms": stage("svms-y", 6, 50.0)},
    )
    recipes = [{"name": "toy", "steps": {"svms": {"c": c}}} for c in (0.001, 0.01)]
    return recorded(store, "a", recipes[0], first, 60.0), recorded(store, "b", recipes[1], second, 30.0)


@pytest.fixture
def compared(pair: tuple[RunFolder, RunFolder]) -> Comparison:
    return compare_runs(*pair)


def test_the_field_that_differs(compared: Comparison) -> None:
    assert compared.recipe == (Difference("steps.svms.c", 0.001, 0.01),)


def test_ap_by_category_with_its_difference(compared: Comparison) -> None:
    fc7 = [row for row in compared.detectors if (row.detector, row.metric) == ("fc7", "voc07")]
    assert fc7 == [
        ComparedAp("fc7", MEAN, "voc07", Pair(0.375, 0.4375)),
        ComparedAp("fc7", "car", "voc07", Pair(0.5, 0.625)),
        ComparedAp("fc7", "cat", "voc07", Pair(0.25, 0.25)),
    ]
    assert [row.ap.difference for row in fc7] == [0.0625, 0.125, 0.0]


def test_a_detector_of_one_run_has_no_difference(compared: Comparison) -> None:
    rows = [row for row in compared.detectors if row.detector == "pool5"]
    assert rows == [
        ComparedAp("pool5", MEAN, "area", Pair(0.3, None)),
        ComparedAp("pool5", "car", "area", Pair(0.3, None)),
    ]
    assert {row.ap.difference for row in rows} == {None}


def test_figures_of_classes_units_and_time(compared: Comparison) -> None:
    assert compared.classes == (ComparedFigure("top", "net", "full", "top1_error", Pair(0.35, 0.3)),)
    assert compared.classes[0].figure.difference == -0.05
    assert compared.steps == (
        ComparedStep("images", True, Pair(3, 3), Pair(8.0, 8.0), Pair(4.0, 4.0)),
        ComparedStep("svms", False, Pair(4, 6), Pair(100.0, 50.0), Pair(50.0, 25.0)),
    )
    assert compared.seconds == Pair(60.0, 30.0)


def test_as_plain_values(compared: Comparison) -> None:
    told = compared.to_json()
    assert told["recipe"] == [{"path": "steps.svms.c", "a": 0.001, "b": 0.01}]
    assert {"detector": "fc7", "category": "car", "metric": "voc07", "ap": Pair(0.5, 0.625).to_json()} in told[
        "detectors"
    ]
    assert told["steps"][1]["units"] == {"a": 4, "b": 6, "difference": 2}
    assert (told["a"], told["b"]) == (f"toy/20260101T000000Z-{'a' * 12}", f"toy/20260101T000000Z-{'b' * 12}")


def test_tables_show_the_ap_that_each_protocol_goes_by(compared: Comparison) -> None:
    console = Console(file=io.StringIO(), width=160)
    for table in tables(compared):
        console.print(table)
    lines = [re.split(r"\s*│\s*", line.strip("│ ")) for line in console.file.getvalue().splitlines() if "│" in line]
    assert lines == [
        ["steps.svms.c", "0.001", "0.01"],
        ["pool5", "mean", "area", "30.0", NONE, NONE],
        ["pool5", "car", "area", "30.0", NONE, NONE],
        ["fc7", "mean", "VOC07", "37.5", "43.8", "+6.2"],
        ["fc7", "car", "VOC07", "50.0", "62.5", "+12.5"],
        ["fc7", "cat", "VOC07", "25.0", "25.0", "+0.0"],
        ["top", "net", "full", "top-1 error", "35.0", "30.0", "-5.0"],
        ["images", "the same", "3", "3", "8.0 s", "8.0 s", "4.0 s", "4.0 s"],
        ["svms", "its own", "4", "6", "1 min 40 s", "50 s", "50 s", "25 s"],
        ["all", "", "", "", "", "", "1 min 00 s", "30 s"],
    ]


def test_a_run_with_itself_differs_in_nothing(pair: tuple[RunFolder, RunFolder]) -> None:
    same = compare_runs(pair[0], pair[0])
    assert same.recipe == ()
    assert {row.ap.difference for row in same.detectors} == {0.0}
    assert all(row.same for row in same.steps)


def test_a_run_that_has_not_ended_can_not_be_compared(pair: tuple[RunFolder, RunFolder]) -> None:
    write_summary(pair[1], RunSummary(start=0.0))
    with pytest.raises(ConfigError, match=r"run toy/20260101T000000Z-b{12} has not come to an end yet"):
        compare_runs(*pair)


def test_by_cocos_protocol_its_ap_is_compared(tmp_path) -> None:
    store = open_store(str(tmp_path))
    runs = []
    for digit, ap in (("a", 0.25), ("b", 0.375)):
        figures = {"AP": ap, "AP50": 0.5}
        steps = {"fc7": DetectorFigures(None, None, {"car": CategoryAp(None, None, figures)}, figures)}
        runs.append(recorded(store, digit, {"name": "toy"}, RunResult(None, None, steps, [], {}, figures), 1.0))
    found = compare_runs(*runs)
    assert [(row.category, row.metric, row.ap) for row in found.detectors] == [
        (MEAN, "coco", Pair(0.25, 0.375)),
        ("car", "coco", Pair(0.25, 0.375)),
    ]
    console = Console(file=io.StringIO(), width=160)
    console.print(tables(found)[0])
    assert re.search(r"car\W+COCO\W+25.0\W+37.5\W+\+12.5", console.file.getvalue())
