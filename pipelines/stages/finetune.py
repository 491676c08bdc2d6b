"""finetune: fc6, fc7 and fc8 on windows of cached maps; the convolutions stay as they are (section 4.1)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from pipelines.artifacts.backbone_info import BackboneInfo, read_backbone_info
from pipelines.artifacts.networks import read_trained_head
from pipelines.detecting.gathering import TrainingShards, check_inputs
from pipelines.engine.stage import Input, StageConfig
from pipelines.finetuning.plans import SamplingRule
from pipelines.finetuning.task import FinetuneTask
from pipelines.shards.windowed import ShardInputs
from pipelines.training.loop import Rate, Task, TrainingConfig, TrainingStage, Worker
from sppnet.errors import ConfigError
from sppnet.networks.network import FcHead, HeadSpec
from sppnet.pooling.geometry import Convention
from sppnet.pooling.pyramid import Pyramid

Fraction = Annotated[float, Field(ge=0, le=1)]


class FinetuneConfig(TrainingConfig):
    """Config of `finetune`; defaults are the paper's, the schedule apart, which the paper has at 250k + 50k steps.

    Attributes:
        images: The step that ingests.
        windows: The step that proposes.
        maps: The step that extracts.
        init: A step whose head gives fc6 and fc7 to start from; fresh weights by default.
        split: Split to train on.
        positive_splits: Splits whose windows on objects train too, but no others: what their annotations leave out may
            be an object (section 4.5). None of their images is held out.
        categories: Categories to tell apart, besides the background.
        scales: Short sides that windows choose from.
        convention: Of window mapping and scale rule.
        levels: Of the pyramid; with `init` they must be its own.
        hidden: Outputs of fc6 and fc7; with `init` its own, or else 4096 each.
        dropout: On the outputs of fc6 and fc7.
        schedule: Learning rates, each for a number of steps.
        batch: Windows of a batch, over all workers.
        positive_fraction: Part of a batch that shows objects.
        positive_iou: Closed range of overlap of a window on an object.
        negative_iou: Half-open range of overlap of a window on background.
        difficult: Whether objects marked difficult are objects.
        random_scale: Whether a window's scale is drawn, as in the authors' release, instead of chosen by its size.
        flips: Whether half of the windows are mirrored; the maps must have been extracted with flips.
        holdout: Fraction of the split's images held out to measure on.
        held_out_batches: Size of the held-out set, in batches.
        chunk: Batches that are drawn and pooled at a time.
        shards: Shards that a chunk draws from at least; with `positive_splits`, of `split` and of those alike.
    """

    stage: Literal["finetune"]
    images: Annotated[str, Input(("images",))]
    windows: Annotated[str, Input(("windows",))]
    maps: Annotated[str, Input(("maps",))]
    init: Annotated[str | None, Input(("head", "network"))] = None
    split: str = "train"
    positive_splits: tuple[str, ...] = ()
    categories: Annotated[tuple[str, ...], Field(min_length=1)]
    scales: Annotated[tuple[int, ...], Field(min_length=1)] = (688,)
    convention: Convention = "paper"
    levels: tuple[int, ...] = (6, 3, 2, 1)
    hidden: tuple[int, int] | None = None
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    schedule: Annotated[tuple[Rate, ...], Field(min_length=1)] = (
        Rate(lr=1e-3, steps=30_000),
        Rate(lr=1e-4, steps=30_000),
    )
    batch: Annotated[int, Field(ge=2)] = 128
    positive_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.25
    positive_iou: tuple[Fraction, Fraction] = (0.5, 1.0)
    negative_iou: tuple[Fraction, Fraction] = (0.1, 0.5)
    difficult: bool = False
    random_scale: bool = False
    flips: bool = False
    holdout: Annotated[float, Field(ge=0, lt=1)] = 0.05
    held_out_batches: Annotated[int, Field(ge=1)] = 4
    chunk: Annotated[int, Field(ge=1)] = 50
    shards: Annotated[int, Field(ge=1)] = 2

    def rule(self) -> SamplingRule:
        """The part that says which windows train."""
        return SamplingRule(
            categories=self.categories,
            batch=self.batch,
            positive_fraction=self.positive_fraction,
            positive_iou=self.positive_iou,
            negative_iou=self.negative_iou,
            difficult=self.difficult,
            random_scale=self.random_scale,
            holdout=self.holdout,
            shards=self.shards,
            flips=self.flips,
        )


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
        """Scales and split that are extracted, distinct categories, and a batch that every worker gets a part of."""
        for number, split in enumerate(config.positive_splits):
            if split in (config.split, *config.positive_splits[:number]):
                raise ConfigError(f"positive_splits: '{split}' comes twice: each split has one role")
        check_inputs(config, config.scales, (config.split, *config.positive_splits), inputs)
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
        return read_backbone_info(self.input("maps"))

    def inputs_of_shards(self) -> ShardInputs:
        """Where a shard's parts are."""
        inputs = (self.input("images"), self.input("windows"), self.input("maps"))
        return ShardInputs(*inputs, self.config.scales, flips=self.config.flips)

    def prepare(self) -> None:
        """Checks before any worker starts what only the inputs' content tells.

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
        """Sizes of the head to train."""
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
        """The head before the first step: fc6 and fc7 of `init` if there is one, the rest fresh."""
        head = FcHead.from_spec(self.head_spec())
        init = self.optional_input("init")
        if init is not None:
            head.load_hidden(read_trained_head(init).head)
        return head

    def task(self, worker: Worker) -> Task:
        """Builds the head and its batches for a worker."""
        return FinetuneTask(self, worker)
