"""score: SVM scores of every window from the cached maps, non-maximum suppression, box regression."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from pipelines.artifacts.detections import decode_detection_table, encode_detection_table
from pipelines.detecting.checks import require_windows_and_maps
from pipelines.detecting.detector_sources import DetectorSource
from pipelines.detecting.scoring import ShardScorer
from pipelines.detecting.suppression import SuppressionFields
from pipelines.engine.commits import Output
from pipelines.engine.fingerprint import fingerprint
from pipelines.engine.machine import GpuFields
from pipelines.engine.phases import Phase
from pipelines.engine.stage import COVERAGE, Input, StageConfig
from pipelines.engine.workspace import Artifact
from pipelines.shards.stage import PerShardStage

_LEFT_OUT = ("categories", "renamed")
"""Fields that came later: without a value they leave the fingerprint as it was."""


class ScoreConfig(SuppressionFields, GpuFields):
    """Config of `score`. Features, scales and pyramid are those that the SVMs were trained on.

    Attributes:
        images: The step that ingests.
        windows: The step that proposes.
        maps: The step that extracts, or one of R-CNN's crops.
        svms: The step that trained the SVMs; or several, on the same features, whose categories stand side by side.
        regressors: The step that trained box regressors, or several; none by default. [section 4.1]
        categories: Those that are detected, in order, by the names that they were trained under; by default all that
            have an SVM.
        renamed: What categories are called from here on, by the name that they were trained under.
        splits: Splits to score.
    """

    stage: Literal["score"]
    images: Annotated[str, Input(("images",))]
    windows: Annotated[str, Input(("windows",))]
    maps: Annotated[str, Input(("maps", "crops"))]
    svms: Annotated[str | Annotated[tuple[str, ...], Field(min_length=1)], Input(("svms",))]
    regressors: Annotated[str | tuple[str, ...] | None, Input(("regressors",))] = None
    categories: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    renamed: dict[str, Annotated[str, Field(min_length=1)]] = Field(default_factory=dict)
    splits: Annotated[tuple[str, ...], COVERAGE] = ("val",)

    def semantic(self) -> dict[str, Any]:
        """Return what changes the result; all categories are none chosen, their own names none given."""
        return {name: value for name, value in super().semantic().items() if value or name not in _LEFT_OUT}


class Score(PerShardStage[ScoreConfig]):
    """Writes one Parquet file a shard, one row a detection."""

    name: ClassVar[str] = "score"
    makes: ClassVar[str] = "detections"
    config_type: ClassVar[type[StageConfig]] = ScoreConfig
    streamed: ClassVar[frozenset[str]] = frozenset({"images", "windows", "maps"})

    @classmethod
    def check(cls, config: ScoreConfig, inputs: Mapping[str, tuple[StageConfig, ...]]) -> None:
        """Check that windows and maps are of the images, and at the scales that the detector was trained at."""
        detectors: Any = (*inputs["svms"], *inputs["regressors"])
        scales = tuple(scale for detector in detectors for scale in detector.scales)
        require_windows_and_maps(config, scales, config.splits, inputs)

    @cached_property
    def _scorer(self) -> ShardScorer:
        config = self.config
        source = DetectorSource(
            self.input("windows"),
            self.input("maps"),
            self.inputs("svms"),
            self.inputs("regressors"),
            config.categories,
            config.renamed,
        )
        return ShardScorer(self.input("images"), (source,), config.rules())

    def reads(self, unit: str) -> Iterable[tuple[str, str]]:
        """Return the shard's images, windows and maps."""
        return self._scorer.reads(unit)

    def phases(self) -> list[Phase]:
        """Return one phase; a unit is a shard."""
        return [Phase("score", self.shards(self.config.splits), self.config.resources())]

    def run(self, unit: str) -> Output:
        """Score the windows of a shard's images; those that were scored under other names get these."""
        before = self._as_trained
        if before is not None and unit in before.committed():
            return self._called_anew(before, unit)
        return self._scorer.run(unit, self.work)

    @cached_property
    def _as_trained(self) -> Artifact | None:
        """The same detections under the names that the categories were trained under, if these have others."""
        if not self.config.renamed:
            return None
        preimage = self.artifact.preimage()
        config = {name: value for name, value in preimage["config"].items() if name != "renamed"}
        return self.workspace.artifact(f"{self.makes}-{fingerprint({**preimage, 'config': config})}")

    def _called_anew(self, before: Artifact, unit: str) -> Output:
        commit = before.commit(unit)
        table = decode_detection_table(before.read_commit(commit), f"{before.name}/{unit}")
        names = tuple(self.config.renamed.get(name, name) for name in table.categories)
        data = encode_detection_table(replace(table, categories=names))
        return Output(data, ".parquet", commit.rows, commit.done, commit.quarantined, commit.metrics)
