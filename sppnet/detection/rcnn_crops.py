"""R-CNN's way, the paper's peer in Tables 9 and 10: every window is warped to one size and convolved by itself.

Girshick et al. (CVPR 2014) enlarge each window so that, once warped to the network's input, `context` pixels of the
image surround it on every side, fill what lies outside the image with the mean, and pool the crop's whole map. Here
the pooling, fc6, fc7 and all after it are the SPP detector's own, so that the two differ in one thing only: 2,000
convolutions of crops, or one of the image.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from sppnet.arrays import Float64s, Floats, Integers, Pixels
from sppnet.detection.features import MapsByScale, WindowFeatures
from sppnet.errors import ConfigError, DataError
from sppnet.images.network_input import Preprocessing, normalise_images
from sppnet.networks.backbones import Backbone
from sppnet.networks.inference import InferenceBackbone
from sppnet.networks.network import Precision
from sppnet.pooling.image_batches import PooledBatch
from sppnet.pooling.pyramid import pool_full_maps
from sppnet.sizes import Size

SIZE = 227
"""Side of R-CNN's warped crops, pixels."""
CONTEXT = 16
"""Pixels of the warped crop on every side that show the window's surroundings."""


def warp_windows(
    image: Pixels,
    windows: Floats,
    fill: tuple[int, int, int],
    size: int = SIZE,
    context: int = CONTEXT,
) -> Pixels:
    """Warp windows of an image to squares, aspect ratio ignored.

    Args:
        image: RGB, uint8 `[H, W, 3]`.
        windows: `[n, 4]` half-open pixels of the image.
        fill: RGB value of what lies outside the image.
        size: Side of the squares, pixels.
        context: Pixels of the square around the window on every side.

    Returns:
        RGB, uint8 `[n, size, size, 3]`.

    Raises:
        ConfigError: The context leaves no room for the window.
        DataError: `bad-window`, a window without area or wholly outside the image.
    """
    if not 0 <= 2 * context < size:
        raise ConfigError(f"crops.context: {context} pixels a side leave nothing of a crop of {size} pixels")
    crops = np.empty((len(windows), size, size, 3), dtype=np.uint8)
    crops[:] = fill
    grown = _with_context(np.asarray(windows, dtype=np.float64), size / (size - 2 * context))
    for crop, box in zip(crops, grown, strict=True):
        _warp_into(crop, image, box)
    return crops


def _with_context(windows: Float64s, factor: float) -> Float64s:
    """Scale windows about their centres."""
    centre = (windows[:, :2] + windows[:, 2:]) / 2
    half = (windows[:, 2:] - windows[:, :2]) / 2 * factor
    return np.concatenate([centre - half, centre + half], axis=1)


def _warp_into(crop: Pixels, image: Pixels, box: Float64s) -> None:
    """Resize the part of `box` that lies in the image to its place in `crop`."""
    import cv2

    size = crop.shape[0]
    sides = box[2:] - box[:2]
    limit = np.array([image.shape[1], image.shape[0]])
    ends = np.concatenate([np.clip(np.floor(box[:2]), 0, limit), np.clip(np.ceil(box[2:]), 0, limit)])
    if not np.isfinite(box).all() or sides.min() <= 0 or (ends[2:] <= ends[:2]).any():
        raise DataError("bad-window", f"window {box.tolist()} has no pixel in an image of {limit[0]} x {limit[1]}")
    inside = ends.astype(int)
    # Where the part lies in the crop, in whole pixels and at least one.
    place = np.rint((inside.reshape(2, 2) - box[:2]) / sides * size).astype(int)
    low = np.clip(place[0], 0, size - 1)
    high = np.clip(place[1], low + 1, size)
    part = np.ascontiguousarray(image[inside[1] : inside[3], inside[0] : inside[2]])
    wanted = (int(high[0] - low[0]), int(high[1] - low[1]))
    crop[low[1] : high[1], low[0] : high[0]] = cv2.resize(part, wanted, interpolation=cv2.INTER_LINEAR)


