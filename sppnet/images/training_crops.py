"""Training crops: what pre-training shows the network of an image (paper sections 2.3, 3.1 and 4.5).

The short side is resized to S (an image smaller than that is enlarged), a square crop is taken from the centre or a
corner of the *entire* image, flipped half of the time, its colours altered (Krizhevsky et al.), and for the other
network sizes of multi-size training the same crop is resized (paper section 2.3: 224 to 180). Every function draws
from the generator it is given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from sppnet.arrays import Float64s, Integers, Pixels
from sppnet.errors import ConfigError
from sppnet.images.network_input import resize_image
from sppnet.pooling.scales import resized_size
from sppnet.seeds import derive_seed
from sppnet.sizes import Size

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

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
    def fit(cls, pixels: Pixels, strength: float = 0.1) -> ColourJitter:
        """Find the principal components of RGB pixels, uint8 `[..., 3]`."""
        return cls.of_covariance(np.cov(pixels.reshape(-1, 3) / 255.0, rowvar=False), strength)

    @classmethod
    def of_covariance(cls, covariance: Float64s, strength: float = 0.1) -> ColourJitter:
        """Find the principal components of a covariance of RGB values in 0..1, `[3, 3]`.

        A component's direction has no sign of its own: its largest entry is made positive, on any machine.
        """
        values, vectors = np.linalg.eigh(covariance)
        largest = vectors[np.abs(vectors).argmax(axis=0), np.arange(3)]
        columns = tuple(tuple(row) for row in (vectors * np.where(largest < 0, -1.0, 1.0)).tolist())
        return cls(tuple(np.maximum(values, 0.0).tolist()), columns, strength)

    def apply(self, image: Pixels, rng: np.random.Generator) -> Pixels:
        """Shift all pixels of an RGB image, uint8 `[H, W, 3]`, by one random colour, clipped to 0..255."""
        import cv2

        levels = np.arange(256)[:, None] + self.shift(rng)
        table = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
        # OpenCV's look-up lets other threads run, numpy's does not.
        return cast("Pixels", cv2.LUT(image, table[None]))

    def shift(self, rng: np.random.Generator) -> Float64s:
        """Draw one colour shift in grey levels, float64 `[3]`."""
        weights = rng.normal(0.0, self.strength, 3) * np.array(self.eigenvalues)
        return np.asarray(255.0 * np.array(self.eigenvectors) @ weights, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class TrainingCrops:
    """How to take a training sample from an image.

    Attributes:
        short_side: S, what the image's short side is resized to first, in pixels.
        size: side of the square crop, in pixels.
        where: which crops there are: `five` (centre and four corners of the entire image, section 3.1) or `uniform`
            (anywhere, section 4.5).
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

    def sample(self, image: Pixels, rng: np.random.Generator) -> Pixels:
        """Take one sample, uint8 `[n, n, 3]`, of an RGB image, uint8 `[H, W, 3]`; n is `network_size` or `size`."""
        resized = resize_short_side(image, self.short_side)
        top, left = crop_origin(Size.of(resized), self.size, self.where, rng)
        return self.finish(resized[top : top + self.size, left : left + self.size], rng)

    def sample_around(
        self,
        image: Pixels,
        box: ArrayLike,
        rng: np.random.Generator,
        *,
        min_overlap: float = 0.5,
        overlap: Overlap = "object",
    ) -> Pixels | None:
        """Take one sample that overlaps an object, or None where no crop can; `box` is in the image's own pixels."""
        resized = resize_short_side(image, self.short_side)
        origins = self.origins_around(Size.of(image), box, min_overlap=min_overlap, overlap=overlap)
        if len(origins) == 0:
            return None
        top, left = origins[rng.integers(len(origins))].tolist()
        return self.finish(resized[top : top + self.size, left : left + self.size], rng)

    def origins_around(
        self, image_size: Size, box: ArrayLike, *, min_overlap: float = 0.5, overlap: Overlap = "object"
    ) -> Integers:
        """List the crops of an image, of `image_size` before it is resized, that overlap an object's box in it.

        Returns:
            `(top, left)` of each in the resized image, `[n, 2]`.
        """
        resized = resized_size(image_size, self.short_side)
        ratio = np.array(resized) / np.array(image_size)
        scaled = np.asarray(box, dtype=np.float64) * np.tile(ratio, 2)
        return overlapping_origins(resized, scaled, self.size, min_overlap, overlap=overlap, where=self.where)

    def finish(self, crop: Pixels, rng: np.random.Generator) -> Pixels:
        """Flip, recolour and resize a crop."""
        import cv2

        if self.flip and rng.random() < 0.5:
            crop = cast("Pixels", cv2.flip(crop, 1))
        if self.colour is not None:
            crop = self.colour.apply(crop, rng)
        crop = np.ascontiguousarray(crop)
        size = self.network_size
        return crop if size is None else resize_image(crop, Size.square(size))


