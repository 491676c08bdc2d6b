"""Hard negatives: what the last round's SVMs take for an object and is none.

Mining serves all categories at once: one pooled batch, fc6 and fc7 where wanted, one matrix product for all
categories, and one call each for overlaps with objects and between windows. What is left to do category by category is
done once for many images.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch

from pipelines.artifacts.examples import Examples, half_features
from pipelines.artifacts.stepped_rows import RowType, stored_rows
from pipelines.detecting.best_rows import TopExamples
from pipelines.detecting.negatives import NegativeRule
from pipelines.shards.windowed import LabelledImage
from sppnet.arrays import Array, Bools, Float32s, Integers
from sppnet.detection.features import WindowFeatures
from sppnet.detection.mining import HardNegatives, hard_negatives
from sppnet.detection.sampling import svm_negative_mask
from sppnet.detection.svm import LinearSvms
from sppnet.top_rows import RowsOf

_PENDING_BYTES = 64 << 20
"""Features that wait to be sorted by category; when they are, they are in memory twice."""


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
        self._bytes += features.nbytes
        if self._bytes > _PENDING_BYTES:
            self._flush()

    def joined(self) -> list[Examples]:
        """Return all that was kept, one a category, categories sorted; within one, images in order."""
        self._flush()
        found = {self.categories[index]: top for index, top in self._tops.items()}
        return [found[category].take_whole() for category in sorted(found)]

    def _flush(self) -> None:
        if not self._pending:
            return
        own = [np.unique(found.hard.windows, return_inverse=True) for found in self._pending]
        starts = np.cumsum([0, *(len(distinct) for distinct, _ in own)])
        # By category, within it images in order: each category's rows are slices, its features rows of all there are.
        order = np.argsort(np.concatenate([found.hard.categories for found in self._pending]), kind="stable")

        def column(parts: Iterable[Array]) -> Array:
            return np.concatenate(list(parts))[order]

        categories = column(found.hard.categories for found in self._pending)
        columns = _Columns(
            keys=column(np.full(len(found.hard.windows), found.key, object) for found in self._pending),
            windows=column(found.hard.windows for found in self._pending).astype(np.int32),
            scores=column(found.hard.scores for found in self._pending),
            boxes=column(found.boxes[found.hard.windows] for found in self._pending),
            places=column(places + start for (_, places), start in zip(own, starts[:-1], strict=True)),
            features=np.concatenate([found.features for found in self._pending]),
            steps=_joined_steps(self._pending),
        )
        firsts = np.flatnonzero(np.diff(categories, prepend=-1))
        for start, end in zip(firsts, [*firsts[1:], len(categories)], strict=True):
            index = int(categories[start])
            top = self._tops.setdefault(index, TopExamples(self.categories[index], self.limit))
            columns.add_to(top, self.categories[index], slice(start, end))
        self._pending.clear()
        self._bytes = 0


class _Columns(NamedTuple):
    """Hard negatives of many images, sorted by category.

    Attributes:
        keys: `[n]` of their images.
        windows: `[n]`.
        scores: `[n]`.
        boxes: `[n, 4]`.
        places: `[n]` rows of `features`.
        features: `[m, d]` of the distinct windows.
        steps: `[m]`, where features are bytes.
    """

    keys: Array
    windows: Array
    scores: Float32s
    boxes: Float32s
    places: Integers
    features: Array
    steps: Float32s | None

    def add_to(self, top: TopExamples, category: str, rows: slice) -> None:
        """Add rows to the best of a category."""
        places, scores = self.places[rows], self.scores[rows]
        examples = Examples(
            category=category,
            keys=tuple(self.keys[rows]),
            windows=self.windows[rows],
            scores=scores,
            boxes=self.boxes[rows],
            targets=np.zeros((len(scores), 4), np.float32),
            features=self.features[:0],
            steps=None if self.steps is None else self.steps[places],
        )
        top.add(examples, scores.astype(np.float64), RowsOf(self.features, places))


def _joined_steps(pending: Sequence[_Found]) -> Float32s | None:
    sizes = [found.steps for found in pending if found.steps is not None]
    return np.concatenate(sizes) if sizes else None


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