def mean_colour(preprocessing: Preprocessing) -> tuple[int, int, int]:
    """Return the RGB grey levels nearest to the mean that a network subtracts."""
    levels = [round(value) for value in preprocessing.mean]
    if preprocessing.channel_order == "bgr":
        levels.reverse()
    return levels[0], levels[1], levels[2]


@dataclass(frozen=True, kw_only=True)
class CropFeatures(WindowFeatures):
    """Turns the pixels of an image and windows of it into feature vectors, a crop a window.

    It stands where features of cached maps do: `maps` then holds the image itself, RGB, uint8 `[H, W, 3]`, under the
    crops' side, which is the only one of `scales`.

    Attributes:
        backbone: The convolutions, in evaluation mode, on `device`.
        context: Pixels around the window in the crop.
        convolutions: Type in which the convolutions compute.
        batch: Crops that are convolved at once.
    """

    backbone: Backbone
    context: int = CONTEXT
    convolutions: Precision = "float32"
    batch: int = 64

    @cached_property
    def _inference(self) -> InferenceBackbone:
        return InferenceBackbone(self.backbone, self.convolutions)

    @property
    def size(self) -> int:
        """Side of the warped crops, pixels."""
        return self.scales[0]

    @torch.inference_mode()
    def pooled(
        self, maps: MapsByScale, image_size: Size, windows: Floats, drawn: Integers | None = None
    ) -> torch.Tensor:
        """Pool the crop of each window.

        Args:
            maps: The image, RGB, uint8 `[H, W, 3]`, under `size`.
            image_size: Of the image, pixels.
            windows: `[n, 4]` half-open pixels of the image.
            drawn: None: a crop has one size.

        Returns:
            float16 `[n, bins * C]`, on `device`.

        Raises:
            ConfigError: Scales are drawn.
            DataError: `bad-window`, or `nan-features` where a crop's map holds values that are not finite.
        """
        if drawn is not None:
            raise ConfigError("random_scale: crops have one size; leave it out")
        image = np.asarray(maps[self.size], dtype=np.uint8)
        parts = [self._pooled_crops(crops) for crops in self._crops(image, windows)]
        if not parts:
            return torch.zeros((0, self.channels * self.pyramid.bins), dtype=torch.float16, device=self.device)
        return torch.cat(parts)

    def pooled_once(self, maps: MapsByScale, image_size: Size, windows: Floats) -> PooledBatch:
        """Pool the crop of each window; equal ones are not looked for."""
        found = self.pooled(maps, image_size, windows).view(len(windows), self.pyramid.bins, self.channels)
        return PooledBatch(found, torch.arange(len(windows), device=found.device))

    def _crops(self, image: Pixels, windows: Floats) -> Iterator[Pixels]:
        """Warp crops in batches, the next one made on a thread."""
        fill = mean_colour(self.backbone.preprocessing)
        slices = [windows[start : start + self.batch] for start in range(0, len(windows), self.batch)]
        with ThreadPoolExecutor(max_workers=1) as thread:
            pending = [thread.submit(warp_windows, image, part, fill, self.size, self.context) for part in slices[:1]]
            for number in range(len(slices)):
                if number + 1 < len(slices):
                    args = (image, slices[number + 1], fill, self.size, self.context)
                    pending.append(thread.submit(warp_windows, *args))
                yield pending.pop(0).result()

    def _pooled_crops(self, crops: Pixels) -> torch.Tensor:
        backbone = self.backbone
        convolve = self._inference
        inputs = normalise_images(
            crops, backbone.preprocessing, self.device, convolve.dtype, mean_image=backbone.mean_image
        )
        maps = convolve(inputs)
        # Half precision as in the cache: the two ways then differ in what is convolved only.
        pooled = pool_full_maps(maps.half().float(), self.pyramid).flatten(1)
        if not bool(torch.isfinite(pooled).all()):
            raise DataError("nan-features", "a crop's map holds values that are not finite")
        return pooled.half()
