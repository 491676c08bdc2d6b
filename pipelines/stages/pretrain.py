"""pretrain: the whole network on crops of images, to tell subcategories apart (sections 2.3, 3.1.1 and 4.4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from pipelines.crop_batches import (
    CropBatches,
    CropExample,
    Cutter,
    EpochOrder,
    ImageCache,
    View,
    decode_index,
    encode_index,
    examples_of,
    fit_colours,
    load_example,
)
from pipelines.manifest import Manifest
from pipelines.networks import SUFFIX, encode_network
from pipelines.shards import read_images
from pipelines.stage import RUNTIME, Input, Phase, StageConfig
from pipelines.training import Curve, Plateau, Rate, Task, TrainingConfig, TrainingStage, Worker
from pipelines.workspace import Output
from sppnet.augment import TrainingCrops
from sppnet.backbones import BackboneSpec, build_backbone
from sppnet.errors import ConfigError
from sppnet.images import Preprocessing, normalise_images
from sppnet.network import FcHead, SppNetwork
from sppnet.pyramid import Pyramid
from sppnet.seeds import derive_seed

_INDEX = "index/"
_HELD_OUT_RANGE = 1 << 63
_READERS = 16


class PretrainConfig(TrainingConfig):
    """Config of `pretrain`; defaults are the paper's ZF-5, at a quarter of its 70 epochs.

    Attributes:
        images: The step that ingests.
        split: Split to train on.
        subcategories: Classes to tell apart; by default all that the split's objects have, sorted. Objects without a
            subcategory count under their category.
        difficult: Whether objects marked difficult train.
        view: What a sample shows. `crop`: a crop that overlaps the object by `min_overlap` (section 4.4); `object`:
            the square around the object with some context, resized; `image`: a crop of an image of one class.
        short_side: What an image's short side is resized to before a `crop` or an `image` is cut.
        size: Sides of the crop as the network sees it, in pixels; epochs take turns (section 2.3: 224, 180).
        min_overlap: Least part of the object inside a `crop`.
        context: Range of the side of an `object`'s square over the object's longer side.
        shift: How far that square is moved at most, over its side.
        flip: Whether half of the samples are mirrored.
        colour: Strength of the colour alteration, 0 for none.
        architecture: The backbone's name.
        width: Multiplies the channels of its layers.
        cut: The last module kept.
        preprocessing: What becomes of pixels; by default the architecture's.
        response_norm: Whether responses are normalised; by default the architecture's.
        levels: Of the pyramid.
        hidden: Outputs of fc6 and fc7.
        dropout: On the outputs of fc6 and fc7.
        batch: Samples of a batch, over all workers.
        holdout: Fraction of the images, by a hash of their keys, held out to measure on.
        held_out_samples: At most so many samples are measured on.
        shards: Shards whose samples are mixed.
        cache_bytes: Bound on the decoded images that a worker keeps.
    """

    stage: Literal["pretrain"]
    images: Annotated[str, Input(("images",))]
    split: str = "train"
    subcategories: tuple[str, ...] | None = None
    difficult: bool = False
    view: View = "crop"
    short_side: Annotated[int, Field(ge=16)] = 256
    size: Annotated[tuple[Annotated[int, Field(ge=16)], ...], Field(min_length=1)] = (224,)
    min_overlap: Annotated[float, Field(gt=0, le=1)] = 0.5
    context: tuple[float, float] = (1.0, 1.6)
    shift: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    flip: bool = True
    colour: Annotated[float, Field(ge=0)] = 0.1
    architecture: str = "zf5"
    width: Annotated[float, Field(gt=0)] = 1.0
    cut: str | None = None
    preprocessing: Mapping[str, Any] | None = None
    response_norm: bool | None = None
    levels: tuple[int, ...] = (6, 3, 2, 1)
    hidden: tuple[int, int] = (4096, 4096)
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    schedule: Annotated[tuple[Rate, ...], Field(min_length=1)] = (Rate(lr=1e-2, steps=175_000),)
    plateau: Plateau | None = Plateau()
    batch: Annotated[int, Field(ge=1)] = 128
    holdout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    held_out_samples: Annotated[int, Field(ge=1)] = 512
    shards: Annotated[int, Field(ge=1)] = 4
    cache_bytes: Annotated[int, RUNTIME, Field(ge=1)] = 1 << 30

    def spec(self) -> BackboneSpec:
        """The backbone that the config names; raises `ConfigError` for one that does not exist."""
        wanted = Preprocessing.from_dict(self.preprocessing) if self.preprocessing else None
        return BackboneSpec(self.architecture, self.width, self.cut, wanted, self.response_norm)

    def held_out(self, key: str) -> bool:
        """Tells whether an image is held out; depends on its key only."""
        return derive_seed(0, "holdout", key) < self.holdout * _HELD_OUT_RANGE


class Pretrain(TrainingStage[PretrainConfig]):
    """Lists every shard's examples, then trains one network and publishes it as safetensors."""

    name: ClassVar[str] = "pretrain"
    makes: ClassVar[str] = "network"
    seeded: ClassVar[bool] = True
    config_type: ClassVar[type[StageConfig]] = PretrainConfig

    @classmethod
    def check(cls, config: PretrainConfig, inputs: Mapping[str, tuple[StageConfig, ...]]) -> None:
        """A network that exists and sees at least one cell, crops that fit their image, a batch for every worker."""
        backbone = build_backbone(config.spec())
        for size in config.size:
            backbone.map_hw((size, size))
        Pyramid(config.levels)
        if config.view != "object" and max(config.size) > config.short_side:
            raise ConfigError(f"size: {max(config.size)} is larger than short_side {config.short_side}")
        if not 0 < config.context[0] <= config.context[1]:
            raise ConfigError(f"context: {list(config.context)} is no range")
        if config.workers > config.batch:
            raise ConfigError(f"workers: {config.workers} can't share a batch of {config.batch}")

    @cached_property
    def manifest(self) -> Manifest:
        """The images' manifest."""
        return Manifest.read(self.input("images"))

    def phases(self) -> list[Phase]:
        """The index, a unit a shard, then the training."""
        units = tuple(_INDEX + unit for unit in self.manifest.units(self.config.split))
        return [Phase("index", units, keyed=False), self.training_phase()]

    def run(self, unit: str) -> Output:
        """Lists a shard's examples, or trains in this process."""
        if not unit.startswith(_INDEX):
            return super().run(unit)
        shard = unit.removeprefix(_INDEX)
        config = self.config
        examples = [
            CropExample(shard, record.key, label, box)
            for record in read_images(self.input("images"), shard)[0]
            for label, box in examples_of(record.annotation, config.view, difficult=config.difficult)
            if config.subcategories is None or label in config.subcategories
        ]
        return Output(encode_index(shard, examples), ".json", len(examples), 0, metrics={"examples": len(examples)})

    @cached_property
    def examples(self) -> list[CropExample]:
        """All examples of the split, held-out ones too, in the order of its shards."""
        units = self.phases()[0].units
        with ThreadPoolExecutor(_READERS) as pool:
            bodies = pool.map(self.artifact.read, units)
            return [
                example
                for unit, body in zip(units, bodies, strict=True)
                for example in decode_index(body, f"{self.artifact.name}/{unit}")
            ]

    def classes(self) -> tuple[str, ...]:
        """The classes, in the order of the network's outputs.

        Raises:
            ConfigError: A class without an example to train on, or fewer than two classes.
        """
        counts = Counter(example.label for example in self.examples if not self.config.held_out(example.key))
        found = self.config.subcategories or tuple(sorted({example.label for example in self.examples}))
        for label in found:
            if not counts[label]:
                raise ConfigError(
                    f"step {self.spec.step}: subcategory '{label}' has no example to train on in split "
                    f"'{self.config.split}'; the split has {', '.join(sorted(counts)) or 'none'}"
                )
        if len(set(found)) < 2 or len(set(found)) != len(found):
            raise ConfigError(f"step {self.spec.step}: needs at least two distinct subcategories, got {list(found)}")
        return found

    def task(self, worker: Worker) -> Task:
        """Builds the network and its batches for a worker."""
        return PretrainTask(self, worker)


