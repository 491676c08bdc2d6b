"""The inner steps of train-svms: an image's objects and random negatives, and its hard negatives.

Mining serves all categories at once: one pooled batch, fc6 and fc7 where wanted, one matrix product for all
categories, and one call each for overlaps with objects and between windows. What is left to do category by category is
done once for many images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from pipelines.artifacts.examples import Examples
from pipelines.detecting.best_rows import TopExamples
from pipelines.detecting.gathering import ExampleGroups, half_features, make_examples
from pipelines.detecting.training_sets import SHARED
from pipelines.shards.windowed import LabelledImage, WindowedImage
from sppnet.detection.features import WindowFeatures
from sppnet.detection.mining import (
    Dedupe,
    HardNegatives,
    first_responses,
    hard_negatives,
    initial_negatives,
    name_fraction,
)
from sppnet.detection.sampling import svm_negative_mask, svm_negatives
from sppnet.detection.svm import LinearSvms
from sppnet.seeds import derive_seed

_PENDING_BYTES = 128 << 20
"""Features that wait to be sorted by category, a window counted once for each category."""
Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


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

    def free(self, image: WindowedImage, objects: Floats, features: WindowFeatures) -> Integers:
        """The windows that are negatives of every category with objects there, rising."""
        found = svm_negatives(
            image.windows, objects, max_iou=self.max_iou, inclusive=not self.strict, dedupe_iou=self.max_overlap
        )
        return found[self.distinct(image, features)[found]]

    def distinct(self, image: WindowedImage, features: WindowFeatures) -> npt.NDArray[np.bool_]:
        """The windows that are no earlier window's double, under `response-box`; all of them otherwise."""
        if self.dedupe != "response-box":
            return np.ones(len(image.windows), dtype=bool)
        hw = image.image_wh[::-1]
        return first_responses(image.windows, hw, features.scales, features.geometry, features.convention)


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

    def draw(self, image: WindowedImage, objects: Floats, features: WindowFeatures) -> Integers:
        """Windows of an image, rising.

        Args:
            image: The image.
            objects: `[m, 4]` objects that no negative may lie on, pixels.
            features: Of windows; tell which are doubles.
        """
        free = self.rule.free(image, objects, features)
        rng = np.random.default_rng(derive_seed(self.seed, self.stage, image.key))
        drawn = free[initial_negatives(len(free), self.per_image, rng)]
        return drawn[[name_fraction(self.seed, image.key, int(window)) < self.fraction for window in drawn]]


@dataclass(frozen=True)
class Gatherer:
    """Takes an image's objects, and from images that give negatives some random ones.

    Attributes:
        categories: Names.
        difficult: Whether objects marked difficult are positives.
        features: Of windows.
        negatives: Draws the random negatives; None where images give positives only.
    """

    categories: Sequence[str]
    difficult: bool
    features: WindowFeatures
    negatives: RandomNegatives | None

    @torch.inference_mode()
    def gather(self, image: LabelledImage, found: ExampleGroups) -> dict[str, float]:
        """Adds an image's examples to what was found; gives the sum and the number of its negatives' norms."""
        objects = [o for o in image.annotation.objects if o.category in self.categories]
        boxes = np.array([o.box for o in objects], dtype=np.float32).reshape(-1, 4)
        chosen: Integers = np.zeros(0, np.int64)
        if self.negatives is not None:
            chosen = self.negatives.draw(image, boxes, self.features)
        elif not objects:
            return {}
        features = self.features(image.maps, image.image_wh, np.concatenate([boxes, image.windows[chosen]]))
        values = half_features(features)
        groups: list[Examples] = []
        for category in dict.fromkeys(o.category for o in objects):
            rows = [i for i, o in enumerate(objects) if o.category == category]
            # Difficult objects that are no positives are kept all the same: other objects near them are no negatives.
            scores = [float(self.difficult or not objects[i].difficult) for i in rows]
            groups.append(make_examples(category, image.key, [-1 - i for i in rows], scores, boxes[rows], values[rows]))
        negatives = values[len(boxes) :]
        groups.append(make_examples(SHARED, image.key, chosen, np.zeros(len(chosen)), image.windows[chosen], negatives))
        found.add(groups)
        norms = torch.linalg.vector_norm(features[len(boxes) :].float(), dim=1)
        return {"norm_sum": float(norms.double().sum()), "norm_count": len(norms)}


