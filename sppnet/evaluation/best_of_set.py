"""The best detections of each category over a whole set, in one pass with bounded memory.

R-CNN and the authors' release cap a category's detections over the set, at 40 or 5 times the images: what ranks
lower hardly changes an average precision, and 200 categories x 100 an image are too many to write.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sppnet.arrays import Bools, Float32s, Integers
from sppnet.errors import ConfigError, DataError


@dataclass(frozen=True)
class Ranked:
    """Detections of one category.

    Attributes:
        images: int64 `[n]`.
        scores: float32 `[n]`.
        values: float32 `[n, d]`, what travels along: boxes.
    """

    images: Integers
    scores: Float32s
    values: Float32s

    def __len__(self) -> int:
        return len(self.images)

    def select(self, rows: Integers | Bools) -> Ranked:
        """Return the detections at an index array or mask."""
        return Ranked(self.images[rows], self.scores[rows], self.values[rows])

    def order(self) -> Integers:
        """Return indices by falling score; among equal scores by image, then by the values, column by column."""
        order = np.lexsort((self.images, -self.scores))
        scores, images = self.scores[order], self.images[order]
        if not ((scores[1:] == scores[:-1]) & (images[1:] == images[:-1])).any():
            return order  # almost always, and many times faster
        return np.lexsort((*self.values.T[::-1], self.images, -self.scores))

    @classmethod
    def joined(cls, parts: list[Ranked]) -> Ranked:
        """Put parts behind one another."""
        return cls(
            np.concatenate([part.images for part in parts]),
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.values for part in parts]),
        )


class TopPerSet:
    """Keeps the best `limit` detections of each category, fed part by part.

    The result does not depend on how the detections were cut into parts or on the parts' order. At most twice
    `limit` detections a category, and one part, are in memory.

    Args:
        limit: detections to keep of each category.
        categories: how many categories there are.
        columns: length of the values that travel with a detection.
    """

    def __init__(self, limit: int, categories: int, columns: int) -> None:
        if limit < 1:
            raise ConfigError(f"top-per-set: {limit} detections of a category can't be kept")
        self.limit = limit
        none = Ranked(np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros((0, columns), np.float32))
        self._parts: list[list[Ranked]] = [[none] for _ in range(categories)]
        self._held = np.zeros(categories, dtype=np.int64)
        self._floor = np.full(categories, -np.inf, dtype=np.float32)

    def add(
        self,
        category: NDArray[np.integer],
        images: NDArray[np.integer],
        scores: Float32s,
        values: Float32s,
    ) -> None:
        """Take a part into account.

        Args:
            category: `[n]`, `0..categories - 1`.
            images: `[n]` numbers of the images in the order that breaks ties.
            scores: `[n]`.
            values: `[n, d]`.

        Raises:
            DataError: a score is not a number.
        """
        if np.isnan(scores).any():
            raise DataError("nan-scores", f"{int(np.isnan(scores).sum())} of {len(scores)} scores")
        open_rows = np.flatnonzero(scores >= self._floor[category])
        order = open_rows[np.argsort(category[open_rows], kind="stable")]
        ends = np.flatnonzero(np.diff(category[order], append=-1)) + 1
        for rows in np.split(order, ends)[:-1]:
            own = Ranked(images[rows].astype(np.int64), scores[rows].astype(np.float32), values[rows])
            self._put(int(category[rows[0]]), own)

    def _put(self, category: int, part: Ranked) -> None:
        self._parts[category].append(part)
        self._held[category] += len(part)
        if self._held[category] > 2 * self.limit:
            kept = self._best(Ranked.joined(self._parts[category]))
            self._parts[category] = [kept]
            self._held[category] = len(kept)
            self._floor[category] = kept.scores.min()

    def _best(self, found: Ranked) -> Ranked:
        """Return the best `limit`, unordered; only those tied with the last of them need to be ordered."""
        if len(found) <= self.limit:
            return found
        last = np.partition(found.scores, len(found) - self.limit)[len(found) - self.limit]
        above = np.flatnonzero(found.scores > last)
        tied = np.flatnonzero(found.scores == last)
        chosen = tied[found.select(tied).order()[: self.limit - len(above)]]
        return found.select(np.concatenate([above, chosen]))

    def result(self, category: int) -> Ranked:
        """Return the best detections of a category, in the order of `Ranked.order`."""
        best = self._best(Ranked.joined(self._parts[category]))
        return best.select(best.order())
