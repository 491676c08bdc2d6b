"""Collects a run's report from its workspace: whatever is there is shown, whatever is not is said."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from jobs.report.page.filters import make_filter_gallery
from jobs.report.page.gallery import Limits, Source, make_gallery
from jobs.report.page.render import render
from jobs.report.read.class_reader import read_class_evaluation
from jobs.report.read.detector_reader import DetectorReader
from jobs.report.read.evaluation_model import CategoryScore, DetectorScore, Evaluation
from jobs.report.read.model import FilterGallery, Gallery, RunInfo, RunReport, StageRow, Training
from jobs.report.read.recall_reader import read_recall, windows_method
from jobs.report.read.values import finite_or_none
from pipelines.artifacts.activations import UNIT as ACTIVATIONS
from pipelines.artifacts.class_metrics import UNIT as CLASS_UNIT
from pipelines.artifacts.manifest import Manifest
from pipelines.artifacts.networks import UNIT as MODEL
from pipelines.artifacts.recall import UNIT as RECALL
from pipelines.engine.runner import Engine, PlannedStep
from pipelines.engine.workspace import Commit, library_versions
from pipelines.stages.activations import ActivationsConfig
from pipelines.training.config import TrainingConfig
from sppnet.errors import ArtifactError, ConfigError, DataError
from sppnet.networks.weights import read_metadata

logger = logging.getLogger(__name__)

METRICS = "metrics"
"""Kind of artifact, and its unit, that evaluate steps make."""
CLASS_METRICS = "class-metrics"
"""Kind of artifact that steps which judge classes make."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Result(Generic[T]):
    step: PlannedStep
    commit: Commit
    value: T


@dataclass(frozen=True, slots=True)
class _Evaluated:
    step: PlannedStep
    commit: Commit
    evaluation: Evaluation
    iou: float


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
    evaluated = _evaluations(engine, notes)
    classes = _results(engine, CLASS_METRICS, CLASS_UNIT, notes, read_class_evaluation)
    methods = {step.spec.artifact: windows_method(step.preimage) for step in engine.steps}
    recalls = _results(engine, RECALL, RECALL, notes, lambda data, step, where: read_recall(data, step, methods, where))
    commits = [entry.commit for entry in evaluated]
    commits += [result.commit for result in classes]
    commits += [result.commit for result in recalls]
    return RunReport(
        info=_info(engine, run_name or engine.recipe.name, commits),
        evaluations=tuple(entry.evaluation for entry in evaluated),
        gallery=_gallery(engine, evaluated[-1], limits, notes) if evaluated else None,
        classes=tuple(result.value for result in classes),
        proposals=tuple(result.value for result in recalls),
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


def _results(
    engine: Engine, kind: str, unit: str, notes: list[str], read: Callable[[bytes, str, str], T]
) -> list[_Result[T]]:
    """What all steps that make artifacts of one kind found out; `read` takes the bytes, the step's name, and where."""
    found = []
    for step in engine.steps:
        artifact = engine.workspace.artifact(step.spec.artifact)
        if artifact.kind != kind or unit not in artifact.committed():
            continue
        try:
            commit = artifact.commit(unit)
            value = read(artifact.read_commit(commit), step.name, f"{artifact.name}/{unit}")
        except ArtifactError as error:
            notes.append(f"Step {step.name} can't be shown: {error}")
            continue
        found.append(_Result(step, commit, value))
    return found


def _evaluations(engine: Engine, notes: list[str]) -> list[_Evaluated]:
    """What the evaluate steps found out, with an account of their detectors."""
    detectors = DetectorReader(engine, notes)
    found = []
    for result in _results(engine, METRICS, METRICS, notes, read_evaluation):
        evaluation, iou = result.value
        words = _words(engine, result.step)
        rows = tuple(
            replace(
                row,
                account=detectors.account(row, evaluation.split),
                categories={words.get(code, code): score for code, score in row.categories.items()},
            )
            for row in evaluation.rows
        )
        found.append(_Evaluated(result.step, result.commit, replace(evaluation, rows=rows), iou))
    return found


def read_evaluation(data: bytes, step: str, where: str) -> tuple[Evaluation, float]:
    """Reads what an evaluate step wrote, and the overlap from which a detection was right.

    Raises:
        ArtifactError: The bytes are something else; the message names `where`.
    """
    try:
        body = json.loads(data)
        rows = tuple(_detector_score(row) for row in body["rows"])
        return Evaluation(step, str(body["split"]), rows, str(body.get("protocol", "voc"))), float(body.get("iou", 0.5))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{where}: not an evaluation ({type(error).__name__}: {error})") from error


def _detector_score(row: Mapping[str, Any]) -> DetectorScore:
    return DetectorScore(
        name=str(row["name"]),
        detections=str(row["detections"]),
        regressed=row["boxes"] == "regressed",
        voc07_map=finite_or_none(row["voc07_map"]),
        area_map=finite_or_none(row["area_map"]),
        categories={str(name): _category_score(score) for name, score in row["categories"].items()},
    )


def _category_score(score: Mapping[str, Any]) -> CategoryScore:
    return CategoryScore(
        voc07_ap=finite_or_none(score["voc07_ap"]),
        area_ap=finite_or_none(score["area_ap"]),
        positives=int(score["positives"]),
        detections=int(score["detections"]),
        true_positives=int(score["true_positives"]),
        operating_score=finite_or_none(score["operating_score"]),
        recall=tuple(map(float, score["recall"])),
        precision=tuple(map(float, score["precision"])),
    )


def _words(engine: Engine, step: PlannedStep) -> Mapping[str, str]:
    """What people call the categories of the images that a step evaluates; nothing where that can't be read."""
    images = dict(step.spec.inputs).get("images")
    try:
        return Manifest.read(engine.workspace.artifact(images[0])).words() if images else {}
    except ArtifactError:
        return {}


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
        words=_words(engine, last.step),
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
