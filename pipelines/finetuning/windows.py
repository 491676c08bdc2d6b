"""Which windows of an image train fine-tuning: objects, and a sample of the background (section 4.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.artifacts.annotations import ImageAnnotation
from pipelines.training.held_out import is_held_out
from sppnet.arrays import Bools, Float32s, Integers
from sppnet.boxes import iou_matrix
from sppnet.detection.sampling import finetune_bands, label_windows
from sppnet.seeds import derive_seed

BACKGROUND = "background"
_FLIPPED = 0.5


@dataclass(frozen=True, slots=True)
class SamplingRule:
    """Which windows of an image train fine-tuning.

    Attributes:
        categories: In the order of their classes 1, 2, ...; class 0 is background.
        positive_iou: Closed range of an object's window's overlap.
        negative_iou: Half-open range of a background window's overlap.
        negatives_per_image: At most so many windows on background.
        difficult: Whether objects marked difficult count as objects; if not, windows on them are not background either.
        scales: Those of which each window's is drawn; empty where it is chosen by the window's size.
        holdout: Fraction of the images, by a hash of their keys, that never train.
        flips: Whether mirrored images train too.
        seed: Of all that is drawn.
    """

    categories: tuple[str, ...]
    positive_iou: tuple[float, float]
    negative_iou: tuple[float, float]
    negatives_per_image: int
    difficult: bool
    scales: tuple[int, ...]
    holdout: float
    flips: bool
    seed: int

    def held_out(self, key: str) -> bool:
        """Tell whether an image is held out; depends on its key only."""
        return is_held_out(key, self.holdout)


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """An image's windows, its objects' own boxes among them, by what they show.

    Attributes:
        boxes: `[n, 4]` float32 pixels: the windows, then the objects.
        numbers: `[n]` int32: the window's index, or `-1 - i` for the i-th object.
        objects: int64 indices of those that show objects.
        labels: Their classes, int64.
        background: int64 indices of those that show background.
    """

    boxes: Float32s
    numbers: Integers
    objects: Integers
    labels: Integers
    background: Integers


def label_image(annotation: ImageAnnotation, windows: Float32s, rule: SamplingRule) -> Candidates:
    """Sort an image's windows, and its objects' own boxes, into objects and background (section 4.1)."""
    objects = [thing for thing in annotation.objects if thing.category in rule.categories]
    used = [thing for thing in objects if rule.difficult or not thing.difficult]
    unused = np.array([thing.box for thing in objects if thing not in used], np.float32).reshape(-1, 4)
    truth = np.array([thing.box for thing in used], np.float32).reshape(-1, 4)
    boxes = np.concatenate([windows.astype(np.float32).reshape(-1, 4), truth])
    overlap, label = label_windows(boxes, truth, [rule.categories.index(thing.category) for thing in used])
    positive, negative = finetune_bands(overlap, rule.positive_iou, rule.negative_iou)
    on_unused = iou_matrix(boxes[negative], unused).max(axis=1, initial=0.0) >= rule.positive_iou[0]
    numbers = np.r_[np.arange(len(windows)), -1 - np.arange(len(truth))]
    return Candidates(boxes, numbers, positive, label[positive] + 1, negative[~on_unused])


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """The windows of an image that are pooled, those on objects first.

    Attributes:
        rows: int64 `[n]` among the candidates.
        labels: int64 `[n]` classes.
        scales: int64 `[n]` the scale that each is pooled at; 0: by its size.
        flipped: bool `[n]` which are pooled from the mirrored image.
    """

    rows: Integers
    labels: Integers
    scales: Integers
    flipped: Bools


def draw_windows(key: str, found: Candidates, rule: SamplingRule, *, background: bool, flips: bool) -> Draw:
    """Draw an image's sample, by the seed and its key alone.

    All windows on objects are taken, and where images are flipped, both as they are and mirrored; of the background a
    sample, half of it mirrored.

    Args:
        key: The image's key.
        found: Its windows.
        rule: How many, and in which scales.
        background: Whether the image gives background at all.
        flips: Whether some are mirrored.
    """
    rng = np.random.default_rng(derive_seed(rule.seed, "sample", key))
    count = min(rule.negatives_per_image, len(found.background)) if background else 0
    chosen = np.sort(rng.permutation(found.background)[:count])
    copies = 1 + int(flips)
    rows = np.concatenate([*[found.objects] * copies, chosen])
    labels = np.concatenate([*[found.labels] * copies, np.zeros(count, np.int64)])
    flipped = np.zeros(len(rows), bool)
    if flips:
        flipped[len(found.objects) : 2 * len(found.objects)] = True
        flipped[2 * len(found.objects) :] = rng.random(count) < _FLIPPED
    scales = np.zeros(len(rows), np.int64)
    if rule.scales:
        scales = np.array(rule.scales, np.int64)[rng.integers(len(rule.scales), size=len(rows))]
    return Draw(rows, labels, scales, flipped)
