"""combine: the detections of several detectors together, each image's scored windows united before suppression.

Section 4.4: the models' scores are compared as they are, and a window is regressed by the model that it comes from.
Where their SVMs differ so much that scores mean different things, `calibrations` compare log-odds instead.
The windows are scored anew from the cached maps, since a step that scores keeps only what its own suppression left.
A step with `splits: []` scores nothing of its own and can be combined all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from pipelines.artifacts.calibrations import Calibration
from pipelines.detecting.detector_sources import DetectorSource
from pipelines.detecting.scoring import ShardScorer
from pipelines.detecting.suppression import SuppressionFields
from pipelines.engine.commits import Output
from pipelines.engine.machine import GpuFields
from pipelines.engine.phases import Phase
from pipelines.engine.stage import COVERAGE, Input, StageConfig, require_subset
from pipelines.shards.stage import PerShardStage, require_same_images
from sppnet.errors import ConfigError


class CombineConfig(SuppressionFields, GpuFields):
    """Config of `combine`.

    Attributes:
        images: The step that ingests.
        detections: The steps that score, each with a detector of its own; a step that combines stands for all of its.
            [section 4.4]
        calibrations: The steps that calibrate, one for each detector, in any order: then log-odds are compared, and are
            the scores of the result; `threshold` stays one on the SVMs' own scores. By default these are compared, the
            paper's way.
        splits: Splits to score.
    """

    stage: Literal["combine"]
    images: Annotated[str, Input(("images",))]
    detections: Annotated[tuple[str, ...], Input(("detections",)), Field(min_length=1)]
    calibrations: Annotated[tuple[str, ...], Input(("calibration",))] = ()
    splits: Annotated[tuple[str, ...], COVERAGE] = ("val",)

    def references(self) -> dict[str, tuple[str, ...]]:
        """Return what the fields refer to; no calibrations are none given, so that fingerprints are as they were."""
        return {name: steps for name, steps in super().references().items() if steps or name != "calibrations"}


class Combine(PerShardStage[CombineConfig]):
    """Writes one Parquet file a shard, one row a detection, like `score`."""

    name: ClassVar[str] = "combine"
    makes: ClassVar[str] = "detections"
    config_type: ClassVar[type[StageConfig]] = CombineConfig
    streamed: ClassVar[frozenset[str]] = frozenset({"images", "detections"})

    @classmethod
    def check(cls, config: CombineConfig, inputs: Mapping[str, tuple[StageConfig, ...]]) -> None:
        """Check that the detections are of the same images and splits."""
        require_same_images(config, inputs, "detections")
        members: Any = inputs["detections"]
        for step, scored in zip(config.detections, members, strict=True):
            if scored.splits:
                require_subset(config.splits, scored.splits, f"detections: '{step}'", "split")

    @cached_property
    def _scorer(self) -> ShardScorer:
        sources = [source for _, source in self._sources()]
        return ShardScorer(self.input("images"), sources, self.config.rules())

    def _sources(self) -> list[tuple[str, DetectorSource]]:
        """Return the detectors, each with the step that it comes from."""
        fitted = self.inputs("calibrations")
        return [
            (step, source.calibrated(fitted))
            for step, detections in zip(self.config.detections, self.inputs("detections"), strict=True)
            for source in DetectorSource.of_detections(detections, self.spec.made)
        ]

    def prepare(self) -> None:
        """Check that all detectors detect the same categories, and that all are calibrated or none is."""
        sources = self._sources()
        self._check_categories(sources)
        self._check_calibrations(sources)

    def _check_categories(self, sources: Sequence[tuple[str, DetectorSource]]) -> None:
        (first_step, one), *others = sources
        first = frozenset(one.info.categories)
        for step, source in others:
            own = frozenset(source.info.categories)
            if own != first:
                named = "; ".join(
                    f"only '{name}' has {', '.join(sorted(more))}"
                    for name, more in ((first_step, first - own), (step, own - first))
                    if more
                )
                where = f"step {self.spec.step}: detections: '{first_step}' and '{step}'"
                raise ConfigError(f"{where} detect different categories: {named}")

    def _check_calibrations(self, sources: Sequence[tuple[str, DetectorSource]]) -> None:
        where = f"step {self.spec.step}: calibrations"
        left_out = [step for step, source in sources if source.calibration is None]
        if left_out and len(left_out) < len(sources):
            raise ConfigError(
                f"{where}: none was fitted to the detector of '{left_out[0]}', and log-odds can't be compared with "
                "scores; name one step of calibrate for each detector"
            )
        known = {source.parts: step for step, source in sources}
        fitted: dict[tuple[str, ...], str] = {}
        for step, artifact in zip(self.config.calibrations, self.inputs("calibrations"), strict=True):
            detector = Calibration.read(artifact).detector
            if detector not in known:
                raise ConfigError(
                    f"{where}: '{step}' was fitted to another detector ({', '.join(detector)}) than those of "
                    f"{', '.join(self.config.detections)}"
                )
            if detector in fitted:
                both = f"'{fitted[detector]}' and '{step}'"
                raise ConfigError(f"{where}: {both} were both fitted to the detector of '{known[detector]}'; name one")
            fitted[detector] = step

    def reads(self, unit: str) -> Iterable[tuple[str, str]]:
        """Return the shard's images, and its windows and maps for every detector; their own detections are not read."""
        return self._scorer.reads(unit)

    def phases(self) -> list[Phase]:
        """Return one phase; a unit is a shard."""
        return [Phase("combine", self.shards(self.config.splits), self.config.resources())]

    def run(self, unit: str) -> Output:
        """Score the windows of a shard's images with every detector."""
        return self._scorer.run(unit, self.work)
