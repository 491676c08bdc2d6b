"""How large a category's training set may become, and the memory that its making takes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipelines.artifacts.stepped_rows import RowType, row_bytes
from sppnet.top_rows import SLACK


@dataclass(frozen=True, slots=True)
class SetLimits:
    """How many rows of each kind a category trains on at most.

    Attributes:
        positives: Objects of the category; None takes all.
        random: Random negatives.
        objects: Objects of other categories.
        hard: Mined negatives, of all rounds together.
    """

    positives: int | None
    random: int
    objects: int
    hard: int

    def rows(self, images: int, random: int, hard: int | None, positive_images: int = 0) -> int:
        """Return about how many rows there are at most, with ten objects an image, one of them of the category.

        Args:
            images: Images of the split that gives negatives.
            random: Random negatives of an image.
            hard: Mined negatives of an image, of all rounds together; None if there is no limit.
            positive_images: Images of the splits that give positives only.
        """
        positives = images + positive_images
        if self.positives is not None:
            positives = min(self.positives, positives)
        mined = self.hard if hard is None else min(self.hard, hard * images)
        return positives + min(self.random, random * images) + min(self.objects, 10 * images) + mined


def solve_bytes(rows: int, dimension: int, kind: RowType) -> int:
    """Return a solve's peak memory in bytes: rows as they are stored and as float32 to solve.

    A shard's examples, of which two are at hand at a time, come on top.

    Args:
        rows: Of the training set.
        dimension: Of a feature.
        kind: How rows are stored.
    """
    return math.ceil(rows * dimension * (row_bytes(kind) * SLACK + 4))


def mine_bytes(categories: int, limit: int, dimension: int, kind: RowType) -> int:
    """Return peak memory of a mined shard's examples in bytes: as they are kept, copied by category, and encoded.

    Args:
        categories: Their number.
        limit: Examples of a category and shard.
        dimension: Of a feature.
        kind: How rows are stored.
    """
    return math.ceil(categories * limit * dimension * row_bytes(kind) * (SLACK + 2))
