"""pretrain: the whole network on crops of images, to tell subcategories apart (sections 2.3, 3.1 and 4.5)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from pipelines.engine.stage import RUNTIME, Input, Phase, StageConfig
from pipelines.engine.workspace import Output
from pipelines.pretraining.batches import Cutter, Fallback
from pipelines.pretraining.examples import Classes, CropExample, View, decode_index, encode_index, examples_of
from pipelines.pretraining.task import PretrainTask
from pipelines.stages.statistics import read_statistics
from pipelines.training.held_out import is_held_out
from pipelines.training.loop import Plateau, Rate, Task, TrainingConfig, TrainingStage, Worker
from pipelines.training.network_config import BackboneFields, LevelsField
from sppnet.errors import ConfigError
from sppnet.images.statistics import PixelStatistics
from sppnet.images.training_crops import ColourJitter, EpochSizes, Overlap, TrainingCrops, Where
from sppnet.networks.backbones import Backbone, build_backbone
from sppnet.pooling.pyramid import NAMED_LEVELS, Pyramid, make_pyramid

_INDEX = "index/"
_READERS = 16


class PretrainConfig(TrainingConfig, BackboneFields):
    """Config of `pretrain`; defaults are the paper's ZF-5, at a quarter of its 70 epochs.

    Attributes:
        images: The step that ingests.
        statistics: A step whose statistics give the colours' components and the per-pixel mean. Without one, the
            components are those of a few images, which serves as well where the colours are altered a little.
        split: Split to train on.
        classes: What an example's class is: its object's `subcategory` (or the category of an object without one),
            that or nothing (`subcategory-only`), or its `category`: the 499-way and the 200-way pre-training of DET.
        subcategories: Classes to tell apart; by default all that the split's examples have, sorted.
        difficult: Whether objects marked difficult train.
        view: What a sample shows. `crop`: a crop that overlaps the object by `min_overlap` (section 4.5); `object`:
            the square around the object with some context, resized; `image`: a crop of an image of one class.
        short_side: What an image's short side is resized to before a `crop` or an `image` is cut; a smaller image is
            enlarged.
        size: Sides of the crop as the network sees it, in pixels; epochs take turns (section 2.3: 224, 180).
        random_size: Draws the network's size instead, one for each epoch, uniformly from this closed range (section
            2.3: 180 to 224). The paper doesn't say whether an epoch or an iteration has one size.
        where: Which crops there are: the `five` of centre and corners, or at every pixel, `uniform`; by default
            `five` for an `image` (section 3.1), `uniform` for a `crop` (section 4.5).
        min_overlap: Least overlap of a `crop` with its object.
        overlap: What that is, which the paper doesn't define: `object`, the part of the object inside the crop, or
            `iou`, the intersection over union of both.
        fallback: What becomes of an object that no `crop` overlaps enough, such as one larger than any: `centre`
            takes the crop around its centre, `skip` leaves it out (the index's `skipped` counts those).
        context: Range of the side of an `object`'s square over the object's longer side.
        shift: How far that square is moved at most, over its side.
        flip: Whether half of the samples are mirrored.
        colour: Strength of the colour alteration, 0 for none.
        mean: What is subtracted from pixels: the preprocessing's `constant`, or the `per-pixel` mean of `statistics`,
            warped to the network's size.
        levels: Of the pyramid: a list, `spp6` or `spp4` by name, or `none` for a network without SPP, which takes one
            size only.
        hidden: Outputs of fc6 and fc7.
        dropout: On the outputs of fc6 and fc7.
        batch: Samples of a batch, over all workers.
        holdout: Fraction of the images, by a hash of their keys, held out to measure on.
        held_out_samples: At most so many samples are measured on.
        shards: Shards whose samples are mixed.
        cache_bytes: Bound on the decoded images that a worker keeps.
        threads: Threads of a worker that decode and cut; by default one for each of its `cpus`, two at least.
    """

    stage: Literal["pretrain"]
    images: Annotated[str, Input(("images",))]
    statistics: Annotated[str | None, Input(("statistics",))] = None
    split: str = "train"
    classes: Classes = "subcategory"
    subcategories: tuple[str, ...] | None = None
    difficult: bool = False
    view: View = "crop"
    short_side: Annotated[int, Field(ge=16)] = 256
    size: Annotated[tuple[Annotated[int, Field(ge=16)], ...], Field(min_length=1)] = (224,)
    random_size: tuple[Annotated[int, Field(ge=16)], Annotated[int, Field(ge=16)]] | None = None
    where: Where | None = None
    min_overlap: Annotated[float, Field(gt=0, le=1)] = 0.5
    overlap: Overlap = "object"
    fallback: Fallback = "centre"
    context: tuple[float, float] = (1.0, 1.6)
    shift: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    flip: bool = True
    colour: Annotated[float, Field(ge=0)] = 0.1
    mean: Literal["constant", "per-pixel"] = "constant"
    architecture: str = "zf5"
    levels: LevelsField = NAMED_LEVELS["spp6"]
    hidden: tuple[int, int] = (4096, 4096)
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    schedule: Annotated[tuple[Rate, ...], Field(min_length=1)] = (Rate(lr=1e-2, steps=175_000),)
    plateau: Plateau | None = Plateau()
    batch: Annotated[int, Field(ge=1)] = 128
    holdout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    held_out_samples: Annotated[int, Field(ge=1)] = 512
    shards: Annotated[int, Field(ge=1)] = 4
    cache_bytes: Annotated[int, RUNTIME, Field(ge=1)] = 1 << 30
    threads: Annotated[int | None, RUNTIME, Field(ge=1)] = None

    def pyramid(self, backbone: Backbone) -> Pyramid:
        """The pyramid on a backbone's maps; raises `ConfigError` if it is too fine for the smallest of them."""
        low, high = self.random_size or (0, -1)
        sizes = {*self.size, *range(low, high + 1)}
        return make_pyramid(self.levels, sorted({backbone.map_hw((size, size)) for size in sizes}))

    def cutter(self, colour: ColourJitter | None = None) -> Cutter:
        """What cuts the samples, at the largest size, altering colours or not."""
        crops = TrainingCrops(
            short_side=max(self.short_side, *self.size),
            size=max(self.size),
            where=self.where or ("uniform" if self.view == "crop" else "five"),
            flip=self.flip,
            colour=colour,
        )
        return Cutter(self.view, crops, self.min_overlap, self.overlap, self.context, self.shift)

    def epoch_sizes(self, seed: int) -> EpochSizes:
        """The network's size in each epoch; `seed` is of those that are drawn."""
        return EpochSizes(self.size, self.random_size, seed)

    def network_sizes(self) -> tuple[int, ...]:
        """Sizes to tell users of the network: the crop's own first, then the others or the ends of the range."""
        return tuple(dict.fromkeys((max(self.size), *sorted(self.random_size or self.size, reverse=True))))

    def held_out(self, key: str) -> bool:
        """Tells whether an image is held out; depends on its key only."""
        return is_held_out(key, self.holdout)


class Pretrain(TrainingStage[PretrainConfig]):
    """Lists every shard's examples, then trains one network and publishes it as safetensors."""

    name: ClassVar[str] = "pretrain"
    makes: ClassVar[str] = "network"
    seeded: ClassVar[bool] = True
    config_type: ClassVar[type[StageConfig]] = PretrainConfig

    @classmethod
    def whole_splits(cls, config: PretrainConfig) -> tuple[str, ...]:
        """Return the split: all of it is taken together."""
        return (config.split,)

    @classmethod
    def check(cls, config: PretrainConfig, inputs: Mapping[str, tuple[StageConfig, ...]]) -> None:
        """A network that exists, levels no finer than its maps, crops that fit, and a batch for every worker."""
        _check_sizes(config)
        config.check_held_out(config.holdout)
        config.pyramid(build_backbone(config.spec()))
        if not 0 < config.context[0] <= config.context[1]:
            raise ConfigError(f"context: {list(config.context)} is no range")
        if config.mean == "per-pixel" and config.statistics is None:
            raise ConfigError("mean: per-pixel needs `statistics`, a step that makes them")
        if config.workers > config.batch:
            raise ConfigError(f"workers: {config.workers} can't share a batch of {config.batch}")

    def phases(self) -> list[Phase]:
        """The index, a unit a shard, then the training."""
        units = tuple(_INDEX + unit for unit in self.manifest.units(self.config.split))
        return [Phase("index", units, keyed=False), self.training_phase()]

    def run(self, unit: str) -> Output:
        """Lists a shard's examples, or trains in this process."""
        if not unit.startswith(_INDEX):
            return super().run(unit)
        return self._index(unit.removeprefix(_INDEX))

    def _index(self, shard: str) -> Output:
        config, cutter = self.config, self.config.cutter()
        examples, skipped = [], 0
        for key, annotation in self.images.read_annotations(shard)[0].items():
            image_hw = (annotation.height, annotation.width)
            for label, box in examples_of(annotation, config.view, difficult=config.difficult, classes=config.classes):
                if config.subcategories is not None and label not in config.subcategories:
                    continue
                if config.fallback == "skip" and not cutter.reaches(image_hw, box):
                    skipped += 1
                    continue
                examples.append(CropExample(shard, key, label, box))
        metrics = {"examples": len(examples)} | ({"skipped": skipped} if config.fallback == "skip" else {})
        return Output(encode_index(shard, examples), ".json", len(examples), 0, metrics=metrics)

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

    @cached_property
    def statistics(self) -> PixelStatistics | None:
        """The data set's statistics, if a step makes them."""
        artifact = self.optional_input("statistics")
        return read_statistics(artifact) if artifact else None

    def task(self, worker: Worker) -> Task:
        """Builds the network and its batches for a worker."""
        return PretrainTask(self, worker)


def _check_sizes(config: PretrainConfig) -> None:
    """Raises `ConfigError` for crops that their images can't hold, or sizes that contradict one another."""
    largest = max(config.size)
    if config.view != "object" and largest > config.short_side:
        raise ConfigError(f"size: {largest} is larger than short_side {config.short_side}")
    if config.random_size is None:
        return
    low, high = config.random_size
    if len(config.size) > 1:
        raise ConfigError(f"random_size: epochs take turns with sizes {list(config.size)} already; name one size")
    if not low <= high <= largest:
        raise ConfigError(f"random_size: {[low, high]} is no range up to the crop's size {largest}")
