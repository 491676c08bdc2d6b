"""Collects a run's report from its workspace: whatever is there is shown, whatever is not is said."""

from __future__ import annotations

import difflib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from jobs.report.page.contents import RunInfo, RunReport, StageRow
from jobs.report.page.filters import FilterGallery, make_filter_gallery
from jobs.report.page.gallery import Gallery, Limits, make_gallery
from jobs.report.read import calibrations, classification, detection, recall
from jobs.report.read.analysis import analyse
from jobs.report.read.calibrations import read_meanings
from jobs.report.read.classification import read_class_evaluation
from jobs.report.read.detection import Evaluation, read_evaluation
from jobs.report.read.detectors import DetectorReader
from jobs.report.read.recall import read_recall, windows_method
from jobs.report.read.split_objects import Source
from jobs.report.read.training import TrainingCurve, read_curve
from jobs.report.tables.against import against_table
from jobs.report.tables.score_counts import ScoreCounts, score_counts
from jobs.report.tables.weaknesses import WeaknessTable, weakness_table
from jobs.run.compare import Comparison
from jobs.run.left_out import left_out
from pipelines.artifacts.activations import UNIT as ACTIVATIONS
from pipelines.artifacts.calibrations import UNIT as CALIBRATION
from pipelines.artifacts.class_metrics import UNIT as CLASSES
from pipelines.artifacts.manifest import Manifest
from pipelines.artifacts.metrics import UNIT as METRICS
from pipelines.artifacts.networks import UNIT as MODEL
from pipelines.artifacts.recall import UNIT as RECALL
from pipelines.engine.commits import Commit, library_versions
from pipelines.engine.planning import PlannedStep
from pipelines.engine.runner import Engine
from pipelines.shards.reading import IngestedImages
from pipelines.stages.activations import ActivationsConfig
from pipelines.training.config import TrainingConfig
from sppnet.errors import ArtifactError, ConfigError, DataError
from sppnet.networks.weights import read_metadata

logger = logging.getLogger(__name__)

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


def collect(
    engine: Engine, limits: Limits | None = None, detector: str | None = None, against: Comparison | None = None
) -> RunReport:
    """Read all that the report shows; a run that is not complete, or has lost data, gives a report that says so.

    Args:
        engine: The run's engine.
        limits: How much of the split to look at and draw.
        detector: Name of the detector to look at most closely, `<step>/<name>` where several evaluations have it; by
            default the best of the last evaluation.
        against: Another run, as `a`, beside this one.

    Raises:
        ConfigError: No detector has the name that is asked for.
    """
    notes: list[str] = []
    evaluated = _with_detector(_evaluations(engine, notes), detector)
    looked = _look_closely(engine, evaluated[-1], limits or Limits(), notes) if evaluated else _Looked()
    classes = _results(engine, classification.KIND, CLASSES, notes, read_class_evaluation)
    methods = {step.spec.artifact: windows_method(step.preimage) for step in engine.steps}
    recalls = _results(
        engine, recall.KIND, RECALL, notes, lambda data, step, where: read_recall(data, step, methods, where)
    )
    words = {step.name: _words(engine, step) for step in engine.steps if step.config.stage == "calibrate"}
    meanings = _results(
        engine,
        calibrations.KIND,
        CALIBRATION,
        notes,
        lambda data, step, where: read_meanings(data, step, words[step], where),
    )
    commits = [entry.commit for entry in evaluated]
    commits += [result.commit for result in classes]
    commits += [result.commit for result in recalls]
    return RunReport(
        info=_info(engine, commits),
        evaluations=tuple(entry.evaluation for entry in evaluated),
        gallery=looked.gallery,
        weaknesses=looked.weaknesses,
        counts=looked.counts,
        against=against_table(against, evaluated[-1].evaluation) if against and evaluated else None,
        classes=tuple(result.value for result in classes),
        calibrations=tuple(result.value for result in meanings),
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
        left_out={step: part.describe() for step, part in left_out(engine).items()},
        notes=tuple(notes),
    )


def _info(engine: Engine, commits: Sequence[Commit]) -> RunInfo:
    last = max(commits, key=lambda commit: commit.created, default=None)
    return RunInfo(
        name=engine.recipe.name,
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
    """Read what all steps that make artifacts of one kind found out; `read` takes bytes, the step's name, and where."""
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
    """Read what the evaluate steps found out, with an account of their detectors."""
    detectors = DetectorReader(engine, notes)
    found = []
    for result in _results(engine, detection.KIND, METRICS, notes, read_evaluation):
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


def _words(engine: Engine, step: PlannedStep) -> Mapping[str, str]:
    """Return what people call the categories of the images that a step evaluates; nothing where that can't be read."""
    try:
        return Manifest.read(engine.workspace.store, step.spec.manifest).words() if step.spec.manifest else {}
    except ArtifactError:
        return {}


def _with_detector(evaluated: list[_Evaluated], wanted: str | None) -> list[_Evaluated]:
    """Choose the detector that is looked at most closely; its evaluation comes last."""
    if wanted is None:
        return [entry for entry in evaluated if not entry.evaluation.rows] + [
            entry for entry in evaluated if entry.evaluation.rows
        ]
    names = []
    for entry in reversed(evaluated):
        for place, row in enumerate(entry.evaluation.rows):
            names.append(row.name)
            if wanted in (row.name, f"{entry.evaluation.step}/{row.name}"):
                chosen = replace(entry, evaluation=replace(entry.evaluation, chosen=place))
                return [other for other in evaluated if other is not entry] + [chosen]
    near = difflib.get_close_matches(wanted, names, n=1)
    known = f"did you mean {near[0]}?" if near else f"there are: {', '.join(names) or 'none'}"
    raise ConfigError(f"detector {wanted}: no evaluation of this run has one of that name; {known}")


@dataclass(frozen=True, slots=True)
class _Looked:
    gallery: Gallery | None = None
    weaknesses: WeaknessTable | None = None
    counts: ScoreCounts | None = None


def _look_closely(engine: Engine, last: _Evaluated, limits: Limits, notes: list[str]) -> _Looked:
    """Judge and draw the detections of the chosen detector."""
    if not last.step.spec.manifest or not last.evaluation.rows:
        return _Looked()
    try:
        source = Source(
            images=IngestedImages.of(engine.workspace, last.step.spec),
            detections=engine.workspace.artifact(last.evaluation.chosen_row.detections),
            evaluation=last.evaluation,
            iou=last.iou,
            nms_iou=getattr(last.step.config, "nms_iou", 0.3),
            top_per_set=getattr(last.step.config, "top_per_set", None),
            seed=engine.recipe.seed,
            words=_words(engine, last.step),
        )
        analysis = analyse(source, limits.shards)
    except (ArtifactError, DataError, ConfigError) as error:
        notes.append(f"Detections can't be looked at: {error}")
        return _Looked()
    looked = _Looked(None, weakness_table(analysis), score_counts(analysis))
    try:
        return replace(looked, gallery=make_gallery(analysis, limits))
    except (ArtifactError, DataError) as error:
        notes.append(f"Detections can't be drawn: {error}")
        return looked


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


def _trainings(engine: Engine, notes: list[str]) -> Iterator[TrainingCurve]:
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
        yield TrainingCurve(step.name, MODEL, points, step.config.stage)
