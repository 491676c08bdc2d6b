"""Classification: top-1 and top-5 error, accuracy by class, confusion (paper, section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from sppnet.arrays import Integers
from sppnet.errors import ConfigError

TOP = 5


@dataclass(frozen=True, eq=False)
class ClassResult:
    """How well images were classified. Results of parts of a data set add up.

    Attributes:
        labels: The classes, in the order of the scores.
        confusion: `[K, K]` int64: images of each class (row) by the class of the highest score (column).
        in_top5: Images whose class has one of the five highest scores.
    """

    labels: tuple[str, ...]
    confusion: Integers
    in_top5: int

    @classmethod
    def empty(cls, labels: Sequence[str]) -> ClassResult:
        """Return the result of no images."""
        return cls(tuple(labels), np.zeros((len(labels), len(labels)), dtype=np.int64), 0)

    def __add__(self, other: ClassResult) -> ClassResult:
        """Add the images of another result; raise `ConfigError` for one of other classes."""
        check_labels(self.labels, other.labels)
        return ClassResult(self.labels, self.confusion + other.confusion, self.in_top5 + other.in_top5)

    @cached_property
    def images(self) -> int:
        """How many images were judged."""
        return int(self.confusion.sum())

    @property
    def top1_error(self) -> float | None:
        """Fraction of images whose highest score is of another class; None without images."""
        return 1 - int(self.confusion.trace()) / self.images if self.images else None

    @property
    def top5_error(self) -> float | None:
        """Fraction of images whose class is not among the five highest; None without images or a sixth class."""
        return 1 - self.in_top5 / self.images if self.images and len(self.labels) > TOP else None

    @property
    def accuracies(self) -> dict[str, float | None]:
        """Fraction of each class's images that are right; None for a class without images."""
        right, total = self.confusion.diagonal().tolist(), self.confusion.sum(axis=1).tolist()
        rows = zip(self.labels, right, total, strict=True)
        return {label: hits / count if count else None for label, hits, count in rows}

    @property
    def mean_accuracy(self) -> float | None:
        """Mean of the accuracies of the classes that have images, each counting the same; None without any."""
        found = [value for value in self.accuracies.values() if value is not None]
        return float(np.mean(found)) if found else None

    @property
    def figures(self) -> dict[str, float | None]:
        """The figures by name: `top1_error`, `top5_error`, `mean_accuracy`, all 0..1."""
        return {
            "top1_error": self.top1_error,
            "top5_error": self.top5_error,
            "mean_accuracy": self.mean_accuracy,
        }


def judge(scores: ArrayLike, truth: ArrayLike, labels: Sequence[str]) -> ClassResult:
    """Judge class scores. Of equal scores the class that comes first ranks higher.

    Args:
        scores: `[n, K]`, finite, the higher the likelier.
        truth: `[n]` int, the images' classes as indices into `labels`.
        labels: The K classes.

    Raises:
        ValueError: Arrays of other shapes, or a class out of range.
    """
    values = np.asarray(scores, dtype=np.float64).reshape(-1, len(labels))
    classes = np.asarray(truth, dtype=np.int64)
    if classes.shape != (len(values),):
        raise ValueError(f"{len(values)} rows of scores need as many classes, not {list(classes.shape)}")
    if len(classes) and not (classes.min() >= 0 and classes.max() < len(labels)):
        raise ValueError(f"classes must be in 0..{len(labels) - 1}")
    own = values[np.arange(len(values)), classes][:, None]
    earlier = np.arange(len(labels)) < classes[:, None]
    rank = ((values > own) | ((values == own) & earlier)).sum(axis=1)
    confusion = np.zeros((len(labels), len(labels)), dtype=np.int64)
    np.add.at(confusion, (classes, values.argmax(axis=1)), 1)
    return ClassResult(tuple(labels), confusion, int((rank < TOP).sum()))


def check_labels(first: Sequence[str], other: Sequence[str], names: tuple[str, str] = ("one", "another")) -> None:
    """Raise `ConfigError` naming the first label in which two networks differ."""
    if tuple(first) == tuple(other):
        return
    if len(first) != len(other):
        raise ConfigError(f"{names[0]} tells {len(first)} classes apart, {names[1]} {len(other)}: they don't compare")
    place = next(i for i, (a, b) in enumerate(zip(first, other, strict=True)) if a != b)
    raise ConfigError(
        f"class {place} is '{first[place]}' for {names[0]} and '{other[place]}' for {names[1]}: they don't compare"
    )


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over several networks, such as one recipe at several seeds.

    Attributes:
        mean: Mean over the networks.
        deviation: Sample standard deviation (n - 1); None for a single network.
    """

    mean: float
    deviation: float | None


def spread(values: Sequence[float | None]) -> Spread | None:
    """Return the mean and deviation of one figure over networks; None if a network does not have it."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    return Spread(float(np.mean(known)), float(np.std(known, ddof=1)) if len(known) > 1 else None)
