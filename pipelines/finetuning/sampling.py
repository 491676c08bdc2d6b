"""Fine-tuning's pass over the maps: every image's sample of windows, pooled once and cut into blocks.

A block holds windows of many images in a random order, so that a batch of few blocks is as good as one of all images.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from pipelines.artifacts.examples import half_features
from pipelines.artifacts.window_samples import PARTS, Part, WindowSamples
from pipelines.detecting.checks import require_finite
from pipelines.finetuning.windows import Draw, SamplingRule, draw_windows, label_image
from pipelines.shards.windowed import ImagePair
from sppnet.arrays import Float32s
from sppnet.boxes import mirror_boxes
from sppnet.detection.features import WindowFeatures
from sppnet.seeds import derive_seed

BLOCK_BYTES = 8 << 20
"""Vectors of a block, as they are in memory."""
_BLOCKS_MIXED = 16  # of a part, over which a shard's rows are shuffled: what a worker holds of it


@dataclass(frozen=True)
class ImageSampler:
    """Draws and pools an image's sample.

    Attributes:
        rule: Which windows.
        features: What pools them.
    """

    rule: SamplingRule
    features: WindowFeatures

    def sample(self, pair: ImagePair, *, positives_only: bool) -> Mapping[Part, WindowSamples]:
        """Return an image's samples.

        Args:
            pair: The image.
            positives_only: Whether the image gives windows on objects and no others, and is never held out.

        Raises:
            DataError: `bad-windows` or `nan-features`.
        """
        image, rule = pair.plain, self.rule
        require_finite(image.windows)
        held_out = not positives_only and rule.held_out(image.key)
        found = label_image(image.annotation, image.windows, rule)
        flips = rule.flips and not held_out
        drawn = draw_windows(image.key, found, rule, background=not positives_only, flips=flips)
        if not len(drawn.rows):
            return {}
        names = np.empty(len(drawn.rows), object)
        names[:] = image.key
        samples = WindowSamples(
            names,
            found.numbers[drawn.rows].astype(np.int32),
            drawn.labels.astype(np.int32),
            drawn.scales.astype(np.int32),
            drawn.flipped,
            self._pool(pair, found.boxes[drawn.rows], drawn),
        )
        objects = drawn.labels > 0
        parts: tuple[Part, Part] = PARTS[2:] if held_out else PARTS[:2]  # type: ignore[assignment]
        return {parts[0]: samples.take(objects), parts[1]: samples.take(~objects)}

    def _pool(self, pair: ImagePair, boxes: Float32s, drawn: Draw) -> npt.NDArray[np.float16]:
        parts, places = [], []
        for way, image in ((False, pair.plain), (True, pair.mirrored)):
            rows = np.flatnonzero(drawn.flipped == way)
            if not len(rows) or image is None:
                continue
            own = mirror_boxes(boxes[rows], image.image_wh.width) if way else boxes[rows]
            scales = drawn.scales[rows] if self.rule.scales else None
            parts.append(self.features.pooled(image.maps, image.image_wh, own, scales))
            places.append(rows)
        return half_features(torch.cat(parts))[np.argsort(np.concatenate(places))]


class BlockCutter:
    """Shuffles samples as they come and cuts them into blocks; what is waiting is bounded.

    Args:
        rows: Rows of a block.
        seed: Of the order, the shard's own.
    """

    def __init__(self, rows: int, seed: int) -> None:
        self._rows = rows
        self._seed = seed
        self._waiting: defaultdict[Part, list[WindowSamples]] = defaultdict(list)
        self._count: defaultdict[Part, int] = defaultdict(int)
        self.blocks: list[tuple[Part, int]] = []

    def add(self, samples: Mapping[Part, WindowSamples]) -> Iterator[WindowSamples]:
        """Add an image's samples; yield the blocks that are complete."""
        for part, own in samples.items():
            if len(own):
                self._waiting[part].append(own)
                self._count[part] += len(own)
            if self._count[part] >= _BLOCKS_MIXED * self._rows:
                yield from self._cut(part)

    def rest(self) -> Iterator[WindowSamples]:
        """Yield what is left, the last block of each part shorter than the others."""
        for part in PARTS:
            if self._count[part]:
                yield from self._cut(part)

    def _cut(self, part: Part) -> Iterator[WindowSamples]:
        whole = WindowSamples.join(self._waiting.pop(part))
        self._count[part] = 0
        order = np.random.default_rng(derive_seed(self._seed, part, len(self.blocks))).permutation(len(whole))
        for start in range(0, len(order), self._rows):
            block = whole.take(order[start : start + self._rows])
            self.blocks.append((part, len(block)))
            yield block


def block_rows(dimension: int) -> int:
    """Return how many vectors of a length make a block."""
    return max(1, BLOCK_BYTES // (2 * dimension))
