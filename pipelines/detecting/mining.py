"""Hard negatives: what the last round's SVMs take for an object and is none.

Mining serves all categories at once: one pooled batch, fc6 and fc7 where wanted, one matrix product for all
categories, and one call each for overlaps with objects and between windows. What is left to do category by category is
done once for many images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch

from pipelines.artifacts.examples import Examples, half_features, make_examples
from pipelines.artifacts.stepped_rows import RowType, stored_rows
from pipelines.detecting.best_rows import TopExamples
from pipelines.detecting.negatives import NegativeRule
from pipelines.shards.windowed import LabelledImage
from sppnet.arrays import Array, Bools, Float32s, Integers
from sppnet.detection.features import WindowFeatures
from sppnet.detection.mining import HardNegatives, hard_negatives
from sppnet.detection.sampling import svm_negative_mask
from sppnet.detection.svm import LinearSvms

_PENDING_BYTES = 128 << 20
"""Features that wait to be sorted by category, a window counted once for each category."""


class _Found(NamedTuple):
    """An image's hard negatives, see `HardExamples.add`."""

    key: str
    hard: HardNegatives
    boxes: Float32s
    features: Array
    steps: Float32s | None


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
    _pending: list[_Found] = field(default_factory=list)
    _bytes: int = 0

    def add(
        self, key: str, hard: HardNegatives, boxes: Float32s, features: Array, steps: Float32s | None = None
    ) -> None:
        """Add an image's hard negatives.

        Args:
            key: The image's.
            hard: Windows by category.
            boxes: `[n, 4]` all the image's windows, pixels.
            features: `[r, d]` of the distinct windows among the hard ones, rising, as they are stored.
            steps: `[r]` where features are bytes.
        """
        if not len(hard.windows):
            return
        self._pending.append(_Found(key, hard, boxes, features, steps))
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
        for key, hard, boxes, features, steps in self._pending:
            distinct, places = np.unique(hard.windows, return_inverse=True)
            own = boxes[distinct]
            starts = np.flatnonzero(np.diff(hard.categories, prepend=-1))
            for start, end in zip(starts, [*starts[1:], len(places)], strict=True):
                rows, windows = places[start:end], hard.windows[start:end]
                index = int(hard.categories[start])
                name, scores = self.categories[index], hard.scores[start:end]
                sizes = None if steps is None else steps[rows]
                made = make_examples(name, key, windows, scores, own[rows], features[rows], steps=sizes)
                parts.setdefault(index, []).append(made)
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
        rows: How features are stored.
    """

    rule: NegativeRule
    features: WindowFeatures
    svms: LinearSvms
    rows: RowType

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
        chosen, steps = self._stored(values, np.unique(hard.windows))
        found.add(image.key, hard, image.windows, chosen, steps)
        return {"windows": len(image.windows), "hard": len(hard.windows)}

    def _stored(self, values: torch.Tensor, chosen: Integers) -> tuple[Array, Float32s | None]:
        """Return chosen rows as they are stored."""
        if values.device.type == "cpu" and values.dtype == torch.float16:  # rounded where they lie, without a copy
            return stored_rows(half_features(values), self.rows, chosen)
        return stored_rows(half_features(values[torch.from_numpy(chosen).to(values.device)]), self.rows)

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
