"""finetune: fc6, fc7 and fc8 on windows of cached maps; the convolutions stay as they are (section 4.1)."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, cast

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from pipelines.examples import check_inputs
from pipelines.manifest import Manifest
from pipelines.map_info import BackboneInfo, read_backbone_info
from pipelines.networks import SUFFIX, TrainedHead, encode_head, read_trained_head
from pipelines.shards import splits_units
from pipelines.snapshots import kept_figures
from pipelines.stage import Input, StageConfig
from pipelines.training import Curve, Rate, Task, TrainingConfig, TrainingStage, Worker
from pipelines.window_batches import WindowBatches, WindowPooler
from pipelines.window_plans import BACKGROUND, ChunkPlanner, SamplingRule
from pipelines.windowed import ShardInputs
from pipelines.workspace import Output
from sppnet.errors import ConfigError
from sppnet.geometry import Convention
from sppnet.network import FcHead, HeadSpec
from sppnet.pyramid import Pyramid
from sppnet.seeds import derive_seed
from sppnet.svm import MEAN_NORM, feature_scale

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
        shards: Shards that a chunk draws from at least.
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
    def check(cls, config: FinetuneConfig, inputs: Mapping[str, tuple[StageConfig, ...]]) -> None:
        """Scales and split that are extracted, distinct categories, and a batch that every worker gets a part of."""
        for number, split in enumerate(config.positive_splits):
            if split in (config.split, *config.positive_splits[:number]):
                raise ConfigError(f"positive_splits: '{split}' comes twice: each split has one role")
        check_inputs(config.images, config.scales, (config.split, *config.positive_splits), inputs)
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
    def manifest(self) -> Manifest:
        """The images' manifest."""
        return Manifest.read(self.input("images"))

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
            ConfigError: A category that the data set does not have, or an `init` that belongs to other features.
        """
        for category in self.config.categories:
            if category not in self.manifest.categories:
                known = ", ".join(self.manifest.categories)
                raise ConfigError(f"step {self.spec.step}: category '{category}' is not in the images: {known}")
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
            given = read_trained_head(init).head
            for name in ("fc6", "fc7"):
                head.layers[name].load_state_dict(given.layers[name].state_dict())
        return head

    def task(self, worker: Worker) -> Task:
        """Builds the head and its batches for a worker."""
        return FinetuneTask(self, worker)


class FinetuneTask(Task):
    """One worker's part of a fine-tuning."""

    def __init__(self, stage: Finetune, worker: Worker) -> None:
        self._stage = stage
        self._config = config = stage.config
        self._worker = worker
        self.model: FcHead = stage.new_head().to(worker.device)
        inputs, rule = stage.inputs_of_shards(), config.rule()
        units = stage.manifest.units(config.split)
        more = splits_units(stage.manifest, config.positive_splits)
        self._planner = ChunkPlanner(inputs, units, rule, derive_seed(stage.seed, stage.name), more)
        pyramid = Pyramid(config.levels)
        self._pooler = WindowPooler(inputs, stage.backbone.geometry, pyramid, config.convention, worker.device)
        self._scale = self._input_scale()
        self._batches = WindowBatches(
            self._planner,
            self._pooler,
            batch=config.batch,
            steps=config.steps,
            chunk=config.chunk,
            rank=worker.rank,
            world=worker.world_size,
        )

    def _input_scale(self) -> float:
        """Factor on pooled vectors while a fresh head trains; 1 for one that was trained on them before.

        Learning rates mean nothing to layers whose inputs have any norm: an imported backbone's vectors may be
        hundreds of times longer than those of a network trained here. Fresh layers see the mean norm that SVMs see
        too, and `finish` folds the factor into fc6, so that the published head takes plain pooled vectors.
        """
        if self._stage.optional_input("init") is not None:
            return 1.0
        sample = self._planner.chunk(0, 1)
        vectors = self._pooler.pool(sample, np.arange(len(sample.windows))).float()
        # The default range of a layer's first weights is for inputs whose values, not whose norm, are about 1.
        _multiply_fc6(self.model, math.sqrt(vectors.shape[1]) / MEAN_NORM)
        return feature_scale(torch.linalg.vector_norm(vectors, dim=1).cpu().numpy())

    def loss(self, model: nn.Module, step: int) -> torch.Tensor:
        """Softmax loss of this worker's windows."""
        vectors, labels = self._batches.batch(step)
        logits = model(vectors * self._scale)
        # A sum over the worker's windows and a mean over the batch: slices need not be of one size.
        share = self._worker.world_size / self._config.batch
        return F.cross_entropy(logits.float(), labels, reduction="sum") * share

    @cached_property
    def _held_out(self) -> tuple[torch.Tensor, torch.Tensor] | None:
        chunk = self._planner.held_out(self._config.held_out_batches)
        if chunk is None:
            return None
        labels = torch.from_numpy(chunk.windows.labels).to(self._worker.device)
        return self._pooler.pool(chunk, np.arange(len(chunk.windows))), labels

    def measure(self) -> Mapping[str, float]:
        """Accuracy on held-out windows: all of them, those on objects, and the latter with background left out."""
        if self._held_out is None:
            return {}
        vectors, labels = self._held_out
        starts = range(0, len(vectors), self._config.batch)
        parts = [vectors[start : start + self._config.batch] * self._scale for start in starts]
        logits = torch.cat([self.model(part) for part in parts])
        right, shown = (logits.argmax(dim=1) == labels).float(), labels > 0
        category = logits[shown, 1:].argmax(dim=1) + 1
        accuracy = float(right.mean())
        return {
            "held_out_error": 1 - accuracy,
            "held_out_accuracy": accuracy,
            "held_out_objects": float(right[shown].mean()),
            "held_out_categories": float((category == labels[shown]).float().mean()),
        }

    def finish(self, curve: Curve) -> Output:
        """The head with what it was trained for."""
        config = self._config
        head = copy.deepcopy(self.model)
        _multiply_fc6(head, self._scale)
        trained = TrainedHead(
            head=head,
            pyramid=Pyramid(config.levels),
            labels=(BACKGROUND, *config.categories),
            scales=config.scales,
            convention=config.convention,
            curve=tuple(curve),
        )
        metrics = {"steps": config.steps, **kept_figures(curve)}
        return Output(encode_head(trained), SUFFIX, rows=len(self.model.state_dict()), done=0, metrics=metrics)

    def close(self) -> None:
        """Ends the thread that pools."""
        self._batches.close()


def _multiply_fc6(head: FcHead, factor: float) -> None:
    with torch.no_grad():
        cast(nn.Linear, head.layers["fc6"]).weight.mul_(factor)