class PretrainTask(Task):
    """One worker's part of a pre-training."""

    def __init__(self, stage: Pretrain, worker: Worker) -> None:
        self._config = config = stage.config
        self._worker = worker
        self._labels = stage.classes()
        backbone, pyramid = build_backbone(config.spec()), Pyramid(config.levels)
        features = pyramid.bins * backbone.channels
        head = FcHead(features, config.hidden, len(self._labels), config.dropout)
        self.model: SppNetwork = SppNetwork(backbone, pyramid, head).to(worker.device)
        short_side = None if config.view == "object" else config.short_side
        self._cache = ImageCache(stage.input("images"), short_side, config.cache_bytes, config.shards + 1)
        training = [example for example in stage.examples if not config.held_out(example.key)]
        self._held_out_examples = [example for example in stage.examples if config.held_out(example.key)]
        colour = fit_colours(self._cache, training, config.colour)
        self._cutters = tuple(
            Cutter(
                config.view,
                TrainingCrops(
                    short_side=max(config.short_side, *config.size),
                    size=max(config.size),
                    flip=config.flip,
                    network_size=size,
                    colour=colour,
                ),
                config.min_overlap,
                config.context,
                config.shift,
            )
            for size in config.size
        )
        self._batches = CropBatches(
            EpochOrder(training, config.shards, derive_seed(stage.seed, stage.name)),
            self._cache,
            self._cutters,
            self._labels,
            batch=config.batch,
            steps=config.steps,
            worker=(worker.rank, worker.world_size),
            seed=derive_seed(stage.seed, stage.name, "crops"),
        )

    def loss(self, model: nn.Module, step: int) -> torch.Tensor:
        """Softmax loss of this worker's samples."""
        samples, labels = self._batches.batch(step)
        logits = model(self._to_network(samples))
        share = self._worker.world_size / self._config.batch
        target = torch.from_numpy(labels).to(self._worker.device)
        return F.cross_entropy(logits.float(), target, reduction="sum") * share

    def _to_network(self, samples: np.ndarray[Any, np.dtype[np.uint8]]) -> torch.Tensor:
        return normalise_images(samples, self.model.backbone.preprocessing, self._worker.device)

    @cached_property
    def _held_out(self) -> tuple[np.ndarray[Any, np.dtype[np.uint8]], torch.Tensor] | None:
        chosen = [example for example in self._held_out_examples if example.label in self._labels]
        chosen = chosen[: self._config.held_out_samples]
        if not chosen:
            return None
        samples = [self._cutters[0].cut_centre(*load_example(self._cache, example)) for example in chosen]
        return np.stack(samples), torch.tensor([self._labels.index(example.label) for example in chosen])

    def measure(self) -> Mapping[str, float]:
        """Accuracy on samples of held-out images."""
        if self._held_out is None:
            return {}
        samples, labels = self._held_out
        starts = range(0, len(samples), self._config.batch)
        parts = [self.model(self._to_network(samples[at : at + self._config.batch])).argmax(1).cpu() for at in starts]
        accuracy = float((torch.cat(parts) == labels).float().mean())
        return {"held_out_error": 1 - accuracy, "held_out_accuracy": accuracy}

    def finish(self, curve: Curve) -> Output:
        """The network with what its classes are."""
        model, config = self.model, self._config
        data = encode_network(model.backbone, model.head, model.pyramid, self._labels, curve)
        metrics = {"steps": config.steps, "classes": len(self._labels)}
        metrics |= {name: value for name, value in curve[-1].items() if name not in ("step", "lr")}
        return Output(data, SUFFIX, rows=len(model.state_dict()), done=0, metrics=metrics)

    def close(self) -> None:
        """Ends the thread that cuts."""
        self._batches.close()
