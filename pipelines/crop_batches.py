"""Pre-training's batches: crops of images, each with the class of the object that it shows.

Which examples a step takes depends on (seed, step) alone: every epoch goes through the shards in a permuted order, a
group of shards at a time, and through the group's examples in a permuted order. So a worker needs only the shards of
one group at hand.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipelines.datasets.annotations import Box, ImageAnnotation
from pipelines.fingerprint import canonical_json
from pipelines.shards import decode_record, read_images
from pipelines.tars import ImageRecord
from pipelines.workspace import Artifact
from sppnet.augment import ColourJitter, TrainingCrops, resize_short_side
from sppnet.errors import ArtifactError
from sppnet.seeds import derive_seed

View = Literal["crop", "object", "image"]
Pixels = npt.NDArray[np.uint8]

_AHEAD = 3
_COLOUR_IMAGES, _COLOUR_PIXELS = 32, 500


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


def examples_of(annotation: ImageAnnotation, view: View, *, difficult: bool) -> list[tuple[str, Box]]:
    """Labels and boxes that an image offers: its subcategories, or its categories where it has none.

    For the view `image` that is one, if all its objects are of one class, or else none.
    """
    found = [
        (thing.subcategory or thing.category, thing.box)
        for thing in annotation.objects
        if difficult or not thing.difficult
    ]
    if view != "image":
        return found
    labels = {label for label, _ in found}
    whole = (0.0, 0.0, float(annotation.width), float(annotation.height))
    return [(label, whole) for label in labels] if len(labels) == 1 else []


def encode_index(unit: str, examples: Iterable[CropExample]) -> bytes:
    """Encodes a shard's examples."""
    rows = [[example.key, example.label, list(example.box)] for example in examples]
    return canonical_json({"unit": unit, "examples": rows}).encode()


