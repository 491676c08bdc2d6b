"""Pre-training's batches: crops of images, each with the class of the object that it shows.

Images are decoded, resized and cut on several threads, some steps ahead. What a batch holds depends on (seed, step)
alone, not on the threads nor on the number of workers that share it.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from pipelines.artifacts.annotations import Box
from pipelines.pretraining.examples import CropExample, EpochOrder, SampleView
from pipelines.shards.image_cache import ImageCache
from pipelines.shards.read_ahead import NumberedAhead
from sppnet.arrays import Integers, Pixels
from sppnet.images.training_crops import ColourJitter, EpochSizes, Overlap, TrainingCrops
from sppnet.seeds import derive_seed
from sppnet.sizes import Size

Fallback = Literal["centre", "skip"]

_AHEAD = 3  # batches, which bounds the memory
_SHARDS_AHEAD = 16  # batches after which a shard that is being read must be there
_CHUNK = 4  # samples that a thread cuts at a time
_COLOUR_IMAGES, _COLOUR_PIXELS = 32, 500


@dataclass(frozen=True, slots=True)
class Cutter:
    """Cuts a sample out of an image.

    Attributes:
        view: `crop`: a crop of fixed size that overlaps the object (section 4.5); `object`: the square around the
            object with some context, resized; `image`: a crop of the whole image (section 3.1).
        crops: Sizes, places, flips and colours.
        min_overlap: Least overlap of a `crop` with its object.
        overlap: Of the `object` the part inside, or the `iou` of both.
        context: Side of an `object`'s square over the object's longer side: drawn from this range.
        shift: How far an `object`'s square is moved at most, over its side.
    """

    view: SampleView
    crops: TrainingCrops
    min_overlap: float = 0.5
    overlap: Overlap = "object"
    context: tuple[float, float] = (1.0, 1.6)
    shift: float = 0.1

    def at_size(self, size: int) -> Cutter:
        """Return the same crops for another size of the network's input, in pixels (section 2.3)."""
        return replace(self, crops=replace(self.crops, network_size=size))

    def reaches(self, image_size: Size, box: Box) -> bool:
        """Tell whether any crop of an image of a size in pixels, overlaps the object's box in it enough."""
        if self.view != "crop":
            return True
        found = self.crops.origins_around(image_size, box, min_overlap=self.min_overlap, overlap=self.overlap)
        return len(found) > 0

    def cut(self, image: Pixels, box: Box, rng: np.random.Generator) -> Pixels:
        """Return one random sample `[n, n, 3]`; `box` is in the pixels of `image`."""
        if self.view == "image":
            return self.crops.sample(image, rng)
        if self.view == "crop":
            found = self.crops.sample_around(image, box, rng, min_overlap=self.min_overlap, overlap=self.overlap)
            # An object that no crop overlaps enough, such as one larger than any crop, and that was not skipped.
            return self.crops.finish(centre_crop(image, box, self.crops.size), rng) if found is None else found
        context = rng.uniform(*self.context)
        moved = rng.uniform(-self.shift, self.shift, 2)
        return self.crops.finish(square_around(image, box, context, (moved[0], moved[1])), rng)

    def cut_centre(self, image: Pixels, box: Box) -> Pixels:
        """Return the sample to measure on: in the middle, neither flipped nor recoloured."""
        plain = replace(self.crops, flip=False, colour=None)
        if self.view == "object":
            middle = sum(self.context) / 2
            return plain.finish(square_around(image, box, middle, (0.0, 0.0)), np.random.default_rng(0))
        return plain.finish(centre_crop(image, box, plain.size), np.random.default_rng(0))


