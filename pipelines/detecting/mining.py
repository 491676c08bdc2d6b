"""Hard negatives: what the last round's SVMs take for an object and is none.

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

from pipelines.artifacts.examples import Examples, half_features, make_examples
from pipelines.detecting.best_rows import TopExamples
from pipelines.detecting.negatives import NegativeRule
from pipelines.shards.windowed import LabelledImage
from sppnet.arrays import Bools, Float32s
from sppnet.detection.features import WindowFeatures
from sppnet.detection.mining import HardNegatives, hard_negatives
from sppnet.detection.sampling import svm_negative_mask
from sppnet.detection.svm import LinearSvms

_PENDING_BYTES = 128 << 20
"""Features that wait to be sorted by category, a window counted once for each category."""


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
    _pending: list[tuple[str, HardNegatives, Float32s, npt.NDArray[np.float16]]] = field(default_factory=list)
    _bytes: int = 0

    def add(self, key: str, hard: HardNegatives, boxes: Float32s, features: npt.NDArray[np.float16]) -> None:
        """Add an image's hard negatives.

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
        """Return all that was kept, one a category, categories sorted; within one, images in order."""
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
        """Add an image's hard negatives to what was found; give the numbers of windows and of hard ones."""
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

    def _negatives(self, image: LabelledImage) -> Bools:
        """Tell which window is a negative of which category, bool `[n, k]`."""
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
