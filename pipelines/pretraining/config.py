"""What pre-training can be told: the config of the stage `pretrain`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipelines.engine.stage import RUNTIME, Input
from pipelines.pretraining.batches import Cutter, Fallback
from pipelines.pretraining.examples import Classes, SampleView
from pipelines.training.config import Plateau, Rate, TrainingConfig
from pipelines.training.held_out import is_held_out
from pipelines.training.network_config import ArchitectureName, BackboneFields, LevelsField
from sppnet.errors import ConfigError
from sppnet.images.training_crops import ColourJitter, EpochSizes, Overlap, TrainingCrops, Where
from sppnet.networks.backbones import Backbone
from sppnet.pooling.pyramid import NAMED_LEVELS, Pyramid, make_pyramid
from sppnet.sizes import Size


class PretrainConfig(TrainingConfig, BackboneFields):
    """Config of `pretrain`; defaults are the paper's ZF-5, at a quarter of its 70 epochs.

    Attributes:
        images: The step that ingests.
        statistics: A step whose statistics give the colours' components and the per-pixel mean. Without one, the
            components are those of a few images, which serves as well where the colours are altered a little.
            [appendix A]
        split: Split to train on.
        classes: What an example's class is: its object's `subcategory` (or the category of an object without one), that
            or nothing (`subcategory-only`), or its `category`: the 499-way and the 200-way pre-training of DET.
            [section 4.5]
        subcategories: Classes to tell apart; by default all that the split's examples have, sorted.
        difficult: Whether objects marked difficult train.
        view: What a sample shows. `crop`: a crop that overlaps the object by `min_overlap` (section 4.5); `object`: the
            square around the object with some context, resized; `image`: a crop of an image of one class.
            [section 3.1; section 4.5]
        short_side: What an image's short side is resized to before a `crop` or an `image` is cut; a smaller image is
            enlarged. [pixels; section 3.1]
        size: Sides of the crop as the network sees it; epochs take turns (224 and 180). [pixels; section 2.3]
        random_size: Draws the network's size instead, one for each epoch, uniformly from this closed range (180 to
            224). The paper doesn't say whether an epoch or an iteration has one size. [pixels; section 2.3]
        where: Which crops there are: the `five` of centre and corners, or at every pixel, `uniform`; by default `five`
            for an `image` (section 3.1), `uniform` for a `crop` (section 4.5). [section 3.1; section 4.5]
        min_overlap: Least overlap of a `crop` with its object. [fraction; section 4.5]
        overlap: What that is, which the paper doesn't define: `object`, the part of the object inside the crop, or
            `iou`, the intersection over union of both. [section 4.5]
        fallback: What becomes of an object that no `crop` overlaps enough, such as one larger than any: `centre`
            takes the crop around its centre, `skip` leaves it out (the index's `skipped` counts those).
        context: Range of the side of an `object`'s square over the object's longer side. [factor]
        shift: How far that square is moved at most, over its side. [fraction]
        flip: Whether half of the samples are mirrored. [section 3.1]
        colour: Strength of the colour alteration, 0 for none. [factor; section 3.1]
        mean: What is subtracted from pixels: the preprocessing's `constant`, or the `per-pixel` mean of `statistics`,
            warped to the network's size. [appendix A]
        levels: Levels of the pyramid: a list, `spp6` or `spp4` by name, or `none` for a network without SPP, which
            takes one size only. [bins a side; section 2.2; section 3.1]
        hidden: Outputs of fc6 and fc7. [outputs; Table 1]
        dropout: Fraction of the outputs of fc6 and fc7 that are left out, drawn anew for every sample.
            [fraction; section 3.1]
        batch: Samples of a batch, over all workers. [samples]
        holdout: Fraction of the images, by a hash of their keys, held out to measure on. [fraction]
        held_out_samples: At most so many samples are measured on. [samples]
        shards: Shards whose samples are mixed. [shards]
        cache_bytes: Bound on the decoded images that a worker keeps. [bytes]
        threads: Threads of a worker that decode and cut; by default one for each of its `cpus`, two at least. [threads]
    """

    stage: Literal["pretrain"]
    images: Annotated[str, Input(("images",))]
    statistics: Annotated[str | None, Input(("statistics",))] = None
    split: str = "train"
    classes: Classes = "subcategory"
    subcategories: tuple[str, ...] | None = None
    difficult: bool = False
    view: SampleView = "crop"
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
    architecture: ArchitectureName = "zf5"
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
        """Return the pyramid on a backbone's maps; raise `ConfigError` if it is too fine for the smallest of them."""
        low, high = self.random_size or (0, -1)
        sizes = {*self.size, *range(low, high + 1)}
        return make_pyramid(self.levels, sorted({backbone.map_size(Size.square(size)) for size in sizes}))

    def cutter(self, colour: ColourJitter | None = None) -> Cutter:
        """Return what cuts the samples, at the largest size, altering colours or not."""
        crops = TrainingCrops(
            short_side=max(self.short_side, *self.size),
            size=max(self.size),
            where=self.where or ("uniform" if self.view == "crop" else "five"),
            flip=self.flip,
            colour=colour,
        )
        return Cutter(self.view, crops, self.min_overlap, self.overlap, self.context, self.shift)

    def epoch_sizes(self, seed: int) -> EpochSizes:
        """Return the network's size in each epoch; `seed` is of those that are drawn."""
        return EpochSizes(self.size, self.random_size, seed)

    def network_sizes(self) -> tuple[int, ...]:
        """Return sizes to tell users of the network: the crop's own first, then the others or the ends of the range."""
        return tuple(dict.fromkeys((max(self.size), *sorted(self.random_size or self.size, reverse=True))))

    def held_out(self, key: str) -> bool:
        """Tell whether an image is held out; depends on its key only."""
        return is_held_out(key, self.holdout)

    def check_sizes(self) -> None:
        """Raise `ConfigError` for crops that their images can't hold, or sizes that contradict one another."""
        largest = max(self.size)
        if self.view != "object" and largest > self.short_side:
            raise ConfigError(f"size: {largest} is larger than short_side {self.short_side}")
        if self.random_size is None:
            return
        low, high = self.random_size
        if len(self.size) > 1:
            raise ConfigError(f"random_size: epochs take turns with sizes {list(self.size)} already; name one size")
        if not low <= high <= largest:
            raise ConfigError(f"random_size: {[low, high]} is no range up to the crop's size {largest}")
