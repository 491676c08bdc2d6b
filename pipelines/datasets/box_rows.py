"""Boxes of many images in memory: columns of numbers, by image. A million of them take 60 MB."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sppnet.arrays import Bools, Float64s, Integers


@dataclass(frozen=True, slots=True)
class BoxRows:
    """Boxes, by image and then in the order in which they were given.

    Attributes:
        starts: int64 `[images + 1]`: where each image's rows begin.
        category: int64 `[n]`.
        numbers: float64 `[n, k]` as the file has them.
        crowd: bool `[n]`.
    """

    starts: Integers
    category: Integers
    numbers: Float64s
    crowd: Bools

    def of(self, image: int) -> range:
        """Return the rows of an image, by its number."""
        return range(int(self.starts[image]), int(self.starts[image + 1]))


@dataclass
class BoxColumns:
    """Boxes as they are read, one after another.

    Attributes:
        width: How many numbers each has.
    """

    width: int
    image: array[int] = field(default_factory=lambda: array("q"))
    category: array[int] = field(default_factory=lambda: array("q"))
    crowd: array[int] = field(default_factory=lambda: array("b"))
    numbers: array[float] = field(default_factory=lambda: array("d"))

    def __len__(self) -> int:
        return len(self.image)

    def add(self, image: int, category: int, crowd: bool, numbers: Sequence[float]) -> None:
        """Add a box: numbers of its image and category, and its own."""
        self.image.append(image)
        self.category.append(category)
        self.crowd.append(crowd)
        self.numbers.extend(numbers)

    def row(self, place: int) -> tuple[int, int, bool, list[float]]:
        """Return a box as it was added."""
        numbers = self.numbers[self.width * place : self.width * (place + 1)].tolist()
        return self.image[place], self.category[place], bool(self.crowd[place]), numbers

    @property
    def values(self) -> Float64s:
        """The numbers, float64 `[n, width]`."""
        return np.array(self.numbers, np.float64).reshape(-1, self.width)

    def sorted(self, images: npt.ArrayLike, categories: npt.ArrayLike, count: int) -> BoxRows:
        """Sort the boxes by image.

        Args:
            images: int `[n]`: the image that each is of, from 0; -1 for a box that is left out.
            categories: int `[n]`: its category.
            count: How many images there are.
        """
        owners, kinds = np.asarray(images, np.int64), np.asarray(categories, np.int64)
        order = np.argsort(owners, kind="stable")
        starts = np.searchsorted(owners[order], np.arange(count + 1))
        return BoxRows(starts, kinds[order], self.values[order], np.array(self.crowd, bool)[order])
