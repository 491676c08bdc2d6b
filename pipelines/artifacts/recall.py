"""What a `recall` artifact holds: sums of objects found, a unit a shard, and the curves of all shards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sppnet.evaluation.recall import RecallSums

UNIT = "recall"
"""The unit that joins all shards' sums."""


@dataclass(frozen=True, slots=True)
class CategorySums:
    """The sums of a shard's objects of one category.

    Attributes:
        objects: How many.
        hits: `[counts][ious]` how many of them the first windows overlap so much.
        excess: `[counts]` sums of overlaps above the first IoU.
    """

    objects: int
    hits: tuple[tuple[int, ...], ...]
    excess: tuple[float, ...]

    @classmethod
    def of(cls, sums: RecallSums) -> CategorySums:
        """Return sums as they are stored."""
        return cls(sums.objects, tuple(map(tuple, sums.hits.tolist())), tuple(sums.excess.tolist()))

    def sums(self) -> RecallSums:
        """Return the inverse of `of`."""
        return RecallSums(self.objects, np.array(self.hits), np.array(self.excess))


@dataclass(frozen=True, slots=True)
class ShardRow:
    """What one step's windows find in a shard.

    Attributes:
        images: Images with windows.
        windows: Windows of all of them.
        categories: Sums by category.
    """

    images: int
    windows: int
    categories: Mapping[str, CategorySums]


@dataclass(frozen=True, slots=True)
class ShardSums:
    """What the windows of all steps find in a shard.

    Attributes:
        images: Its images, with windows or without.
        difficult: Objects that are left out.
        rows: One a step.
    """

    images: int
    difficult: int
    rows: tuple[ShardRow, ...]
