"""Tells how the detectors of a run are made, from its recipe, and what they cost an image, from commits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.report.read.detection import DetectorAccount, DetectorScore
from pipelines.artifacts.manifest import Manifest
from pipelines.detecting.svm_config import TrainSvmsConfig
from pipelines.engine.planning import PlannedStep
from pipelines.engine.runner import Engine
from pipelines.finetuning.config import FinetuneConfig
from pipelines.shards.reading import map_unit
from pipelines.stages.combine import CombineConfig
from pipelines.stages.crops import CropsConfig
from pipelines.stages.score import ScoreConfig
from sppnet.errors import ArtifactError, ConfigError


@dataclass(frozen=True, slots=True)
class _Part:
    """One detector: the step that scores with it and the steps behind that.

    Attributes:
        score: Config of the step that scores.
        svms: Config of its SVMs.
        maps: The step of its maps, or of its crops.
        scales: Scales that it reads.
    """

    score: ScoreConfig
    svms: TrainSvmsConfig
    maps: PlannedStep
    scales: tuple[int, ...]

    @property
    def of_crops(self) -> bool:
        return isinstance(self.maps.config, CropsConfig)


class DetectorReader:
    """Reads each detector's account; what detectors share is read once.

    Args:
        engine: The run's engine.
        notes: Gets a line for whatever can't be told.
    """

    def __init__(self, engine: Engine, notes: list[str]) -> None:
        self._workspace = engine.workspace
        self._steps = {step.name: step for step in engine.steps}
        self._notes = notes
        self._seconds: dict[tuple[str, tuple[str, ...], str | None], float | None] = {}
        self._committed: dict[str, set[str]] = {}

    def account(self, row: DetectorScore, split: str) -> DetectorAccount | None:
        """Tell how the detector of a row is made; None if no step of the recipe made its detections.

        Args:
            row: A row of an evaluation.
            split: The split that was scored: times are those of its shards.
        """
        step = self._steps.get(row.name.removesuffix("+bb") if row.regressed else row.name)
        if step is None or step.spec.artifact != row.detections:
            return None
        parts = list(self._parts(step, regressed=row.regressed))
        shards = self._shards(step, split)
        convolution, scoring = self._convolution(parts, shards), self._mean_seconds(row.detections, shards)
        if any(part.maps.spec.artifact in step.spec.made for part in parts):  # convolved while it scored
            convolution = self._mean_seconds(row.detections, shards, "maps_seconds")
            scoring = None if scoring is None or convolution is None else scoring - convolution
        return DetectorAccount(
            features=_distinct(self._features(part.svms) for part in parts),
            scales=tuple(sorted({scale for part in parts for scale in part.scales})),
            windows=_distinct(part.score.windows for part in parts),
            backbones=_distinct(_config(part.maps).backbone for part in parts),
            sources=_distinct("crops" if part.of_crops else "maps" for part in parts),
            convolution=convolution,
            scoring=scoring,
            pooling=self._mean_seconds(row.detections, shards, "features_seconds"),
            svm=self._mean_seconds(row.detections, shards, "svm_seconds"),
            regresses=any(part.score.regressors is not None for part in parts),
        )

    def _shards(self, step: PlannedStep, split: str) -> tuple[str, ...]:
        """Return the units of a split's shards; none where that can't be told."""
        try:
            return Manifest.read(self._workspace.store, step.spec.manifest).units(split)
        except (ArtifactError, ConfigError) as error:
            self._notes.append(f"The shards of {split} can't be told: {error}")
            return ()

    def _parts(self, step: PlannedStep, *, regressed: bool) -> Iterator[_Part]:
        """Find the detectors of a step that scores, or of all those that a step combines."""
        config = step.config
        if isinstance(config, CombineConfig):
            for name in config.detections:
                yield from self._parts(self._steps[name], regressed=regressed)
            return
        score = _config(step)
        trained = score.references()
        svms = _config(self._steps[trained["svms"][0]])
        scales = set(svms.scales)
        for name in trained["regressors"] if regressed else ():
            scales |= set(_config(self._steps[name]).scales)
        yield _Part(score, svms, self._steps[score.maps], tuple(sorted(scales)))

    def _features(self, svms: TrainSvmsConfig) -> str:
        if svms.head is None:
            return svms.features
        tuned = isinstance(self._steps[svms.head].config, FinetuneConfig)
        return f"{svms.features}, {'fine-tuned' if tuned else 'as pre-trained'}"

    def _convolution(self, parts: Sequence[_Part], shards: tuple[str, ...]) -> float | None:
        """Sum seconds an image of all distinct maps that detectors read; None if some are not known, or none read."""
        read = {(part.maps.spec.artifact, scale) for part in parts if not part.of_crops for scale in part.scales}
        found = [
            self._mean_seconds(artifact, tuple(map_unit(scale, shard) for shard in shards))
            for artifact, scale in sorted(read)
        ]
        known = [seconds for seconds in found if seconds is not None]
        return sum(known) if known and len(known) == len(found) else None

    def _mean_seconds(self, artifact: str, units: tuple[str, ...], part: str | None = None) -> float | None:
        """Take worker seconds an image of some units of an artifact, or of a part that their figures tell.

        None without any unit, or where one does not tell that part.
        """
        key = (artifact, units, part)
        if key not in self._seconds:
            try:
                self._seconds[key] = self._measured(*key)
            except ArtifactError as error:
                self._notes.append(f"What {artifact} took can't be told: {error}")
                self._seconds[key] = None
        return self._seconds[key]

    def _measured(self, artifact: str, units: tuple[str, ...], part: str | None) -> float | None:
        found = self._workspace.artifact(artifact)
        if artifact not in self._committed:
            self._committed[artifact] = found.committed()
        commits = found.commits([unit for unit in units if unit in self._committed[artifact]])
        images = sum(commit.done for commit in commits)
        if not images or (part is not None and any(part not in commit.metrics for commit in commits)):
            return None
        return sum(commit.seconds if part is None else float(commit.metrics[part]) for commit in commits) / images


def _config(step: PlannedStep) -> Any:
    """Return a step's config, of the type that the recipe's own checks have made sure of."""
    return step.config


def _distinct(values: Iterator[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))