@dataclass
class HardExamples:
    """Collects a shard's hard negatives, of each category the hardest, with bounded memory.

    Attributes:
        categories: Names.
        limit: At most so many a category.
    """

    categories: Sequence[str]
    limit: int
    _tops: dict[int, TopExamples] = field(default_factory=dict)
    _pending: list[tuple[str, HardNegatives, Floats, npt.NDArray[np.float16]]] = field(default_factory=list)
    _bytes: int = 0

    def add(self, key: str, hard: HardNegatives, boxes: Floats, features: npt.NDArray[np.float16]) -> None:
        """Adds an image's hard negatives.

        Args:
            key: The image's.
            hard: Windows by category.
            boxes: `[n, 4]` all the image's windows, pixels.
            features: `[r, d]` of the distinct windows among the hard ones, rising.
        """
        if not len(hard.windows):
            return
        self._pending.append((key, hard, boxes, features))
        self._bytes += len(hard.windows) * features.shape[1] * features.itemsize
        if self._bytes > _PENDING_BYTES:
            self._flush()

    def joined(self) -> list[Examples]:
        """All that was kept, one a category, categories sorted; within one, images in order."""
        self._flush()
        found = {self.categories[index]: top for index, top in self._tops.items()}
        return [found[category].take_whole() for category in sorted(found)]

    def _flush(self) -> None:
        parts: dict[int, list[Examples]] = {}
        for key, hard, boxes, features in self._pending:
            distinct, places = np.unique(hard.windows, return_inverse=True)
            own = boxes[distinct]
            starts = np.flatnonzero(np.diff(hard.categories, prepend=-1))
            for start, end in zip(starts, [*starts[1:], len(places)], strict=True):
                rows, windows = places[start:end], hard.windows[start:end]
                index = int(hard.categories[start])
                name, scores = self.categories[index], hard.scores[start:end]
                parts.setdefault(index, []).append(make_examples(name, key, windows, scores, own[rows], features[rows]))
        for index, found in parts.items():
            top = self._tops.setdefault(index, TopExamples(self.categories[index], self.limit))
            for part in found:
                top.add(part, part.scores.astype(np.float64))
        self._pending.clear()
        self._bytes = 0


@dataclass(frozen=True)
class Miner:
    """Finds hard negatives.

    Attributes:
        rule: Which windows are hard negatives.
        features: Of windows.
        svms: Of the last round, all categories.
    """

    rule: NegativeRule
    features: WindowFeatures
    svms: LinearSvms

    @torch.inference_mode()
    def mine(self, image: LabelledImage, found: HardExamples) -> dict[str, float]:
        """Adds an image's hard negatives to what was found; gives the numbers of windows and of hard ones."""
        values = self.features(image.maps, image.image_wh, image.windows)
        scores = np.asarray(self.svms.scores(values).cpu())
        rule = self.rule
        hard = hard_negatives(
            scores,
            self._negatives(image),
            rule.threshold,
            rule.per_image,
            boxes=image.windows,
            max_overlap=rule.max_overlap,
        )
        rows = np.unique(hard.windows)
        chosen = values[torch.from_numpy(rows).to(values.device)]
        found.add(image.key, hard, image.windows, half_features(chosen))
        return {"windows": len(image.windows), "hard": len(hard.windows)}

    def _negatives(self, image: LabelledImage) -> npt.NDArray[np.bool_]:
        """Which window is a negative of which category, bool `[n, k]`."""
        names = {category: index for index, category in enumerate(self.svms.categories)}
        objects = [thing for thing in image.annotation.objects if thing.category in names]
        mask = svm_negative_mask(
            image.windows,
            [thing.box for thing in objects],
            [names[thing.category] for thing in objects],
            len(names),
            max_iou=self.rule.max_iou,
            inclusive=not self.rule.strict,
            dedupe_iou=None,
        )
        if self.rule.dedupe == "response-box":
            mask &= self.rule.distinct(image, self.features)[:, None]
        return mask
