"""combine: the detections of several detectors together, each image's scored windows united before suppression.

Section 4.4: the models' scores are compared as they are, and a window is regressed by the model that it comes from.
The windows are scored anew from the cached maps, since a step that scores keeps only what its own suppression left.
A step with `splits: []` scores nothing of its own and can be combined all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

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
        splits: Splits to score.
    """

    stage: Literal["combine"]
    images: Annotated[str, Input(("images",))]
    detections: Annotated[tuple[str, ...], Input(("detections",)), Field(min_length=1)]
    splits: Annotated[tuple[str, ...], COVERAGE] = ("val",)


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
        sources = [
            source
            for detections in self.inputs("detections")
            for source in DetectorSource.of_detections(detections, self.spec.made)
        ]
        return ShardScorer(self.input("images"), sources, self.config.rules())

    def prepare(self) -> None:
        """Check that all detectors detect the same categories."""
        first: frozenset[str] | None = None
        for step, detections in zip(self.config.detections, self.inputs("detections"), strict=True):
            for source in DetectorSource.of_detections(detections):
                own = frozenset(source.info.categories)
                if first is None:
                    first = own
                elif own != first:
                    named = "; ".join(
                        f"only '{name}' has {', '.join(sorted(more))}"
                        for name, more in ((self.config.detections[0], first - own), (step, own - first))
                        if more
                    )
                    raise ConfigError(
                        f"step {self.spec.step}: detections: '{self.config.detections[0]}' and '{step}' "
                        f"detect different categories: {named}"
                    )

    def reads(self, unit: str) -> Iterable[tuple[str, str]]:
        """Return the shard's images, and its windows and maps for every detector; their own detections are not read."""
        return self._scorer.reads(unit)

    def phases(self) -> list[Phase]:
        """Return one phase; a unit is a shard."""
        return [Phase("combine", self.shards(self.config.splits), self.config.resources())]

    def run(self, unit: str) -> Output:
        """Score the windows of a shard's images with every detector."""
        return self._scorer.run(unit, self.work)