def decode_index(data: bytes, where: str) -> list[CropExample]:
    """Decodes a shard's examples; raises `ArtifactError` naming `where` if the bytes are something else."""
    try:
        body = json.loads(data)
        return [CropExample(body["unit"], key, label, tuple(box)) for key, label, box in body["examples"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{where}: not an index of examples ({error})") from error


class EpochOrder:
    """The order in which examples are taken, epoch after epoch, for ever."""

    def __init__(self, examples: Sequence[CropExample], group: int, seed: int) -> None:
        self._shards: dict[str, list[CropExample]] = {}
        for example in examples:
            self._shards.setdefault(example.unit, []).append(example)
        self._units = sorted(self._shards)
        self._group = group
        self._seed = seed
        self.size = len(examples)
        self._epoch = lru_cache(maxsize=2)(self._order)

    def take(self, start: int, count: int) -> list[CropExample]:
        """The examples from a place of the endless sequence on."""
        return [self._epoch(place // self.size)[place % self.size] for place in range(start, start + count)]

    def _order(self, epoch: int) -> list[CropExample]:
        rng = np.random.default_rng(derive_seed(self._seed, "epoch", epoch))
        units = [self._units[i] for i in rng.permutation(len(self._units))]
        ordered: list[CropExample] = []
        for start in range(0, len(units), self._group):
            pool = [example for unit in units[start : start + self._group] for example in self._shards[unit]]
            ordered += [pool[i] for i in rng.permutation(len(pool))]
        return ordered


class ImageCache:
    """Decoded images, the least lately used dropped first.

    Args:
        images: The images artifact.
        short_side: What images are resized to, or None to keep them as stored.
        max_bytes: Bound on the decoded pixels.
        shards: How many shards' encoded bytes are kept.
    """

    def __init__(self, images: Artifact, short_side: int | None, max_bytes: int, shards: int) -> None:
        self._images = images
        self._short_side = short_side
        self._max_bytes = max_bytes
        self._bytes = 0
        self._decoded: OrderedDict[tuple[str, str], tuple[Pixels, tuple[int, int]]] = OrderedDict()
        self._records = lru_cache(maxsize=shards)(self._read)

    def get(self, unit: str, key: str) -> tuple[Pixels, tuple[int, int]]:
        """The image, RGB `[H, W, 3]`, and the width and height of the stored one."""
        name = (unit, key)
        if name in self._decoded:
            self._decoded.move_to_end(name)
            return self._decoded[name]
        record = self._records(unit)[key]
        image = decode_record(record)
        if self._short_side is not None:
            image = resize_short_side(image, self._short_side)
        self._decoded[name] = image, (record.annotation.width, record.annotation.height)
        self._bytes += image.nbytes
        while self._bytes > self._max_bytes and len(self._decoded) > 1:
            self._bytes -= self._decoded.popitem(last=False)[1][0].nbytes
        return self._decoded[name]

    def _read(self, unit: str) -> Mapping[str, ImageRecord]:
        return {record.key: record for record in read_images(self._images, unit)[0]}


@dataclass(frozen=True, slots=True)
class Cutter:
    """Cuts a sample out of an image.

    Attributes:
        view: `crop`: a crop of fixed size that overlaps the object (section 4.4); `object`: the square around the
            object with some context, resized; `image`: a crop of the whole image (section 3.1.1).
        crops: Sizes, flips and colours.
        min_overlap: Least part of the object inside a `crop`.
        context: Side of an `object`'s square over the object's longer side: drawn from this range.
        shift: How far an `object`'s square is moved at most, over its side.
    """

    view: View
    crops: TrainingCrops
    min_overlap: float
    context: tuple[float, float]
    shift: float

    def cut(self, image: Pixels, box: Box, rng: np.random.Generator) -> Pixels:
        """One random sample `[n, n, 3]`; `box` is in the pixels of `image`."""
        if self.view == "image":
            return self.crops.sample(image, rng)
        if self.view == "crop":
            found = self.crops.sample_around(image, box, rng, min_overlap=self.min_overlap)
            # An object larger than any crop: none holds so much of it.
            return self.crops.finish(centre_crop(image, box, self.crops.size), rng) if found is None else found
        context = rng.uniform(*self.context)
        moved = rng.uniform(-self.shift, self.shift, 2)
        return self.crops.finish(square_around(image, box, context, (moved[0], moved[1])), rng)

    def cut_centre(self, image: Pixels, box: Box) -> Pixels:
        """The sample to measure on: in the middle, neither flipped nor recoloured."""
        plain = replace(self.crops, flip=False, colour=None)
        if self.view == "object":
            middle = sum(self.context) / 2
            return plain.finish(square_around(image, box, middle, (0.0, 0.0)), np.random.default_rng(0))
        return plain.finish(centre_crop(image, box, plain.size), np.random.default_rng(0))


def square_around(image: Pixels, box: Box, context: float, moved: tuple[float, float]) -> Pixels:
    """The square of `context` times the box's longer side around it, moved by parts of its side, inside the image.

    Where it would leave the image it is pushed back in; where it does not fit, it is cut to a rectangle.
    """
    side = max(box[2] - box[0], box[3] - box[1]) * context
    spans = []
    for axis, limit in ((0, image.shape[1]), (1, image.shape[0])):
        length = min(max(2, round(side)), limit)
        start = (box[axis] + box[axis + 2]) / 2 + moved[axis] * side - length / 2
        low = int(np.clip(round(start), 0, limit - length))
        spans.append(slice(low, low + length))
    return image[spans[1], spans[0]]


def centre_crop(image: Pixels, box: Box, size: int) -> Pixels:
    """The square crop whose centre is nearest to the box's; the image's sides are at least `size`."""
    left, top = (
        int(np.clip(round((box[axis] + box[axis + 2] - size) / 2), 0, limit - size))
        for axis, limit in ((0, image.shape[1]), (1, image.shape[0]))
    )
    return image[top : top + size, left : left + size]


class CropBatches:
    """A worker's slices of all batches, some steps ahead on a thread.

    Args:
        order: Which examples follow one another.
        cache: The images.
        cutters: One per network size; epochs take turns with them (section 2.3).
        labels: The classes, in the order of the network's outputs.
        batch: Examples of a batch over all workers.
        steps: Steps of the whole training.
        worker: This worker's rank, and how many there are.
        seed: Of the crops.
    """

    def __init__(
        self,
        order: EpochOrder,
        cache: ImageCache,
        cutters: Sequence[Cutter],
        labels: Sequence[str],
        *,
        batch: int,
        steps: int,
        worker: tuple[int, int],
        seed: int,
    ) -> None:
        self._order = order
        self._cache = cache
        self._cutters = tuple(cutters)
        self._classes = {label: number for number, label in enumerate(labels)}
        self._batch = batch
        self._steps = steps
        self._slice = slice(worker[0], None, worker[1])
        self._seed = seed
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="crop-batches")
        self._pending: dict[int, Future[tuple[Pixels, npt.NDArray[np.int64]]]] = {}

    def batch(self, step: int) -> tuple[Pixels, npt.NDArray[np.int64]]:
        """This worker's slice of a step's batch: samples uint8 `[n, size, size, 3]` and classes `[n]`."""
        for number in range(step, min(step + _AHEAD, self._steps)):
            if number not in self._pending:
                self._pending[number] = self._thread.submit(self._load, number)
        return self._pending.pop(step).result()

    def _load(self, step: int) -> tuple[Pixels, npt.NDArray[np.int64]]:
        start = step * self._batch
        cutter = self._cutters[start // self._order.size % len(self._cutters)]
        mine = list(enumerate(self._order.take(start, self._batch)))[self._slice]
        samples = [
            cutter.cut(*load_example(self._cache, example), np.random.default_rng(derive_seed(self._seed, step, place)))
            for place, example in mine
        ]
        return np.stack(samples), np.array([self._classes[example.label] for _, example in mine], np.int64)

    def close(self) -> None:
        """Ends the thread after the batch at hand."""
        self._thread.shutdown(wait=True, cancel_futures=True)


def load_example(cache: ImageCache, example: CropExample) -> tuple[Pixels, Box]:
    """An example's image as the cache holds it, and its box in that image's pixels."""
    image, (width, height) = cache.get(example.unit, example.key)
    x, y = image.shape[1] / width, image.shape[0] / height
    x0, y0, x1, y1 = example.box
    return image, (x0 * x, y0 * y, x1 * x, y1 * y)


def fit_colours(cache: ImageCache, examples: Sequence[CropExample], strength: float) -> ColourJitter | None:
    """Principal components of some images' colours; None where colours are to stay."""
    if not strength:
        return None
    rng = np.random.default_rng(0)
    names = sorted({(example.unit, example.key) for example in examples})[:_COLOUR_IMAGES]
    pixels = [rng.choice(cache.get(*name)[0].reshape(-1, 3), _COLOUR_PIXELS) for name in names]
    return ColourJitter.fit(np.concatenate(pixels), strength)
