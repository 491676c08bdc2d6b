"""A run's outcome as plain values: for `--json`, for its summary, and for the last lines on a terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter
from rich.table import Table

from jobs import formatting
from jobs.report.read import classification, detection
from jobs.report.read.classification import METRICS, Figure, Metric
from jobs.report.read.detection import DetectorScore, read_evaluation
from pipelines.artifacts import class_metrics
from pipelines.artifacts.metrics import UNIT
from pipelines.engine.ledger import StepSummary
from pipelines.engine.runner import Engine


@dataclass(frozen=True, slots=True)
class CategoryAp:
    """AP of one category, 0..1; None where the protocol has none, or the split no object.

    Attributes:
        voc07_ap: VOC07's 11-point AP.
        area_ap: Area under the curve.
        coco: COCO's twelve figures, by its protocol.
    """

    voc07_ap: float | None
    area_ap: float | None
    coco: dict[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DetectorFigures:
    """Mean AP of one detector, 0..1, and AP by category; None like the categories'."""

    voc07_map: float | None
    area_map: float | None
    categories: dict[str, CategoryAp]
    coco: dict[str, float | None] = field(default_factory=dict)

    @classmethod
    def of(cls, row: DetectorScore) -> DetectorFigures:
        """Take the figures of an evaluation's row."""
        categories = {
            name: CategoryAp(score.voc07_ap, score.area_ap, dict(score.coco)) for name, score in row.categories.items()
        }
        return cls(row.voc07_map, row.area_map, categories, dict(row.coco))


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """Figures of one network (or feature) under one set of views.

    Attributes:
        step: The step that judged it.
        name: Of the network or feature.
        views: Of the set of views.
        images: Images that were judged.
        figures: By the metric's name, such as `top1_error`.
    """

    step: str
    name: str
    views: str
    images: int
    figures: dict[str, Figure]


@dataclass(frozen=True, slots=True)
class StepFigures:
    """What one complete step made, and what that took; see `pipelines.engine.runner.StepSummary`."""

    artifact: str
    units: int
    keys: int
    done: int
    quarantined: int
    bytes: int
    worker_seconds: float
    wall_seconds: float

    @classmethod
    def of(cls, summary: StepSummary) -> StepFigures:
        """Take the figures of a step's account."""
        return cls(
            artifact=summary.artifact,
            units=summary.units,
            keys=summary.keys,
            done=summary.done,
            quarantined=summary.own_quarantined,
            bytes=summary.bytes,
            worker_seconds=summary.seconds,
            wall_seconds=summary.wall_seconds,
        )


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run found out.

    Attributes:
        voc07_map: Mean 11-point AP of the last detector, 0..1; None without one.
        area_map: Its mean area AP, likewise.
        steps: Detectors (the steps of the head) by title, in the recipe's order.
        classes: Rows of every step that judges classes.
        stages: Complete steps by name.
        coco: COCO's twelve figures of the last detector, by its protocol.
        comparisons: Differences of rows with their intervals, as evaluations store them, with the name of their `step`.
    """

    voc07_map: float | None
    area_map: float | None
    steps: dict[str, DetectorFigures]
    classes: list[ClassFigures]
    stages: dict[str, StepFigures]
    coco: dict[str, float | None] = field(default_factory=dict)
    comparisons: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, engine: Engine, summaries: Sequence[StepSummary]) -> RunResult:
        """Read what the complete steps of a run found out.

        Raises:
            ArtifactError: An evaluation is missing or corrupt.
        """
        rows = _detector_rows(engine, summaries)
        steps = dict(zip(_titles(rows), (DetectorFigures.of(row) for _, row in rows), strict=True))
        last = next(reversed(steps.values()), None)
        return cls(
            voc07_map=last.voc07_map if last else None,
            area_map=last.area_map if last else None,
            steps=steps,
            classes=_class_results(engine, summaries),
            stages={summary.step: StepFigures.of(summary) for summary in summaries},
            coco=last.coco if last else {},
            comparisons=_comparisons(engine, summaries),
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        values: dict[str, Any] = TypeAdapter(RunResult).dump_python(self, mode="json")
        return values

    @property
    def headline(self) -> tuple[str, float] | None:
        """Title and value, 0..1, of the figure that tells most: the last detector's mAP, else one of the last row's."""
        if self.voc07_map is not None:
            return "VOC07 mAP", self.voc07_map
        if self.area_map is not None:
            return "area mAP", self.area_map
        coco = self.coco.get("AP")
        if coco is not None:
            return "COCO AP", coco
        for row in reversed(self.classes):
            for name, figure in row.figures.items():
                return METRICS.get(name, Metric(name)).title, figure.mean
        return None


def _detector_rows(engine: Engine, summaries: Sequence[StepSummary]) -> list[tuple[str, DetectorScore]]:
    """Read every evaluate step's rows with its name, in order: one a set of detections and kind of boxes."""
    rows = []
    for summary in summaries:
        if summary.stage == "evaluate":
            data = engine.workspace.artifact(summary.artifact).read(UNIT)
            evaluation, _ = read_evaluation(data, summary.step, f"{summary.artifact}/{UNIT}")
            rows += [(summary.step, row) for row in evaluation.rows]
    return rows


def _titles(rows: Sequence[tuple[str, DetectorScore]]) -> list[str]:
    """Title rows: by their names, after `<step>/` where several evaluate steps have rows of one name."""
    steps: dict[str, set[str]] = {}
    for step, row in rows:
        steps.setdefault(row.name, set()).add(step)
    return [row.name if len(steps[row.name]) == 1 else f"{step}/{row.name}" for step, row in rows]


def _class_results(engine: Engine, summaries: Sequence[StepSummary]) -> list[ClassFigures]:
    """Read rows of every step that judges classes, in the recipe's order: one a network or feature and set of views."""
    rows: list[dict[str, Any]] = []
    for summary in summaries:
        artifact = engine.workspace.artifact(summary.artifact)
        if artifact.kind == classification.KIND:
            found = json.loads(artifact.read(class_metrics.UNIT))["rows"]
            rows.extend({"step": summary.step, **row} for row in found)
    return TypeAdapter(list[ClassFigures]).validate_python(rows)


def _comparisons(engine: Engine, summaries: Sequence[StepSummary]) -> list[dict[str, Any]]:
    """Read the differences that evaluations of detectors and of classes have."""
    found: list[dict[str, Any]] = []
    for summary in summaries:
        artifact = engine.workspace.artifact(summary.artifact)
        if artifact.kind in (detection.KIND, classification.KIND):
            body = json.loads(artifact.read(UNIT))
            found.extend({"step": summary.step, **one} for one in body.get("comparisons", ()))
    return found


def class_results_table(rows: Sequence[ClassFigures]) -> Table:
    """Make a line for each row: what it is, its views, and its figures in percent with their deviation."""
    names = list(dict.fromkeys(name for row in rows for name in row.figures))
    table = Table("step", "row", "views", "images", *(f"{METRICS.get(name, Metric(name)).title}, %" for name in names))
    for row in rows:
        table.add_row(row.step, row.name, row.views, formatting.count(row.images), *_figure_cells(row.figures, names))
    return table


def _figure_cells(figures: Mapping[str, Figure], names: Sequence[str]) -> list[str]:
    found = [figures.get(name) for name in names]
    return [formatting.with_deviation(figure.mean, figure.deviation) if figure else formatting.NONE for figure in found]
