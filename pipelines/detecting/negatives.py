"""Which windows of an image are negatives, and which of them start the training of SVMs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.shards.windowed import WindowedImage
from sppnet.arrays import Bools, Float32s, Integers
from sppnet.detection.features import WindowFeatures
from sppnet.detection.mining import Dedupe, first_responses, initial_negatives, name_fraction
from sppnet.detection.sampling import svm_negatives
from sppnet.seeds import derive_seed


@dataclass(frozen=True, slots=True)
class NegativeRule:
    """Which windows of an image are negatives.

    Attributes:
        max_iou: A negative overlaps no object of the category more.
        strict: Whether it overlaps each by less (the authors' release).
        dedupe: Which of several alike negatives are left out.
        dedupe_iou: For `overlap`, the overlap between negatives above which one is left out.
        threshold: Negatives that score more are hard.
        per_image: At most so many hard negatives an image and category; None takes all.
    """

    max_iou: float
    strict: bool
    dedupe: Dedupe
    dedupe_iou: float
    threshold: float
    per_image: int | None

    @property
    def max_overlap(self) -> float | None:
        """Overlap between two negatives above which one is left out; None keeps both."""
        return self.dedupe_iou if self.dedupe == "overlap" else None

    def free(self, image: WindowedImage, objects: Float32s, features: WindowFeatures) -> Integers:
        """Return the windows that are negatives of every category with objects there, rising."""
        found = svm_negatives(
            image.windows, objects, max_iou=self.max_iou, inclusive=not self.strict, dedupe_iou=self.max_overlap
        )
        return found[self.distinct(image, features)[found]]

    def distinct(self, image: WindowedImage, features: WindowFeatures) -> Bools:
        """Return the windows that are no earlier window's double, under `response-box`; all of them otherwise."""
        if self.dedupe != "response-box":
            return np.ones(len(image.windows), dtype=bool)
        scales, geometry, convention = features.scales, features.geometry, features.convention
        return first_responses(image.windows, image.image_wh, scales, geometry, convention)


@dataclass(frozen=True, slots=True)
class RandomNegatives:
    """Draws the negatives that start the training, by the image's key and the windows' names.

    Attributes:
        rule: Which windows are negatives.
        per_image: At most so many an image.
        fraction: Of those drawn, the part that is kept where all images together would give more than are wanted.
        seed: Of the run.
        stage: Name of the stage that draws.
    """

    rule: NegativeRule
    per_image: int
    fraction: float
    seed: int
    stage: str

    def draw(self, image: WindowedImage, objects: Float32s, features: WindowFeatures) -> Integers:
        """Return windows of an image, rising.

        Args:
            image: The image.
            objects: `[m, 4]` objects that no negative may lie on, pixels.
            features: Of windows; tell which are doubles.
        """
        free = self.rule.free(image, objects, features)
        rng = np.random.default_rng(derive_seed(self.seed, self.stage, image.key))
        drawn = free[initial_negatives(len(free), self.per_image, rng)]
        return drawn[[name_fraction(self.seed, image.key, int(window)) < self.fraction for window in drawn]]
