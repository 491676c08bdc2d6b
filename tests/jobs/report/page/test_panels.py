"""The small plots: of a training's figures, of many trainings together, and of proposals' recall."""

from __future__ import annotations

import numpy as np
import pytest

from jobs.report.page.panels import recall_panels, scale_panels, training_groups, training_panels
from jobs.report.read.classification import ClassEvaluation, Figure
from jobs.report.read.recall import RecallEvaluation
from jobs.report.read.training import TrainingCurve
from tests.support.reported import class_row, line_points


def test_panels_of_a_training():
    points = [{"step": s, "loss": 2.0 / s, "lr": 0.1 / s, "grad": float("nan")} for s in range(1, 40)]
    points[20] |= {"kept": 1, "held_out_error": 0.4, "held_out_accuracy": 0.6, "held_out_objects": 0.3}
    panels = training_panels(TrainingCurve("finetune", "model", tuple(points)))
    assert [panel.title for panel in panels] == ["loss", "error", "accuracy on objects", "learning rate"]
    assert [panel.note for panel in panels[1:3]] == ["at the end 0.4", "at the end 0.3"]
    assert ">0.01<" in panels[3].plot  # a logarithmic axis with plain numbers
    both = training_panels(TrainingCurve("t", "model", ({"step": 1, "loss": 2.0, "box_loss": 1.0},)))
    found = [(panel.title, panel.legend, panel.note) for panel in both]
    assert found == [("loss", ("loss", "box loss"), "at the end 2, 1")]
    alone = training_panels(TrainingCurve("t", "model", tuple({"step": s, "held_out_error": 1 / s} for s in (1, 2))))
    assert [panel.title for panel in alone] == ["error"]


def test_many_trainings_of_a_stage_share_panels_and_long_curves_are_thinned():
    def training(number: int, stage: str = "pretrain") -> TrainingCurve:
        points = tuple({"step": s, "loss": number + 1 / s, "lr": 0.1, "held_out_error": 0.5} for s in range(1, 2000))
        return TrainingCurve(f"net-s{number}", "model", points, stage)

    alone = training_groups([training(i) for i in range(4)])
    assert [(group.title, group.steps) for group in alone] == [(f"net-s{i}", ()) for i in range(4)]
    assert [panel.title for panel in alone[0].panels] == ["loss", "error", "learning rate"]
    assert len(alone[0].panels[0].plot) < 20_000
    groups = training_groups([*(training(i) for i in range(14)), training(99, "finetune")])
    assert [(group.title, len(group.steps)) for group in groups] == [("pretrain", 12), ("pretrain", 2), ("net-s99", 0)]
    assert [(panel.title, panel.note) for panel in groups[0].panels] == [
        ("loss", "at the end 0.0005 to 11"),
        ("error", "at the end 0.5"),
        ("learning rate", "at the end 0.1"),
    ]


def test_a_line_per_step_with_all_windows_at_their_mean_number(recall_evaluation: RecallEvaluation):
    by_iou, at_half, at_more = recall_panels(recall_evaluation)
    assert [panel.title for panel in (by_iou, at_half, at_more)] == [
        "recall by IoU",
        "recall at IoU 0.5",
        "recall at IoU 0.7",
    ]
    assert [len(line_points(by_iou.plot, series)) for series in (1, 2, 3)] == [3, 3, 0]
    # 2,000 windows are more than the images have on average: the last point is that of all of them.
    for panel in (at_half, at_more):
        assert [len(line_points(panel.plot, series)) for series in (1, 2, 3)] == [2, 2, 0]
    (first, last), (other, end) = line_points(at_half.plot, 1), line_points(at_half.plot, 2)
    assert first[0] == other[0]  # ten windows
    assert first[1] > other[1] > last[1]  # an SVG's y grows downwards
    distances = [(x - first[0]) / np.log(n / 10) for (x, _), n in ((last, 1234.5), (end, 99.94))]
    assert distances[0] == pytest.approx(distances[1], rel=1e-3)  # a logarithmic axis
    assert ">1,000<" in at_half.plot
    assert ">IoU<" in by_iou.plot


def test_a_panel_over_scales_tells_the_best():
    def row(name: str, scale: int, value: float):
        return class_row(name, f"full-{scale}", 0, figures={"voc07_map": Figure(value)})

    scales = (224, 392, 512)
    rows = [row("one", *point) for point in zip(scales, (0.7, 0.76, 0.74), strict=True)]
    (panel,) = scale_panels(ClassEvaluation("transfer", "val", "AP", "features", "splits", tuple(rows)))
    assert (panel.title, panel.note, panel.legend) == ("mAP, VOC 2007 11-point", "best 76.0 at 392", ())
    points = line_points(panel.plot, 1)
    assert len(points) == 3
    assert min(y for _, y in points) == points[1][1]  # the highest
    assert [f">{scale}<" in panel.plot for scale in scales] == [True] * 3
    rows.append(row("two", 224, 0.5))  # too few scales for a line: whose the line is, is told
    (panel,) = scale_panels(ClassEvaluation("transfer", "val", "AP", "features", "splits", tuple(rows)))
    assert panel.legend == ("one",)
    rows += [row("two", *point) for point in zip(scales, (0.5, 0.6, 0.7), strict=True)]
    (panel,) = scale_panels(ClassEvaluation("transfer", "val", "AP", "features", "splits", tuple(rows)))
    assert panel.legend == ("one", "two")
    errors = tuple(class_row("net", f"full-{scale}", 0.1 * place) for place, scale in enumerate(scales, start=1))
    found = scale_panels(ClassEvaluation("errors", "val", "accuracy", "network", "networks", errors))
    assert [panel.note for panel in found] == ["best 10.0 at 224", "best 2.5 at 224"]
