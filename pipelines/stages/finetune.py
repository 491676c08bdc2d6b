"""finetune: fc6, fc7 and fc8 on windows of cached maps; the convolutions stay as they are (section 4.1)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

from pipelines.artifacts.backbone_info import BackboneInfo
from pipelines.artifacts.networks import read_trained_head
from pipelines.detecting.checks import require_windows_and_maps
from pipelines.detecting.training_shards import TrainingShards
from pipelines.engine.stage import StageConfig
from pipelines.finetuning.config import FinetuneConfig
from pipelines.finetuning.task import FinetuneTask, FinetuneTaskInputs
from pipelines.shards.windowed import ShardInputs
from pipelines.training.loop import TrainingStage
from pipelines.training.task import Task
from pipelines.training.workers import Worker
from sppnet.errors import ConfigError
from sppnet.networks.network import FcHead, HeadSpec
from sppnet.pooling.pyramid import Pyramid
from sppnet.seeds import derive_seed


class Finetune(TrainingStage[FinetuneConfig]):
    """Trains one head, and publishes it as safetensors."""

    name: ClassVar[str] = "finetune"
    makes: ClassVar[str] = "head"
    seeded: ClassVar[bool] = True
    config_type: ClassVar[type[StageConfig]] = FinetuneConfig

    @classmethod
    def whole_splits(cls, config: FinetuneConfig) -> tuple[str, ...]:
        """Return the splits to train on: all of them are taken together."""
        return (config.split, *config.positive_splits)

    @classmethod
    def check(cls, config: FinetuneConfig, inputs: Mapping[str, tuple[StageConfig, ...]]) -> None:
        """Check that scales and split are extracted, categories distinct, and a batch has a part for every worker."""
        for number, split in enumerate(config.positive_splits):
            if split in (config.split, *config.positive_splits[:number]):
                raise ConfigError(f"positive_splits: '{split}' comes twice: each split has one role")
        require_windows_and_maps(config, config.scales, (config.split, *config.positive_splits), inputs)
        maps: Any = inputs["maps"][0]
        if config.flips and not maps.flips:
            raise ConfigError("flips: the maps are extracted without; set flips there too")
        config.check_held_out(config.holdout)
        if len(set(config.categories)) != len(config.categories):
            raise ConfigError("categories: each may be named once")
        if not 0 < config.rule().positives < config.batch:
            raise ConfigError(f"positive_fraction: {config.positive_fraction} of {config.batch} leaves a kind empty")
        if config.workers > config.batch:
            raise ConfigError(f"workers: {config.workers} can't share a batch of {config.batch}")
        Pyramid(config.levels)

    @cached_property
    def backbone(self) -> BackboneInfo:
        """What made the maps."""
        return BackboneInfo.read(self.input("maps"))

    def inputs_of_shards(self) -> ShardInputs:
        """Return where a shard's parts are."""
        inputs = (self.input("images"), self.input("windows"), self.input("maps"))
        return ShardInputs(*inputs, self.config.scales, flips=self.config.flips)

    def prepare(self) -> None:
        """Check before any worker starts what only the inputs' content tells.

        Raises:
            ConfigError: A category that the data set does not have, an image that `split` and one of `positive_splits`
                share (held out of one, it would train in the other), or an `init` that belongs to other features.
        """
        for category in self.config.categories:
            if category not in self.manifest.categories:
                known = ", ".join(self.manifest.categories)
                raise ConfigError(f"step {self.spec.step}: category '{category}' is not in the images: {known}")
        if self.config.positive_splits:
            inputs, config = self.inputs_of_shards(), self.config
            parts = (self.images, inputs.windows, inputs.maps, inputs.scales)
            TrainingShards(*parts, config.split, self.name, config.positive_splits).check_splits(self.spec.step)
        self.head_spec()

    def head_spec(self) -> HeadSpec:
        """Return sizes of the head to train."""
        config, pyramid = self.config, Pyramid(self.config.levels)
        features = pyramid.bins * self.backbone.channels
        hidden = config.hidden or (4096, 4096)
        init = self.optional_input("init")
        if init is not None:
            given = read_trained_head(init)
            hidden = config.hidden or given.head.spec.hidden
            if given.pyramid != pyramid or given.head.spec.in_features != features or given.head.spec.hidden != hidden:
                raise ConfigError(
                    f"step {self.spec.step}: init {init.name} has levels {list(given.pyramid.levels)}, "
                    f"{given.head.spec.in_features} inputs and hidden {list(given.head.spec.hidden)}; "
                    f"wanted {list(pyramid.levels)}, {features} and {list(hidden)}"
                )
        return HeadSpec(features, hidden, len(config.categories) + 1, config.dropout)

    def new_head(self) -> FcHead:
        """Return the head before the first step: fc6 and fc7 of `init` if there is one, the rest fresh."""
        head = FcHead.from_spec(self.head_spec())
        init = self.optional_input("init")
        if init is not None:
            head.load_hidden(read_trained_head(init).head)
        return head

    def task(self, worker: Worker) -> Task:
        """Build the head and its batches for a worker."""
        inputs = FinetuneTaskInputs(
            config=self.config,
            images=self.images,
            shards=self.inputs_of_shards(),
            units=self.manifest.units(self.config.split),
            positive_units=self.shards(self.config.positive_splits),
            geometry=self.backbone.geometry,
            head=self.new_head(),
            is_fresh=self.optional_input("init") is None,
            seed=derive_seed(self.seed, self.name),
        )
        return FinetuneTask(inputs, worker)
