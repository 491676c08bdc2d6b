"""What train-svms gathers of an image before there is an SVM: its objects, and some random negatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pipelines.artifacts.examples import Examples, half_features, join_examples, make_examples
from pipelines.artifacts.stepped_rows import RowType, stored_rows
from pipelines.detecting.negatives import RandomNegatives
from pipelines.shards.windowed import LabelledImage
from sppnet.arrays import Array, Integers
from sppnet.detection.features import WindowFeatures

SHARED = ""
"""Group of the random negatives, which serve every category."""


class ExampleGroups:
    """Collects examples by category, in the order in which they come."""

    def __init__(self) -> None:
        self._groups: dict[str, list[Examples]] = {}

    def add(self, groups: Sequence[Examples]) -> None:
        """Add an image's examples."""
        for group in groups:
            if len(group):
                self._groups.setdefault(group.category, []).append(group)

    def joined(self) -> list[Examples]:
        """Return all that was added, one a category, categories sorted."""
        return [join_examples(category, parts) for category, parts in sorted(self._groups.items())]


@dataclass(frozen=True)
class Gatherer:
    """Takes an image's objects, and from images that give negatives some random ones.

    Attributes:
        categories: Names.
        difficult: Whether objects marked difficult are positives.
        features: Of windows.
        negatives: Draws the random negatives; None where images give positives only.
        rows: How features are stored.
    """

    categories: Sequence[str]
    difficult: bool
    features: WindowFeatures
    negatives: RandomNegatives | None
    rows: RowType

    @torch.inference_mode()
    def gather(self, image: LabelledImage, found: ExampleGroups) -> dict[str, float]:
        """Add an image's examples to what was found; give the sum and the number of its negatives' norms."""
        objects = [o for o in image.annotation.objects if o.category in self.categories]
        boxes = np.array([o.box for o in objects], dtype=np.float32).reshape(-1, 4)
        chosen: Integers = np.zeros(0, np.int64)
        if self.negatives is not None:
            chosen = self.negatives.draw(image, boxes, self.features)
        elif not objects:
            return {}
        taken = np.concatenate([boxes, image.windows[chosen]])
        features = self.features(image.maps, image.image_wh, taken)
        values, steps = stored_rows(half_features(features), self.rows)

        def examples(
            category: str, windows: Sequence[int] | Array, scores: Sequence[float] | Array, rows: Array
        ) -> None:
            own = None if steps is None else steps[rows]
            groups.append(make_examples(category, image.key, windows, scores, taken[rows], values[rows], steps=own))

        groups: list[Examples] = []
        for category in dict.fromkeys(o.category for o in objects):
            rows = np.flatnonzero([o.category == category for o in objects])
            # Difficult objects that are no positives are kept all the same: other objects near them are no negatives.
            scores = [float(self.difficult or not objects[i].difficult) for i in rows]
            examples(category, -1 - rows, scores, rows)
        examples(SHARED, chosen, np.zeros(len(chosen)), len(boxes) + np.arange(len(chosen)))
        found.add(groups)
        norms = torch.linalg.vector_norm(features[len(boxes) :].float(), dim=1)
        return {"norm_sum": float(norms.double().sum()), "norm_count": len(norms)}