def resize_short_side(image: Pixels, short_side: int) -> Pixels:
    """Resize an RGB image, uint8 `[H, W, 3]`, to a short side in pixels, as `prepare_image` does."""
    return resize_image(image, resized_size(Size.of(image), short_side))


def crop_origin(image_size: Size, size: int, where: Where, rng: np.random.Generator) -> tuple[int, int]:
    """Draw the `(top, left)` pixel of a square crop.

    Args:
        image_size: of the image, pixels; both sides at least `size`.
        size: the crop's side in pixels.
        where: `five` (centre or a corner) or `uniform`.
        rng: draws.
    """
    if where == "uniform":
        rows, columns = _room(image_size, size)
        return int(rng.integers(rows + 1)), int(rng.integers(columns + 1))
    return five_origins(image_size, size)[int(rng.integers(5))]


def five_origins(image_size: Size, size: int) -> list[tuple[int, int]]:
    """Return the `(top, left)` pixels of the crops at the centre and the corners of an entire image (section 3.1)."""
    rows, columns = _room(image_size, size)
    return [(rows // 2, columns // 2), (0, 0), (0, columns), (rows, 0), (rows, columns)]


def overlapping_origins(
    image_size: Size,
    box: ArrayLike,
    size: int,
    min_overlap: float,
    *,
    overlap: Overlap = "object",
    where: Where = "uniform",
) -> Integers:
    """List the square crops that overlap an object enough (paper section 4.5: by 50 %).

    The crop's label is the object's subcategory. The paper doesn't define its overlap: `object` is the fraction
    of the object's area inside the crop, `iou` the intersection over union of object and crop.

    Args:
        image_size: of the image, pixels; both sides at least `size`.
        box: `[x0, y0, x1, y1)` of the object in the image's pixels.
        size: the crop's side in pixels.
        min_overlap: the least overlap, in 0..1.
        overlap: what is measured.
        where: which crops there are: at every pixel (`uniform`), or the `five` of centre and corners.

    Returns:
        `(top, left)` of each crop, int64 `[n, 2]`; empty where none overlaps enough.

    Raises:
        ConfigError: an unknown `overlap`, or an image smaller than the crop.
    """
    if overlap not in ("object", "iou"):
        raise ConfigError(f"overlap: must be 'object' or 'iou', not {overlap!r}")
    x0, y0, x1, y1 = (float(value) for value in np.asarray(box, dtype=np.float64))
    rows, columns = _room(image_size, size)
    if not (x1 > x0 and y1 > y0):
        return np.empty((0, 2), dtype=np.int64)
    covered = np.outer(_covered(y0, y1, rows, size), _covered(x0, x1, columns, size))
    area = (x1 - x0) * (y1 - y0)
    whole = area if overlap == "object" else area + float(size) ** 2 - covered
    good = (covered > 0) & (covered / whole >= min_overlap)
    if where == "five":
        origins = np.array(five_origins(image_size, size), dtype=np.int64)
        return origins[good[origins[:, 0], origins[:, 1]]]
    return np.argwhere(good).astype(np.int64)


@dataclass(frozen=True, slots=True)
class EpochSizes:
    """The side of the network's input in each epoch (section 2.3): one for a whole epoch, the weights shared.

    The paper alternates epochs of 224 and 180 pixels, and has a variant with a size drawn uniformly from [180, 224].
    Whether it draws anew for each epoch or for each iteration is not stated: here it is an epoch, as in the
    alternating kind.

    Attributes:
        sizes: epochs take turns with these, in pixels.
        drawn: draw one integer from this closed range instead; None takes turns.
        seed: of the draws, each from the seed and the epoch's number alone.
    """

    sizes: tuple[int, ...] = (224,)
    drawn: tuple[int, int] | None = None
    seed: int = 0

    def of(self, epoch: int) -> int:
        """Return an epoch's size in pixels."""
        if self.drawn is None:
            return self.sizes[epoch % len(self.sizes)]
        rng = np.random.default_rng(derive_seed(self.seed, "size", epoch))
        return int(rng.integers(self.drawn[0], self.drawn[1], endpoint=True))


def _room(image_size: Size, size: int) -> tuple[int, int]:
    """Return by how many rows and columns a crop can move."""
    rows, columns = image_size.height - size, image_size.width - size
    if min(rows, columns) < 0:
        raise ConfigError(f"crop of {size} pixels from an image of {image_size}: resize it first")
    return rows, columns


def _covered(low: float, high: float, room: int, size: int) -> Float64s:
    """Return the length of `[low, high)` inside a crop, for each of its `room + 1` positions along one axis."""
    starts = np.arange(room + 1, dtype=np.float64)
    inside = np.minimum(starts + size, high) - np.maximum(starts, low)
    return np.asarray(inside.clip(0.0), dtype=np.float64)
