"""Training crops: what pre-training shows the network of an image (paper sections 2.3, 3.1 and 4.5).

The short side is resized to S, a square crop is taken from the centre or a corner of the *entire* image, flipped
half of the time, its colours altered (Krizhevsky et al.), and for the second network size of multi-size training
the same crop is resized (paper section 2.3: 224 to 180). Every function draws from the generator it is given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from sppnet.errors import ConfigError
from sppnet.images import resize_image
from sppnet.scales import resized_shape

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Where = Literal["five", "uniform"]
Overlap = Literal["object", "iou"]


@dataclass(frozen=True, slots=True)
class ColourJitter:
    """Krizhevsky's colour alteration: adds a random mix of the principal components of RGB values.

    The mix is `sum of a_i * lambda_i * p_i` with `a_i` normal of deviation `strength`, drawn once per sample.

    Attributes:
        eigenvalues: lambda, the variances of values in 0..1 along the components, `[3]`.
        eigenvectors: p, one component per column, `[3][3]`.
        strength: deviation of the mix's weights.
    """

    eigenvalues: tuple[float, ...]
    eigenvectors: tuple[tuple[float, ...], ...]
    strength: float = 0.1

    @classmethod
    def fit(cls, pixels: NDArray[np.uint8], strength: float = 0.1) -> ColourJitter:
        """Find the principal components of RGB pixels, uint8 `[..., 3]`."""
        values, vectors = np.linalg.eigh(np.cov(pixels.reshape(-1, 3) / 255.0, rowvar=False))
        columns = tuple(tuple(row) for row in vectors.tolist())
        return cls(tuple(np.maximum(values, 0.0).tolist()), columns, strength)

    def apply(self, image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        """Shift all pixels of an RGB image, uint8 `[H, W, 3]`, by one random colour, clipped to 0..255."""
        levels = np.arange(256)[:, None] + self.shift(rng)
        table = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
        return np.stack([table[image[:, :, channel], channel] for channel in range(3)], axis=2)

    def shift(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """Draw one colour shift in grey levels, float64 `[3]`."""
        weights = rng.normal(0.0, self.strength, 3) * np.array(self.eigenvalues)
        return np.asarray(255.0 * np.array(self.eigenvectors) @ weights, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class TrainingCrops:
    """How to take a training sample from an image.

    Attributes:
        short_side: S, what the image's short side is resized to first, in pixels.
        size: side of the square crop, in pixels.
        where: `five` (centre and four corners of the entire image, the paper's) or `uniform` (anywhere).
        flip: mirror half of the crops.
        network_size: what the crop is resized to; None leaves it at `size`.
        colour: alters the colours; None leaves them.
    """

    short_side: int = 256
    size: int = 224
    where: Where = "five"
    flip: bool = True
    network_size: int | None = None
    colour: ColourJitter | None = None

    def __post_init__(self) -> None:
        if self.size < 1 or self.short_side < self.size:
            raise ConfigError(f"crops.size: must be in 1..short_side = {self.short_side}, not {self.size}")
        if self.where not in ("five", "uniform"):
            raise ConfigError(f"crops.where: must be 'five' or 'uniform', not {self.where!r}")
        if self.network_size is not None and self.network_size < 1:
            raise ConfigError(f"crops.network_size: must be at least 1, not {self.network_size}")

    def sample(self, image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        """Take one sample, uint8 `[n, n, 3]`, of an RGB image, uint8 `[H, W, 3]`; n is `network_size` or `size`."""
        resized = resize_short_side(image, self.short_side)
        top, left = crop_origin(resized.shape[:2], self.size, self.where, rng)
        return self.finish(resized[top : top + self.size, left : left + self.size], rng)

    def sample_around(
        self,
        image: NDArray[np.uint8],
        box: ArrayLike,
        rng: np.random.Generator,
        *,
        min_overlap: float = 0.5,
        overlap: Overlap = "object",
    ) -> NDArray[np.uint8] | None:
        """Take one sample that overlaps an object, or None where no crop can; `box` is in the image's own pixels."""
        resized = resize_short_side(image, self.short_side)
        ratio = np.array(resized.shape[1::-1]) / np.array(image.shape[1::-1])
        scaled = np.asarray(box, dtype=np.float64) * np.tile(ratio, 2)
        crop = crop_around_box(resized, scaled, self.size, min_overlap, rng, overlap=overlap)
        return None if crop is None else self.finish(crop, rng)

    def finish(self, crop: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        """Flip, recolour and resize a crop."""
        if self.flip and rng.random() < 0.5:
            crop = crop[:, ::-1]
        if self.colour is not None:
            crop = self.colour.apply(crop, rng)
        crop = np.ascontiguousarray(crop)
        size = self.network_size
        return crop if size is None else resize_image(crop, (size, size))


def resize_short_side(image: NDArray[np.uint8], short_side: int) -> NDArray[np.uint8]:
    """Resize an RGB image, uint8 `[H, W, 3]`, to a short side in pixels, as `prepare_image` does."""
    return resize_image(image, resized_shape((image.shape[0], image.shape[1]), short_side))


def crop_origin(image_hw: tuple[int, ...], size: int, where: Where, rng: np.random.Generator) -> tuple[int, int]:
    """Draw the `(top, left)` pixel of a square crop.

    Args:
        image_hw: the image's `(H, W)`, both at least `size`.
        size: the crop's side in pixels.
        where: `five` (centre or a corner) or `uniform`.
        rng: draws.
    """
    rows, columns = _room(image_hw, size)
    if where == "uniform":
        return int(rng.integers(rows + 1)), int(rng.integers(columns + 1))
    corners = [(0, 0), (0, columns), (rows, 0), (rows, columns)]
    return [(rows // 2, columns // 2), *corners][int(rng.integers(5))]


def crop_around_box(
    image: NDArray[np.uint8],
    box: ArrayLike,
    size: int,
    min_overlap: float,
    rng: np.random.Generator,
    *,
    overlap: Overlap = "object",
) -> NDArray[np.uint8] | None:
    """Take a square crop that overlaps an object, uniformly among all that do (paper section 4.5: by 50 %).

    The crop's label is the object's subcategory. The paper doesn't define its overlap: `object` is the fraction
    of the object's area inside the crop, `iou` the intersection over union of object and crop.

    Args:
        image: RGB, uint8 `[H, W, 3]`.
        box: `[x0, y0, x1, y1)` of the object in the image's pixels.
        size: the crop's side in pixels.
        min_overlap: the least overlap, in 0..1.
        rng: draws.
        overlap: what is measured.

    Returns:
        A view of the image, uint8 `[size, size, 3]`, or None where no crop overlaps enough.
    """
    if overlap not in ("object", "iou"):
        raise ConfigError(f"overlap: must be 'object' or 'iou', not {overlap!r}")
    x0, y0, x1, y1 = (float(value) for value in np.asarray(box, dtype=np.float64))
    area = (x1 - x0) * (y1 - y0)
    if not (x1 > x0 and y1 > y0):
        return None
    rows, columns = _room(image.shape, size)
    covered = np.outer(_covered(y0, y1, rows, size), _covered(x0, x1, columns, size))
    whole = area if overlap == "object" else area + float(size) ** 2 - covered
    good = np.flatnonzero((covered > 0) & (covered / whole >= min_overlap))
    if len(good) == 0:
        return None
    top, left = divmod(int(good[rng.integers(len(good))]), columns + 1)
    return image[top : top + size, left : left + size]


def _room(image_hw: tuple[int, ...], size: int) -> tuple[int, int]:
    """Return by how many rows and columns a crop can move."""
    rows, columns = image_hw[0] - size, image_hw[1] - size
    if min(rows, columns) < 0:
        raise ConfigError(f"crop of {size} pixels from an image of {image_hw[1]} x {image_hw[0]}: resize it first")
    return rows, columns


def _covered(low: float, high: float, room: int, size: int) -> NDArray[np.float64]:
    """Return the length of `[low, high)` inside a crop, for each of its `room + 1` positions along one axis."""
    starts = np.arange(room + 1, dtype=np.float64)
    inside = np.minimum(starts + size, high) - np.maximum(starts, low)
    return np.asarray(inside.clip(0.0), dtype=np.float64)
