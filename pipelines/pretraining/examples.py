"""What pre-training's crops are cut from: a shard's examples as its index lists them, and the order of an epoch.

Which examples a step takes depends on (seed, step) alone: every epoch goes through the shards in a permuted order, a
group of shards at a time, and through the group's examples in a permuted order. So a worker needs only the shards of
one group at hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from pipelines.artifacts.annotations import Box, ImageAnnotation
from pipelines.engine.codec import decode, encode
from sppnet.seeds import derive_seed

SampleView = Literal["crop", "object", "image"]
Classes = Literal["subcategory", "subcategory-only", "category"]


@dataclass(frozen=True, slots=True)
class CropExample:
    """What one training sample is cut from.

    Attributes:
        unit: The image's shard.
        key: The image's key.
        label: Its class.
        box: The object, pixels of the stored image; the whole image for the view `image`.
    """

    unit: str
    key: str
    label: str
    box: Box


def examples_of(
    annotation: ImageAnnotation, view: SampleView, *, difficult: bool, classes: Classes = "subcategory"
) -> list[tuple[str, Box]]:
    """Return labels and boxes that an image offers.

    For the view `image` that is one, if all its objects are of one class, or else none.

    Args:
        annotation: The image's.
        view: What a sample shows.
        difficult: Whether objects marked difficult count.
        classes: `subcategory`: an object's subcategory, or its category where it has none; `subcategory-only`: an
            object without a subcategory is no example; `category`: its category.
    """
    things = [thing for thing in annotation.objects if difficult or not thing.difficult]
    if classes == "subcategory-only":
        things = [thing for thing in things if thing.subcategory is not None]
    fine = classes != "category"
    found = [((thing.subcategory if fine else None) or thing.category, thing.box) for thing in things]
    if view != "image":
        return found
    labels = {label for label, _ in found}
    whole = (0.0, 0.0, float(annotation.width), float(annotation.height))
    return [(label, whole) for label in labels] if len(labels) == 1 else []


@dataclass(frozen=True, slots=True)
class _Index:
    unit: str
    examples: tuple[tuple[str, str, Box], ...]


def encode_index(unit: str, examples: Iterable[CropExample]) -> bytes:
    """Encode a shard's examples."""
    return encode(_Index(unit, tuple((example.key, example.label, example.box) for example in examples)))


def decode_index(data: bytes, where: str) -> list[CropExample]:
    """Decode a shard's examples; raise `ArtifactError` naming `where` if the bytes are something else."""
    index = decode(_Index, data, where)
    return [CropExample(index.unit, key, label, box) for key, label, box in index.examples]


class EpochOrder:
    """The order in which examples are taken, epoch after epoch, for ever.

    Args:
        examples: All of them.
        group: How many shards are mixed.
        seed: Of the order.

    Attributes:
        size: How many examples an epoch has.
    """

    def __init__(self, examples: Sequence[CropExample], group: int, seed: int) -> None:
        self._shards: dict[str, list[CropExample]] = {}
        for example in examples:
            self._shards.setdefault(example.unit, []).append(example)
        self._units = list(self._shards)  # in the order of the manifest, whatever the shards are called
        self._group = group
        self._seed = seed
        self.size = len(examples)
        self._epoch = lru_cache(maxsize=2)(self._order)

    def take(self, start: int, count: int) -> list[CropExample]:
        """Return the examples from a place of the endless sequence on."""
        return [self._epoch(place // self.size)[place % self.size] for place in range(start, start + count)]

    def _order(self, epoch: int) -> list[CropExample]:
        rng = np.random.default_rng(derive_seed(self._seed, "epoch", epoch))
        units = [self._units[i] for i in rng.permutation(len(self._units))]
        ordered: list[CropExample] = []
        for start in range(0, len(units), self._group):
            pool = [example for unit in units[start : start + self._group] for example in self._shards[unit]]
            ordered += [pool[i] for i in rng.permutation(len(pool))]
        return ordered
