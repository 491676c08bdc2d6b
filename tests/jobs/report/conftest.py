"""What several tests of the report read or show."""

from __future__ import annotations

import pytest

from jobs.report.read.classification import ClassEvaluation
from jobs.report.read.detection import read_evaluation
from jobs.report.read.recall import RecallEvaluation
from jobs.report.read.split_objects import Source
from pipelines.artifacts.metrics import UNIT as METRICS
from pipelines.engine.runner import Engine
from pipelines.shards.reading import IngestedImages
from tests.support.measured_detectors import measured
from tests.support.reported import RECALL_IOUS, class_row, recall_row
from tests.support.small_page import make_engine, publish_detections, run_step

__all__ = ["measured"]


@pytest.fixture
def recall_evaluation() -> RecallEvaluation:
    rows = (
        recall_row(
            "ss", 1234.5, (10, (0.3, 0.2, 0.1), 0.15), (2000, (0.9, 0.7, 0.49), 0.4), (None, (0.91, 0.7, 0.5), 0.41)
        ),
        recall_row(
            "<b>eb", 99.94, (10, (0.4, 0.2, 0.1), 0.2), (None, (0.85, 0.7, 0.6), 0.3), method="EdgeBoxes & more"
        ),
        recall_row("none", None, images=3),
    )
    return RecallEvaluation("recall", "val", 4, 3, RECALL_IOUS, rows)


@pytest.fixture
def class_evaluation() -> ClassEvaluation:
    rows = (
        class_row("no SPP", "crop", 0.36, 0.01),
        class_row("SPP", "crop", 0.35, 0.012),
        class_row("SPP", "full", 0.34996, 0.011),
    )
    return ClassEvaluation("errors", "val", "accuracy", "network", "networks", rows)


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    engine = make_engine(tmp_path_factory.mktemp("run"))
    run_step(engine, "images")
    publish_detections(engine)
    run_step(engine, "evaluate")
    return engine  # nothing that reads it changes it


@pytest.fixture
def source(engine: Engine) -> Source:
    """The detections of `pool5+bb`: every cat is found, and in even images the dog is taken for one."""
    step = next(step for step in engine.steps if step.name == "evaluate")
    data = engine.workspace.artifact(step.spec.artifact).read(METRICS)
    evaluation, iou = read_evaluation(data, "evaluate", "metrics")
    detections = engine.workspace.artifact(evaluation.chosen_row.detections)
    images = IngestedImages.of(engine.workspace, step.spec)
    return Source(images, detections, evaluation, iou, 0.3, None, 5, {"dog": "a dog"})
