"""The best detections of each category over a whole set, in one pass with bounded memory.

R-CNN and the authors' release cap a category's detections over the set, at 40 or 5 times the images: what ranks
lower hardly changes an average precision, and 200 categories x 100 an image are too many to write.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sppnet.arrays import Array, Float32s, Integers
from sppnet.errors import ConfigError, DataError
from sppnet.top_rows import TopRows


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


class TopPerSet:
    """Keeps the best `limit` detections of each category, fed part by part.

    The result does not depend on how the detections were cut into parts or on the parts' order. Among equal scores
    the image comes first that has the lower number, then the values decide, column by column.

    Args:
        limit: detections to keep of each category; None keeps all.
        categories: how many categories there are.
        columns: length of the values that travel with a detection.
    """

    def __init__(self, limit: int | None, categories: int, columns: int) -> None:
        if limit is not None and limit < 1:
            raise ConfigError(f"top-per-set: {limit} detections of a category can't be kept")
        self._none = Ranked(np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros((0, columns), np.float32))
        self._tops = [TopRows(limit, ties=("images", "values")) for _ in range(categories)]
        self._bars = np.full(categories, -np.inf)

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
        open_rows = np.flatnonzero(scores >= self._bars[category])
        order = open_rows[np.argsort(category[open_rows], kind="stable")]
        ends = np.flatnonzero(np.diff(category[order], append=-1)) + 1
        for rows in np.split(order, ends)[:-1]:
            number = int(category[rows[0]])
            columns: dict[str, Array] = {"images": images[rows].astype(np.int64), "values": values[rows]}
            self._tops[number].add(columns, scores[rows].astype(np.float32))
            self._bars[number] = self._tops[number].bar

    def result(self, category: int) -> Ranked:
        """Return the best detections of a category by falling score."""
        top = self._tops[category]
        if not len(top):
            return self._none
        places = top.best_first()
        return Ranked(*(top.column(name)[places] for name in ("images", "priorities", "values")))
