"""Recall of proposals: how many objects some of the first windows of an image overlap (Hosang et al., PAMI 2016)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from sppnet.arrays import Float64s, Integers
from sppnet.boxes import iou_matrix
from sppnet.errors import ConfigError

IOUS = tuple(step / 100 for step in range(50, 101, 5))
"""0.5, 0.55 ... 1.0."""
COUNTS = (10, 20, 50, 100, 200, 500, 1000, 2000)
"""Numbers of first windows that recall is measured at."""


def best_overlaps(objects: ArrayLike, windows: ArrayLike, counts: Sequence[int | None]) -> Float64s:
    """Return the best IoU of each object with some of the first windows.

    Args:
        objects: `[m, 4]` pixels.
        windows: `[n, 4]` pixels, the best first.
        counts: how many of the first windows are looked at; None for all.

    Returns:
        float64 `[m, len(counts)]`, 0 where there is no window.
    """
    overlaps = iou_matrix(objects, windows)
    return np.stack([overlaps[:, :count].max(axis=1, initial=0.0) for count in counts], axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class RecallSums:
    """Recall of some objects, in a form that can be added.

    Attributes:
        objects: How many there are.
        hits: int64 `[counts, ious]`: objects that a window overlaps by at least each IoU.
        excess: float64 `[counts]`: sums of what their best IoUs are above 0.5.
    """

    objects: int
    hits: Integers
    excess: Float64s

    @classmethod
    def of(cls, overlaps: Float64s, ious: Sequence[float]) -> RecallSums:
        """Count what `best_overlaps` gave for some objects: `[m, counts]`."""
        hits = (overlaps[:, :, None] >= np.asarray(ious)).sum(axis=0)
        excess = [math.fsum(column) for column in np.maximum(overlaps - 0.5, 0.0).T]
        return cls(len(overlaps), hits.astype(np.int64), np.array(excess))

    @classmethod
    def added(cls, parts: Sequence[RecallSums]) -> RecallSums:
        """Add several parts; raise `ConfigError` where there is none."""
        if not parts:
            raise ConfigError("recall: nothing to add")
        excess = [math.fsum(column) for column in np.stack([part.excess for part in parts]).T]
        hits = np.sum([part.hits for part in parts], axis=0)
        return cls(sum(part.objects for part in parts), hits, np.array(excess))

    def recall(self) -> Float64s:
        """Return the recall `[counts, ious]`; NaN without objects."""
        return self._shares(self.hits)

    def average_recall(self) -> Float64s:
        """Return twice the area under recall against IoU from 0.5 to 1, `[counts]`; NaN without objects."""
        return 2 * self._shares(self.excess)

    def _shares(self, values: Integers | Float64s) -> Float64s:
        return values / self.objects if self.objects else np.full(values.shape, np.nan)
