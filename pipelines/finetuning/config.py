"""What fine-tuning can be told: the config of the stage `finetune`."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from pipelines.engine.stage import Input
from pipelines.finetuning.windows import SamplingRule
from pipelines.shards.categories import CategoriesField
from pipelines.training.config import Rate, TrainingConfig
from sppnet.pooling.geometry import Convention

Fraction = Annotated[float, Field(ge=0, le=1)]


class FinetuneConfig(TrainingConfig):
    """Config of `finetune`; defaults are the paper's, the schedule apart, which the paper has at 250k + 50k steps.

    Attributes:
        images: The step that ingests.
        windows: The step that proposes.
        maps: The step that extracts, or one of R-CNN's crops.
        init: A step whose head gives fc6 and fc7 to start from; fresh weights by default. [section 4.5]
        split: Split to train on.
        positive_splits: Splits whose windows on objects train too, but no others: what their annotations leave out may
            be an object. None of their images is held out. [section 4.5]
        categories: Categories to tell apart, besides the background: a list, the name of a group of `category_groups`,
            or `all`: those of the data set, in its order.
        scales: Short sides that windows choose from: the one at which a window has nearest to 224 x 224 pixels.
            [pixels; section 4.1]
        convention: How windows become cells and choose a scale: as in the `paper`, or as in its `released` code.
            [section 4.1; appendix A]
        levels: Levels of the pyramid; with `init` they must be its own. [bins a side; section 4.1]
        hidden: Outputs of fc6 and fc7; with `init` its own, or else 4096 each. [outputs; section 4.1]
        dropout: Fraction of the outputs of fc6 and fc7 that are left out, drawn anew for every window. [fraction]
        schedule: Learning rates, each for a number of steps. [section 4.1]
        batch: Windows of a batch, over all workers. [windows; section 4.1]
        positive_fraction: Part of a batch that shows objects. [fraction; section 4.1]
        positive_iou: Closed range of overlap of a window on an object. [IoU; section 4.1]
        negative_iou: Half-open range of overlap of a window on background. [IoU; section 4.1]
        difficult: Whether objects marked difficult are objects.
        negatives_per_image: At most so many windows of an image on background, drawn once; all on objects are taken.
            `auto`: as many as batches take over the whole schedule, spread over the images, so that each trains about
            once. [windows]
        random_scale: Whether a window's scale is drawn, as in the authors' release, instead of chosen by its size.
        flips: Whether mirrored images train too: windows on objects both ways, half of the others; the maps must have
            been extracted with flips.
        holdout: Fraction of the split's images held out to measure on. [fraction]
        held_out_batches: Size of the held-out set, in batches. [batches]
    """

    stage: Literal["finetune"]
    images: Annotated[str, Input(("images",))]
    windows: Annotated[str, Input(("windows",))]
    maps: Annotated[str, Input(("maps", "crops"))]
    init: Annotated[str | None, Input(("head", "network"))] = None
    split: str = "train"
    positive_splits: tuple[str, ...] = ()
    categories: CategoriesField
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
    negatives_per_image: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    random_scale: bool = False
    flips: bool = False
    holdout: Annotated[float, Field(ge=0, lt=1)] = 0.05
    held_out_batches: Annotated[int, Field(ge=1)] = 4

    @property
    def positives(self) -> int:
        """Windows of a batch that show objects."""
        return round(self.batch * self.positive_fraction)

    def negatives(self, images: int) -> int:
        """Return at most how many windows on background are drawn of an image of a split that has so many."""
        if self.negatives_per_image != "auto":
            return self.negatives_per_image
        return math.ceil(self.steps * (self.batch - self.positives) / max(1, images))

    def rule(self, seed: int, images: int) -> SamplingRule:
        """Tell which windows of an image train, drawn by a seed; the split has so many images."""
        return SamplingRule(
            categories=self.categories,
            positive_iou=self.positive_iou,
            negative_iou=self.negative_iou,
            negatives_per_image=self.negatives(images),
            difficult=self.difficult,
            scales=self.scales if self.random_scale else (),
            holdout=self.holdout,
            flips=self.flips,
            seed=seed,
        )