def square_around(image: Pixels, box: Box, context: float, moved: tuple[float, float]) -> Pixels:
    """Cut the square of `context` times the box's longer side around it, moved by parts of its side, from an image.

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
    """Return the square crop whose centre is nearest to the box's; the image's sides are at least `size`."""
    left, top = (
        int(np.clip(round((box[axis] + box[axis + 2] - size) / 2), 0, limit - size))
        for axis, limit in ((0, image.shape[1]), (1, image.shape[0]))
    )
    return image[top : top + size, left : left + size]


@dataclass(frozen=True, slots=True)
class _Batch:
    """A batch whose samples are being cut."""

    samples: Pixels
    labels: Integers
    parts: Sequence[Future[None]]

    def wait(self) -> tuple[Pixels, Integers]:
        for part in self.parts:
            part.result()
        return self.samples, self.labels


class CropBatches:
    """A worker's slices of all batches, some steps ahead on threads.

    Args:
        order: Which examples follow one another.
        cache: The images.
        cutter: Cuts the samples.
        labels: The classes, in the order of the network's outputs.
        sizes: Size of the network's input in each epoch; a batch has that of the epoch in which it starts.
        batch: Examples of a batch over all workers.
        steps: Steps of the whole training.
        worker: This worker's rank, and how many there are.
        seed: Of the crops.
        threads: How many threads decode and cut.
    """

    def __init__(
        self,
        order: EpochOrder,
        cache: ImageCache,
        cutter: Cutter,
        labels: Sequence[str],
        *,
        sizes: EpochSizes,
        batch: int,
        steps: int,
        worker: tuple[int, int],
        seed: int,
        threads: int = 1,
    ) -> None:
        self._order = order
        self._cache = cache
        self._cutter = cutter
        self._classes = {label: number for number, label in enumerate(labels)}
        self._sizes = sizes
        self._batch = batch
        self._steps = steps
        self._slice = slice(worker[0], None, worker[1])
        self._seed = seed
        self._started = NumberedAhead(self._start, steps, ahead=_AHEAD, name="crop-planner")
        self._cutters = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="crop-cutter")
        self._fetched: set[str] = set()

    def batch(self, step: int) -> tuple[Pixels, Integers]:
        """Return this worker's slice of a step's batch: samples uint8 `[n, size, size, 3]` and classes `[n]`."""
        return self._started.get(step).wait()

    def wait(self) -> None:
        """Wait until the batches that are being cut ahead are ready."""
        for batch in self._started.wait():
            batch.wait()

    def close(self) -> None:
        """End the threads after the samples at hand."""
        self._started.close()
        self._cutters.shutdown(wait=True, cancel_futures=True)

    def _start(self, step: int) -> _Batch:
        start = step * self._batch
        size = self._sizes.of(start // self._order.size)
        cutter = self._cutter.at_size(size)
        mine = list(enumerate(self._order.take(start, self._batch)))[self._slice]
        samples = np.empty((len(mine), size, size, 3), np.uint8)

        def cut(first: int) -> None:
            for row, (place, example) in enumerate(mine[first : first + _CHUNK], first):
                rng = np.random.default_rng(derive_seed(self._seed, step, place))
                samples[row] = cutter.cut(*load_example(self._cache, example), rng)

        parts = [self._cutters.submit(cut, first) for first in range(0, len(mine), _CHUNK)]
        self._fetch_ahead(step + _SHARDS_AHEAD)
        labels = np.array([self._classes[example.label] for _, example in mine], np.int64)
        return _Batch(samples, labels, parts)

    def _fetch_ahead(self, step: int) -> None:
        """Have the shards of a later batch read, once each, so that it need not wait for the storage."""
        if step >= self._steps:
            return
        units = {example.unit for example in self._order.take(step * self._batch, self._batch)}
        for unit in sorted(units - self._fetched):
            self._cutters.submit(self._cache.fetch, unit)
        self._fetched = units


def load_example(cache: ImageCache, example: CropExample) -> tuple[Pixels, Box]:
    """Return an example's image as the cache holds it, and its box in that image's pixels."""
    image, (width, height) = cache.get(example.unit, example.key)
    x, y = image.shape[1] / width, image.shape[0] / height
    x0, y0, x1, y1 = example.box
    return image, (x0 * x, y0 * y, x1 * x, y1 * y)


def fit_colours(cache: ImageCache, examples: Sequence[CropExample], strength: float) -> ColourJitter | None:
    """Find the principal components of some images' colours, where there are no statistics; None if colours stay."""
    if not strength:
        return None
    rng = np.random.default_rng(0)
    names = list(dict.fromkeys((example.unit, example.key) for example in examples))[:_COLOUR_IMAGES]
    pixels = [rng.choice(cache.get(*name)[0].reshape(-1, 3), _COLOUR_PIXELS) for name in names]
    return ColourJitter.fit(np.concatenate(pixels), strength)
