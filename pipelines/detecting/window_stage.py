"""What train-svms and train-regressors share: where their windows come from, and how a shard's are gathered."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, ClassVar, TypeVar

from pydantic import Field

from pipelines.artifacts.detectors import FeatureInfo
from pipelines.detecting.category_objects import check_shown
from pipelines.detecting.checks import require_windows_and_maps
from pipelines.detecting.training_shards import TrainingShards
from pipelines.engine.machine import GpuFields
from pipelines.engine.phases import Resources
from pipelines.engine.stage import Input, StageConfig, StageSpec
from pipelines.engine.store import Store
from pipelines.shards.categories import CategoriesField, check_categories, fill_in
from pipelines.shards.stage import ShardStage
from sppnet.detection.features import WindowFeatures
from sppnet.pooling.geometry import Convention


class WindowTrainingConfig(GpuFields):
    """What the stages that train on windows of cached maps, a category at a time, have in common.

    Attributes:
        images: The step that ingests.
        windows: The step that proposes.
        maps: The step that extracts, or one of R-CNN's crops.
        split: Split to train on.
        categories: Categories to train: a list, the name of a group of `category_groups`, or `all`: those of the data
            set, in its order.
        scales: Short sides that windows choose from: the one at which a window has nearest to 224 x 224 pixels.
            [pixels; section 4.1]
        convention: How windows become cells and choose a scale: as in the `paper`, or as in its `released` code.
            [section 4.1; appendix A]
        levels: Levels of the pyramid, for pool5; fc features take their head's. [bins a side; section 4.1]
        mean_norm: Features are scaled to this mean norm. [no unit]
        difficult: Whether objects marked difficult count as objects to learn.
        gpus: GPUs that a unit takes which pools. [GPUs]
    """

    images: Annotated[str, Input(("images",))]
    windows: Annotated[str, Input(("windows",))]
    maps: Annotated[str, Input(("maps", "crops"))]
    split: str = "train"
    categories: CategoriesField
    scales: Annotated[tuple[int, ...], Field(min_length=1)] = (688,)
    convention: Convention = "paper"
    levels: tuple[int, ...] = (6, 3, 2, 1)
    mean_norm: Annotated[float, Field(gt=0)] = 20.0
    difficult: bool = False

    def positives_only(self) -> tuple[str, ...]:
        """Return the splits of which nothing but objects to learn is used: none, unless a stage lets them be named."""
        return ()


W = TypeVar("W", bound=WindowTrainingConfig)


class WindowTrainingStage(ShardStage[W]):
    """Gathers examples shard by shard, then solves category by category."""

    seeded: ClassVar[bool] = True

    @classmethod
    def whole_splits(cls, config: W) -> tuple[str, ...]:
        """Return the splits to train on: all of them are taken together."""
        return (config.split, *config.positives_only())

    @classmethod
    def check(cls, config: W, inputs: Mapping[str, tuple[StageConfig, ...]]) -> None:
        """Check that the splits and the scales are extracted."""
        require_windows_and_maps(config, config.scales, (config.split, *config.positives_only()), inputs)

    @classmethod
    def complete(cls, config: W, store: Store, manifest: str) -> W:
        """Fill in the images' categories where all are asked for."""
        return fill_in(config, store, manifest)

    @classmethod
    def check_data(cls, config: W, spec: StageSpec) -> None:
        """Check that the images have the categories."""
        check_categories(config.categories, spec)

    def check_input(self, field: str) -> None:
        """Check that the images, once they are ingested, show every category: trainings come after."""
        if field == "images" and not self.artifact.committed():
            config = self.config
            check_shown(self.spec, self.whole_splits(config), config.categories, difficult=config.difficult)

    def prepare(self) -> None:
        """Check the splits, and record what is trained on which features."""
        self._shards.check_splits(self.spec.step)
        self._info.write(self.artifact)

    @property
    @abstractmethod
    def _info(self) -> FeatureInfo:
        """What is trained on which features."""

    @cached_property
    def _shards(self) -> TrainingShards:
        inputs = (self.images, self.input("windows"), self.input("maps"))
        config = self.config
        return TrainingShards(*inputs, config.scales, config.split, self.name, config.positives_only())

    @cached_property
    def _features(self) -> WindowFeatures:
        return self._info.extractor(self.input("maps"), self.workspace)

    def _pooling(self) -> Resources:
        """Return what a unit that pools needs."""
        return self.config.resources()

    def _solving(self, memory_bytes: int) -> Resources:
        """Return what a unit that solves needs."""
        return Resources(cpus=self.config.cpus, memory_bytes=memory_bytes)
