"""Collects a run's report from its workspace: whatever is there is shown, whatever is not is said."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.report.class_model import ClassEvaluation
from jobs.report.class_reader import read_class_evaluation
from jobs.report.filters import make_filter_gallery
from jobs.report.gallery import Limits, Source, make_gallery
from jobs.report.model import (
    CategoryScore,
    DetectorScore,
    Evaluation,
    FilterGallery,
    Gallery,
    RunInfo,
    RunReport,
    StageRow,
    Training,
)
from jobs.report.page import render
from pipelines.class_metrics import UNIT as CLASS_UNIT
from pipelines.engine import Engine, PlannedStep
from pipelines.networks import UNIT as MODEL
from pipelines.stages.activations import UNIT as ACTIVATIONS
from pipelines.stages.activations import ActivationsConfig
from pipelines.training import TrainingConfig
from pipelines.workspace import Commit, library_versions
from sppnet.errors import ArtifactError, ConfigError, DataError
from sppnet.weights import read_metadata

logger = logging.getLogger(__name__)

METRICS = "metrics"
"""Kind of artifact, and its unit, that evaluate steps make."""
CLASS_METRICS = "class-metrics"
"""Kind of artifact that steps which judge classes make."""


@dataclass(frozen=True, slots=True)
class _Evaluated:
    step: PlannedStep
    commit: Commit
    evaluation: Evaluation
    iou: float


@dataclass(frozen=True, slots=True)
class _Judged:
    commit: Commit
    evaluation: ClassEvaluation


def write_report(engine: Engine, limits: Limits | None = None) -> str:
    """Writes the run's page to `runs/<name>/report.html` of its workspace, over an earlier one.

    Returns:
        Where it is.
    """
    name = f"runs/{engine.recipe.name}/report.html"
    page = render(collect(engine, limits=limits)).encode("utf-8")
    engine.workspace.store.put(name, page)
    logger.info("report written name=%s bytes=%d", name, len(page))
    return f"{engine.workspace.store.uri}/{name}"


def collect(engine: Engine, run_name: str | None = None, *, limits: Limits | None = None) -> RunReport:
    """Reads all that the report shows. A run that is not complete, or has lost data, gives a report that says so.

    Args:
        engine: The run's engine.
        run_name: Name on the page; the recipe's by default.
        limits: How much of the split to look at and draw.
    """
    notes: list[str] = []
    evaluated = list(_evaluations(engine, notes))
    judged = list(_class_evaluations(engine, notes))
    return RunReport(
        info=_info(
            engine, run_name or engine.recipe.name, [*(e.commit for e in evaluated), *(j.commit for j in judged)]
        ),
        evaluations=tuple(entry.evaluation for entry in evaluated),
        gallery=_gallery(engine, evaluated[-1], limits, notes) if evaluated else None,
        classes=tuple(entry.evaluation for entry in judged),
        filters=tuple(_filter_galleries(engine, notes)),
        training=tuple(_trainings(engine, notes)),
        stages=tuple(
            StageRow(
                step=status.step.name,
                stage=status.step.config.stage,
                artifact=status.step.spec.artifact,
                committed=status.committed,
                total=status.total,
                summary=status.summary,
            )
            for status in engine.status()
        ),
        recipe_yaml=engine.recipe.to_yaml(),
        notes=tuple(notes),
    )


def _info(engine: Engine, run_name: str, commits: Sequence[Commit]) -> RunInfo:
    last = max(commits, key=lambda commit: commit.created, default=None)
    return RunInfo(
        name=run_name,
        recipe=engine.recipe.source,
        workspace=engine.workspace.store.uri,
        made=time.time(),
        finished=last.created if last else None,
        hosts=tuple(dict.fromkeys(commit.host for commit in commits)),
        versions=last.versions if last else library_versions(),
    )


def _evaluations(engine: Engine, notes: list[str]) -> Iterator[_Evaluated]:
    for step in engine.steps:
        artifact = engine.workspace.artifact(step.spec.artifact)
        if artifact.kind != METRICS or METRICS not in artifact.committed():
            continue
        try:
            commit = artifact.commit(METRICS)
            evaluation, iou = read_evaluation(artifact.read_commit(commit), step.name, f"{artifact.name}/{METRICS}")
        except ArtifactError as error:
            notes.append(f"Step {step.name} can't be shown: {error}")
            continue
        yield _Evaluated(step, commit, evaluation, iou)


def _class_evaluations(engine: Engine, notes: list[str]) -> Iterator[_Judged]:
    for step in engine.steps:
        artifact = engine.workspace.artifact(step.spec.artifact)
        if artifact.kind != CLASS_METRICS or CLASS_UNIT not in artifact.committed():
            continue
        try:
            commit = artifact.commit(CLASS_UNIT)
            data = artifact.read_commit(commit)
            yield _Judged(commit, read_class_evaluation(data, step.name, f"{artifact.name}/{CLASS_UNIT}"))
        except ArtifactError as error:
            notes.append(f"Step {step.name} can't be shown: {error}")


def read_evaluation(data: bytes, step: str, where: str) -> tuple[Evaluation, float]:
    """Reads what an evaluate step wrote, and the overlap from which a detection was right.

    Raises:
        ArtifactError: The bytes are something else; the message names `where`.
    """
    try:
        body = json.loads(data)
        rows = tuple(_detector_score(row) for row in body["rows"])
        return Evaluation(step, str(body["split"]), rows), float(body.get("iou", 0.5))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{where}: not an evaluation ({type(error).__name__}: {error})") from error


def _detector_score(row: Mapping[str, Any]) -> DetectorScore:
    return DetectorScore(
        name=str(row["name"]),
        detections=str(row["detections"]),
        regressed=row["boxes"] == "regressed",
        voc07_map=_number(row["voc07_map"]),
        area_map=_number(row["area_map"]),
        categories={str(name): _category_score(score) for name, score in row["categories"].items()},
    )


def _category_score(score: Mapping[str, Any]) -> CategoryScore:
    return CategoryScore(
        voc07_ap=_number(score["voc07_ap"]),
        area_ap=_number(score["area_ap"]),
        positives=int(score["positives"]),
        detections=int(score["detections"]),
        true_positives=int(score["true_positives"]),
        operating_score=_number(score["operating_score"]),
        recall=tuple(map(float, score["recall"])),
        precision=tuple(map(float, score["precision"])),
    )


def _number(value: Any) -> float | None:
    """A finite number, or None for null and NaN."""
    number = None if value is None else float(value)
    return number if number is not None and math.isfinite(number) else None


def _gallery(engine: Engine, last: _Evaluated, limits: Limits | None, notes: list[str]) -> Gallery | None:
    images = dict(last.step.spec.inputs).get("images")
    if not images or not last.evaluation.rows:
        return None
    source = Source(
        images=engine.workspace.artifact(images[0]),
        detections=engine.workspace.artifact(last.evaluation.rows[-1].detections),
        evaluation=last.evaluation,
        iou=last.iou,
        nms_iou=getattr(last.step.config, "nms_iou", 0.3),
        seed=engine.recipe.seed,
    )
    try:
        return make_gallery(source, limits)
    except (ArtifactError, DataError) as error:
        notes.append(f"Detections can't be drawn: {error}")
        return None


def _filter_galleries(engine: Engine, notes: list[str]) -> Iterator[FilterGallery]:
    for step in engine.steps:
        artifact = engine.workspace.artifact(step.spec.artifact)
        if not isinstance(step.config, ActivationsConfig) or ACTIVATIONS not in artifact.committed():
            continue
        images = engine.workspace.artifact(dict(step.spec.inputs)["images"][0])
        try:
            yield make_filter_gallery(step.name, step.config.splits, artifact, images)
        except (ArtifactError, DataError) as error:
            notes.append(f"The filters of step {step.name} can't be drawn: {error}")


def _trainings(engine: Engine, notes: list[str]) -> Iterator[Training]:
    for step in engine.steps:
        artifact = engine.workspace.artifact(step.spec.artifact)
        if not isinstance(step.config, TrainingConfig) or MODEL not in artifact.committed():
            continue
        where = f"{artifact.name}/{MODEL}"
        try:
            points = read_curve(read_metadata(artifact.read(MODEL), where), where)
        except (ArtifactError, ConfigError) as error:
            notes.append(f"The training curves of step {step.name} can't be shown: {error}")
            continue
        yield Training(step.name, MODEL, points, step.config.stage)


def read_curve(metadata: Mapping[str, str], where: str) -> tuple[Mapping[str, float], ...]:
    """Reads the numbers of a model's `curve`; none if it has no such entry.

    Raises:
        ArtifactError: The entry is no list of mappings.
    """
    try:
        points = json.loads(metadata.get("curve", "[]"))
        return tuple(
            {name: float(value) for name, value in point.items() if type(value) in (int, float)} for point in points
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{where}: its curve is not a list of mappings ({error})") from error
