"""What the training of SVMs can be told: the config of the stage `train-svms`."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from pipelines.artifacts.stepped_rows import RowType
from pipelines.detecting.negatives import NegativeRule
from pipelines.detecting.set_limits import SetLimits
from pipelines.detecting.window_stage import WindowTrainingConfig
from pipelines.engine.stage import Input
from sppnet.detection.mining import Dedupe
from sppnet.detection.svm_training import Solver
from sppnet.networks.network import Layer, Precision

Count = Annotated[int, Field(ge=1)]


class TrainSvmsConfig(WindowTrainingConfig):
    """Config of `train-svms`; defaults are the paper's, where it names none the release's.

    Attributes:
        positive_splits: Splits whose objects are positives, and no more: none of their windows and objects is a
            negative, since what their annotations leave out may be an object too. [section 4.5]
        head: The step that fine-tunes, or pre-trains where fc6 and fc7 are wanted as they are; not for pool5.
        features: The layer whose features are learned on. [section 4.1; Table 9]
        precision: Type in which fc6 and fc7 compute, here and when windows are scored.
        rank: Rank of fc6 and fc7 as products of thin matrices, here and when windows are scored; null leaves them
            whole. [no unit]
        solver: `dual-cd`, our dual coordinate descent, or `liblinear`, scikit-learn's, in twice the memory.
        c: Cost of a negative within the margin. [no unit]
        positive_weight: Factor on the cost of positives. [factor]
        bias_scale: Value of the constant feature whose weight is the bias. [no unit]
        negative_iou: A window that overlaps an object of the category more is no negative. [IoU; section 4.1]
        strict: Whether a negative must overlap by less than `negative_iou`, as in the authors' release.
        dedupe: Negatives of an image that are left out: of two that overlap by more than `dedupe_iou` the later random
            or the lower-scored hard one (`overlap`), those with an earlier one's cells and scale (`response-box`, the
            release's rule), or `none`. [section 4.1]
        dedupe_iou: Overlap above which `dedupe: overlap` leaves out one of two negatives. [IoU; section 4.1]
        random_negatives: Random negatives an image that start the training. [windows]
        rounds: Rounds of hard negatives. [rounds; section 4.1]
        hard_threshold: Negatives that score more are hard. [score; section 4.1]
        hard_per_image: At most so many hard negatives an image, category and round; null takes all. [windows]
        evict_threshold: Cached negatives that score less are left out after each round; null keeps them. [score]
        max_positives: At most so many positives a category, drawn by the hash of their names; null takes all. [windows]
        max_random_negatives: At most so many random negatives a category, drawn likewise. [windows]
        max_object_negatives: At most so many objects of other categories as negatives, drawn likewise. [objects]
        max_hard_negatives: At most so many mined negatives a category: the latest round's first, then the hardest.
            [windows]
        hard_share: A shard gives a category at most this many times its share of `max_hard_negatives`, the hardest,
            which bounds what a mined shard takes in memory and storage. [factor]
        rows: How features are kept between the phases: `float16`, or `uint8`, each rounded to 255 steps between 0 and
            its row's greatest value, in half the bytes.
    """

    stage: Literal["train-svms"]
    positive_splits: tuple[str, ...] = ()
    head: Annotated[str | None, Input(("head", "network"))] = None
    features: Layer = "pool5"
    precision: Precision = "float32"
    rank: Count | None = None
    solver: Solver = "dual-cd"
    c: Annotated[float, Field(gt=0)] = 0.001
    positive_weight: Annotated[float, Field(gt=0)] = 2.0
    bias_scale: Annotated[float, Field(gt=0)] = 10.0
    negative_iou: Annotated[float, Field(ge=0, le=1)] = 0.3
    strict: bool = False
    dedupe: Dedupe = "overlap"
    dedupe_iou: Annotated[float, Field(gt=0, le=1)] = 0.7
    random_negatives: Count = 20
    rounds: Annotated[int, Field(ge=0, le=9)] = 1
    hard_threshold: float = -1.0
    hard_per_image: Count | None = 30
    evict_threshold: float | None = -1.2
    max_positives: Count | None = None
    max_random_negatives: Count = 30_000
    max_object_negatives: Annotated[int, Field(ge=0)] = 20_000
    max_hard_negatives: Count = 50_000
    hard_share: Annotated[float, Field(ge=1)] = 1.25
    rows: RowType = "uint8"

    def positives_only(self) -> tuple[str, ...]:
        """Return the splits that only give positives."""
        return self.positive_splits

    def limits(self) -> SetLimits:
        """Return the bounds on a category's training set."""
        return SetLimits(
            self.max_positives, self.max_random_negatives, self.max_object_negatives, self.max_hard_negatives
        )

    def rule(self) -> NegativeRule:
        """Tell which windows are negatives."""
        return NegativeRule(
            max_iou=self.negative_iou,
            strict=self.strict,
            dedupe=self.dedupe,
            dedupe_iou=self.dedupe_iou,
            threshold=self.hard_threshold,
            per_image=self.hard_per_image,
        )

    def shard_limit(self, shards: int) -> int:
        """Return how many hard negatives one of so many shards gives a category at most."""
        return math.ceil(self.hard_share * self.max_hard_negatives / max(1, shards))
