"""Which windows fine-tuning's batches hold, planned from (seed, number of the chunk) alone.

A chunk is several batches: some shards in a permuted order, their windows by overlap with the objects, and which of
them each batch holds. Every worker makes the same plan.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, zip_longest

import numpy as np
import numpy.typing as npt

from pipelines.artifacts.annotations import ImageAnnotation
from pipelines.shards.reading import IngestedImages
from pipelines.shards.windowed import ShardInputs
from pipelines.training.held_out import is_held_out
from sppnet.arrays import Bools, Float32s, Integers
from sppnet.boxes import iou_matrix
from sppnet.detection.sampling import draw_batch, finetune_bands, label_windows
from sppnet.errors import ConfigError
from sppnet.seeds import derive_seed

BACKGROUND = "background"
_SHARDS_KEPT = 32
_HELD_OUT_SHARDS = 8  # windows of one image are much alike: a few images would measure little
_FLIPPED = 0.5


@dataclass(frozen=True, slots=True)
class SamplingRule:
    """Which windows train fine-tuning, and in what mixture.

    Attributes:
        categories: In the order of their classes 1, 2, ...; class 0 is background.
        batch: Windows of a batch.
        positive_fraction: Part of a batch that shows objects.
        positive_iou: Closed range of an object's window's overlap.
        negative_iou: Half-open range of a background window's overlap.
        difficult: Whether objects marked difficult count as objects; if not, windows on them are not background either.
        random_scale: Whether a window's scale is drawn instead of chosen by its size.
        holdout: Fraction of the images, by a hash of their keys, that never train.
        shards: How many shards of each kind of split a chunk draws from at least.
        flips: Whether half of the windows are mirrored.
    """

    categories: tuple[str, ...]
    batch: int
    positive_fraction: float
    positive_iou: tuple[float, float]
    negative_iou: tuple[float, float]
    difficult: bool
    random_scale: bool
    holdout: float
    shards: int
    flips: bool = False

    @property
    def positives(self) -> int:
        """Windows of a batch that show objects."""
        return round(self.batch * self.positive_fraction)

    def held_out(self, key: str) -> bool:
        """Tell whether an image is held out; depends on its key only."""
        return is_held_out(key, self.holdout)


@dataclass(frozen=True, slots=True, eq=False)
class WindowSet:
    """Windows of several images.

    Attributes:
        images: `[n]` object array of `(unit, key)`.
        boxes: `[n, 4]` float32 pixels.
        labels: `[n]` int64 classes, 0 for background.
    """

    images: npt.NDArray[np.object_]
    boxes: Float32s
    labels: Integers

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Integers | slice) -> WindowSet:
        """Return some of the windows."""
        return WindowSet(self.images[rows], self.boxes[rows], self.labels[rows])

    @classmethod
    def join(cls, parts: Sequence[WindowSet]) -> WindowSet:
        """Put sets behind one another."""
        if not parts:
            return cls(np.empty(0, object), np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
        return cls(
            np.concatenate([part.images for part in parts]),
            np.concatenate([part.boxes for part in parts]),
            np.concatenate([part.labels for part in parts]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """What a shard has to offer: windows on objects and windows on background."""

    positives: WindowSet
    negatives: WindowSet

    @classmethod
    def join(cls, parts: Sequence[Candidates]) -> Candidates:
        """Join those of several shards."""
        positives = WindowSet.join([part.positives for part in parts])
        return cls(positives, WindowSet.join([part.negatives for part in parts]))


def label_image(unit: str, annotation: ImageAnnotation, windows: Float32s, rule: SamplingRule) -> Candidates:
    """Sort an image's windows, and its objects' own boxes, into objects and background (section 4.1)."""
    objects = [thing for thing in annotation.objects if thing.category in rule.categories]
    used = [thing for thing in objects if rule.difficult or not thing.difficult]
    unused = np.array([thing.box for thing in objects if thing not in used], np.float32).reshape(-1, 4)
    truth = np.array([thing.box for thing in used], np.float32).reshape(-1, 4)
    pool = np.concatenate([windows.astype(np.float32).reshape(-1, 4), truth])
    overlap, label = label_windows(pool, truth, [rule.categories.index(thing.category) for thing in used])
    positive, negative = finetune_bands(overlap, rule.positive_iou, rule.negative_iou)
    on_unused = iou_matrix(pool[negative], unused).max(axis=1, initial=0.0) >= rule.positive_iou[0]
    negative = negative[~on_unused]

    def choose(rows: Integers, labels: Integers) -> WindowSet:
        images = np.empty(len(rows), object)
        images.fill((unit, annotation.key))
        return WindowSet(images, pool[rows], labels)

    return Candidates(choose(positive, label[positive] + 1), choose(negative, np.zeros(len(negative), np.int64)))


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """The windows of several batches, one behind the other.

    Attributes:
        windows: In the images as they are.
        scales: The scale that each is pooled at; 0: by its size.
        flipped: Which are pooled from the mirrored image.
    """

    windows: WindowSet
    scales: Integers
    flipped: Bools


class ChunkPlanner:
    """Decides which windows each batch holds. The same on every worker.

    Args:
        images: The images.
        inputs: Where a shard's parts are.
        units: The shards whose images give windows on objects and on background, some images being held out.
        rule: Which windows, in what mixture.
        seed: Of all plans.
        positive_units: Further shards, whose images give windows on objects only.
    """

    def __init__(
        self,
        images: IngestedImages,
        inputs: ShardInputs,
        units: tuple[str, ...],
        rule: SamplingRule,
        seed: int,
        positive_units: tuple[str, ...] = (),
    ) -> None:
        self._images = images
        self._inputs = inputs
        self._units = units
        self._positive_units = positive_units
        self._rule = rule
        self._seed = seed
        self._positives_only = frozenset(positive_units)
        self._read = lru_cache(maxsize=_SHARDS_KEPT)(self._read_shard)

    def chunk(self, index: int, batches: int) -> Chunk:
        """Plan a chunk of so many batches.

        Raises:
            ConfigError: The split has no window on an object, or none on background.
        """
        found = self._gather(index * self._rule.shards, batches, held_out=False)
        return self._draw(found, batches, derive_seed(self._seed, "chunk", index), flips=self._rule.flips)

    def held_out(self, batches: int) -> Chunk | None:
        """Plan a fixed set of windows of held-out images; None where there are none."""
        if not self._rule.holdout:
            return None
        found = self._gather(0, batches, held_out=True)
        if not len(found.positives) or not len(found.negatives):
            return None
        return self._draw(found, batches, derive_seed(self._seed, "held-out"), flips=False)

    def _shard_order(self, start: int, *, held_out: bool) -> Iterator[str]:
        """Return every shard once, the two kinds in turn, each from a place in its endless sequence of permutations."""
        kinds = [self._permuted(self._units, "epoch", start)]
        if not held_out:
            kinds.append(self._permuted(self._positive_units, "positives-epoch", start))
        return (unit for unit in chain.from_iterable(zip_longest(*kinds)) if unit is not None)

    def _permuted(self, units: tuple[str, ...], name: str, start: int) -> Iterator[str]:
        count = len(units)
        for place in range(start, start + count):
            epoch, position = divmod(place, count)
            order = np.random.default_rng(derive_seed(self._seed, name, epoch)).permutation(count)
            yield units[order[position]]

    def _gather(self, start: int, batches: int, *, held_out: bool) -> Candidates:
        """Read shards until there is enough to draw without repetition, or all were read."""
        wanted = batches * self._rule.positives, batches * (self._rule.batch - self._rule.positives)
        kinds = 2 if self._positive_units and not held_out else 1
        least = max(self._rule.shards, _HELD_OUT_SHARDS) if held_out else kinds * self._rule.shards
        parts: dict[str, Candidates] = {}
        objects = background = 0
        for unit in self._shard_order(start, held_out=held_out):
            if unit in parts:  # the sequence's next permutation may name it again
                continue
            if unit in self._positives_only and len(parts) >= least and objects >= wanted[0]:
                continue  # only background is short, and it has none: reading its maps would be for nothing
            found = parts[unit] = self._read(unit)[held_out]
            objects += len(found.positives)
            background += len(found.negatives)
            if objects >= wanted[0] and background >= wanted[1] and len(parts) >= least:
                break
        return Candidates.join(list(parts.values()))

    def _read_shard(self, unit: str) -> tuple[Candidates, Candidates]:
        """Return a shard's candidates for training and held-out ones."""
        positives_only = unit in self._positives_only
        annotations, _ = self._images.read_annotations(unit)
        parts: tuple[list[Candidates], list[Candidates]] = ([], [])
        for row in self._inputs.read_windows(unit):
            if row.key not in annotations:  # set aside by ingest for its annotation
                continue
            found = label_image(unit, annotations[row.key], row.windows, self._rule)
            if positives_only:  # what is not annotated there may be an object all the same
                parts[False].append(Candidates(found.positives, WindowSet.join([])))
            else:
                parts[self._rule.held_out(row.key)].append(found)
        return Candidates.join(parts[0]), Candidates.join(parts[1])

    def _draw(self, found: Candidates, batches: int, seed: int, *, flips: bool) -> Chunk:
        rule, rng = self._rule, np.random.default_rng(seed)
        for kind, count in (("an object", len(found.positives)), ("background", len(found.negatives))):
            if not count:
                raise ConfigError(
                    f"categories: no window of the split shows {kind}; check categories, split and holdout"
                )
        fraction = rule.positives / rule.batch
        positives, negatives = draw_batch(
            len(found.positives), len(found.negatives), rng, size=batches * rule.batch, positive_fraction=fraction
        )
        whole = WindowSet.join([found.positives, found.negatives])
        rows = np.concatenate(
            [positives.reshape(batches, -1), negatives.reshape(batches, -1) + len(found.positives)], axis=1
        ).reshape(-1)
        scales = np.zeros(len(rows), np.int64)
        if rule.random_scale:
            scales = np.array(self._inputs.scales, np.int64)[rng.integers(len(self._inputs.scales), size=len(rows))]
        flipped = rng.random(len(rows)) < _FLIPPED if flips else np.zeros(len(rows), bool)
        return Chunk(whole.take(rows), scales, flipped)
