"""finetune: fc6, fc7 and fc8 on windows of cached maps; the convolutions stay as they are (section 4.1).

Phases: `sample` (a shard: its images' windows on objects and some on background, pooled) and `train`, whose batches
stream those samples in a seeded order. Maps are read once; what is trained on later has a hundredth of their size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, ClassVar

from pipelines.artifacts.backbone_info import BackboneInfo
from pipelines.artifacts.detectors import pooled_features
from pipelines.artifacts.networks import read_trained_head
from pipelines.artifacts.window_samples import WindowSamples, encode_samples, told_blocks
from pipelines.detecting.checks import require_windows_and_maps
from pipelines.detecting.training_shards import TrainingShards
from pipelines.engine.commits import Output
from pipelines.engine.machine import choose_device
from pipelines.engine.phases import Phase
from pipelines.engine.stage import StageConfig, StageSpec
from pipelines.engine.store import Store
from pipelines.finetuning.config import FinetuneConfig
from pipelines.finetuning.sampling import BlockCutter, ImageSampler, block_rows
from pipelines.finetuning.task import FinetuneTask, FinetuneTaskInputs
from pipelines.shards.categories import check_categories, fill_in
from pipelines.training.loop import TrainingStage
from pipelines.training.task import Task
from pipelines.training.workers import Worker
from sppnet.errors import ConfigError
from sppnet.networks.network import FcHead, HeadSpec
from sppnet.pooling.pyramid import Pyramid
from sppnet.seeds import derive_seed


class Finetune(TrainingStage[FinetuneConfig]):
    """Writes the samples of every shard, then trains one head and publishes it as safetensors."""

    name: ClassVar[str] = "finetune"
    makes: ClassVar[str] = "head"
    schema: ClassVar[int] = 3
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
        if maps.stage == "crops" and (config.flips or config.random_scale):
            raise ConfigError(f"{'flips' if config.flips else 'random_scale'}: R-CNN's crops have none; leave it out")
        if config.flips and not maps.flips:
            raise ConfigError("flips: the maps are extracted without; set flips there too")
        config.check_held_out(config.holdout)
        if len(set(config.categories)) != len(config.categories):
            raise ConfigError("categories: each may be named once")
        if not 0 < config.positives < config.batch:
            raise ConfigError(f"positive_fraction: {config.positive_fraction} of {config.batch} leaves a kind empty")
        if config.workers > config.batch:
            raise ConfigError(f"workers: {config.workers} can't share a batch of {config.batch}")
        Pyramid(config.levels)

    @cached_property
    def backbone(self) -> BackboneInfo:
        """What made the maps."""
        return BackboneInfo.read(self.input("maps"))

    @cached_property
    def _shards(self) -> TrainingShards:
        parts = (self.images, self.input("windows"), self.input("maps"), self.config.scales, self.config.split)
        return TrainingShards(*parts, self.name, self.config.positive_splits, self.config.flips)

    def phases(self) -> list[Phase]:
        """Sample, a unit a shard, then train."""
        return [Phase("sample", self._samples, self.config.resources()), self.training_phase()]

    @property
    def _samples(self) -> tuple[str, ...]:
        return tuple(f"sample/{shard}" for shard in self._shards.units)

    def run(self, unit: str) -> Output:
        """Sample a shard's windows, or train in this process."""
        phase, _, shard = unit.partition("/")
        return self._sample(shard) if phase == "sample" else super().run(unit)

    @classmethod
    def complete(cls, config: FinetuneConfig, store: Store, manifest: str) -> FinetuneConfig:
        """Fill in the images' categories where all are asked for."""
        return fill_in(config, store, manifest)

    @classmethod
    def check_data(cls, config: FinetuneConfig, spec: StageSpec) -> None:
        """Check that the images have the categories."""
        check_categories(config.categories, spec)

    def prepare(self) -> None:
        """Check before any worker starts what only the inputs' content tells.

        Raises:
            ConfigError: An image that `split` and one of `positive_splits` share (held out of one, it would train in
                the other), or an `init` that belongs to other features.
        """
        self._shards.check_splits(self.spec.step)
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

    @cached_property
    def _sampler(self) -> ImageSampler:
        config, maps, device = self.config, self.input("maps"), choose_device()
        rule = config.rule(derive_seed(self.seed, self.name), self._shards.images_count)
        features = pooled_features(maps, config.scales, Pyramid(config.levels), config.convention, device)
        return ImageSampler(rule, features)

    def _sample(self, shard: str) -> Output:
        images, earlier = self._shards.open_pairs(shard)
        work = self.work(shard, earlier)
        cutter = BlockCutter(block_rows(self.head_spec().in_features), derive_seed(self.seed, self.name, shard))
        positives_only = not self._shards.gives_negatives(shard)

        def blocks() -> Iterator[WindowSamples]:
            for found in work.each(images, lambda pair: self._sampler.sample(pair, positives_only=positives_only)):
                yield from cutter.add(found)
            yield from cutter.rest()

        data = encode_samples(blocks())
        rows = sum(count for _, count in cutter.blocks)
        return work.output(data, ".parquet", rows, told_blocks(cutter.blocks))

    def task(self, worker: Worker) -> Task:
        """Build the head and its batches for a worker."""
        inputs = FinetuneTaskInputs(
            config=self.config,
            artifact=self.artifact,
            units=self._samples,
            head=self.new_head(),
            is_fresh=self.optional_input("init") is None,
            seed=derive_seed(self.seed, self.name),
        )
        return FinetuneTask(inputs, worker)
