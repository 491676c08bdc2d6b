"""Statistics of a data set's pixels: the per-pixel mean image and the principal components of colours (section 3.1).

Sums of 8-bit pixels are whole numbers and are kept as such, so that the statistics of a data set are the same to the
last bit in whatever parts and order its images are summed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from sppnet.arrays import Float32s, Float64s, Integers, Pixels
from sppnet.errors import ConfigError
from sppnet.images.training_crops import ColourJitter, five_origins, resize_short_side
from sppnet.sizes import Size

_BLOCK = 1 << 20  # pixels converted at a time: sums of their products stay exact in float64


@dataclass(frozen=True, slots=True, eq=False)
class PixelStatistics:
    """What pre-training takes from its data set as a whole. Channels are RGB.

    Attributes:
        mean_image: per-pixel mean of the images' centre crops, grey levels, float32 `[3, size, size]`.
        covariance: of all pixels of the resized images, values in 0..1, float64 `[3, 3]`.
        images: how many images were summed.
        pixels: how many pixels the covariance is of.
    """

    mean_image: Float32s
    covariance: Float64s
    images: int
    pixels: int

    def colours(self, strength: float = 0.1) -> ColourJitter:
        """Return the colour alteration along the data set's principal components."""
        return ColourJitter.of_covariance(self.covariance, strength)


class PixelSums:
    """Exact sums over images that are resized to one short side.

    Args:
        short_side: what every image's short side is resized to, in pixels.
        size: side of the centre crop that the mean image is of, in pixels; at most `short_side`.

    Attributes:
        images: how many images are in the sums.
        pixels: how many pixels they have, resized.
        centre: sum of their centre crops, int64 `[3, size, size]`.
        first: sum of their pixels, int64 `[3]`.
        second: sum of their pixels' products, int64 `[3, 3]`.

    Raises:
        ConfigError: a size that is not in 1..short_side.
    """

    def __init__(self, short_side: int = 256, size: int = 224) -> None:
        if not 1 <= size <= short_side:
            raise ConfigError(f"size: must be in 1..short_side = {short_side}, not {size}")
        self.short_side = short_side
        self.size = size
        self.images = 0
        self.pixels = 0
        self.centre: Integers = np.zeros((3, size, size), np.int64)
        self.first: Integers = np.zeros(3, np.int64)
        self.second: Integers = np.zeros((3, 3), np.int64)

    def add(self, image: Pixels) -> None:
        """Add an RGB image, uint8 `[H, W, 3]`, of any size."""
        resized = resize_short_side(image, self.short_side)
        top, left = five_origins(Size.of(resized), self.size)[0]
        self.centre += resized[top : top + self.size, left : left + self.size].transpose(2, 0, 1)
        pixels = resized.reshape(-1, 3)
        for start in range(0, len(pixels), _BLOCK):
            block = pixels[start : start + _BLOCK].astype(np.float64)
            self.first += block.sum(axis=0).astype(np.int64)
            self.second += (block.T @ block).astype(np.int64)
        self.pixels += len(pixels)
        self.images += 1

    def merge(self, others: Iterable[PixelSums]) -> None:
        """Add other sums of the same sizes to these.

        Raises:
            ConfigError: sums of other sizes.
        """
        for other in others:
            if (other.short_side, other.size) != (self.short_side, self.size):
                sizes = f"{other.short_side}/{other.size} and {self.short_side}/{self.size}"
                raise ConfigError(f"sums of short side and size {sizes} can't be merged")
            self.images += other.images
            self.pixels += other.pixels
            self.centre += other.centre
            self.first += other.first
            self.second += other.second

    def statistics(self) -> PixelStatistics:
        """Return mean image and covariance.

        Raises:
            ConfigError: there are no two pixels to take statistics of.
        """
        if self.pixels < 2:
            raise ConfigError(f"statistics need at least 2 pixels, there are {self.pixels} of {self.images} images")
        count, first = self.pixels, self.first.tolist()
        # In whole numbers of any length: the difference of two nearly equal products loses nothing.
        covariance = [
            [(count * product - first[i] * first[j]) / (count * (count - 1) * 255**2) for j, product in enumerate(row)]
            for i, row in enumerate(self.second.tolist())
        ]
        mean = (self.centre / self.images).astype(np.float32)
        return PixelStatistics(mean, np.array(covariance, np.float64), self.images, self.pixels)
