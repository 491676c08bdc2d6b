"""Which scale a window is pooled from, and where it lies at that scale (paper, section 4.1).

A scale is the short side, in pixels, that an image is resized to.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike

from sppnet.arrays import Float64s, Integers
from sppnet.devices import constant, upload
from sppnet.errors import ConfigError
from sppnet.pooling.geometry import Convention, check_convention, checked_windows
from sppnet.sizes import Size

PAPER_SCALES = (480, 576, 688, 864, 1200)

# Pixels that a scaled window's side should come nearest to: the paper's 224, and the released code's 13 cells of 16.
_PAPER_TARGET = 224
_RELEASED_TARGET = 13 * 16


def resized_size(image_size: Size, scale: int) -> Size:
    """Return the size in pixels of an image whose short side is resized to `scale`.

    The long side keeps the aspect ratio, rounded to the nearest pixel (halves up). There is no longest side.

    Raises:
        ValueError: an image without pixels, or a scale below 1.
    """
    short = image_size.short_side
    if short < 1 or scale < 1:
        raise ValueError(f"an image of {image_size} pixels can't be resized to a short side of {scale}")

    def resize(side: int) -> int:
        return (2 * side * scale + short) // (2 * short)

    return Size(resize(image_size.width), resize(image_size.height))


def choose_scales(
    windows: ArrayLike,
    image_size: Size,
    scales: Sequence[int],
    convention: Convention = "paper",
) -> Integers:
    """Return the scale at which each window comes nearest to the size the network was trained on.

    `paper` (section 4.1): the scaled window's number of pixels is nearest to 224 x 224. `released`: the scale is
    nearest to `round(208 * short side / sqrt(window's pixels))`. Ties go to the smaller scale. A window of less than a
    pixel counts as one.

    Args:
        windows: `[n, 4]` float, `[x0, y0, x1, y1)` pixels of the original image.
        image_size: of the original image, pixels.
        scales: short sides, in any order.
        convention: `paper` or `released`.

    Returns:
        int64 `[n]`: indices into `scales`.

    Raises:
        ConfigError: no scales, or an unknown convention.
        ValueError: windows of another shape, or not finite.
    """
    check_convention(convention)
    if not scales:
        raise ConfigError("no scales to choose from")
    windows = checked_windows(windows)
    short = torch.tensor(float(image_size.short_side), dtype=torch.float64)
    return nearest_scales(torch.from_numpy(windows), short, scales, convention).numpy()


def nearest_scales(
    windows: torch.Tensor, short: torch.Tensor, scales: Sequence[int], convention: Convention
) -> torch.Tensor:
    """Choose scales as `choose_scales` does, on any device and unchecked.

    Args:
        windows: float64 `[n, 4]`, pixels of their original images.
        short: float64, the short side of each window's image in pixels, `[n]` or one for all.
        scales: short sides, in any order.
        convention: `paper` or `released`.

    Returns:
        int64 `[n]`: indices into `scales`.
    """
    pixels = ((windows[:, 2] - windows[:, 0]) * (windows[:, 3] - windows[:, 1])).clamp(min=1.0)
    order = np.argsort(np.asarray(scales), kind="stable")  # argmin takes the first, so the smaller, of equals
    sides = constant(tuple(float(scales[place]) for place in order), torch.float64, windows.device)
    if convention == "paper":
        # Both sides of |pixels * (s / short)^2 - 224^2| times short^2: whole numbers stay exact, so ties are ties.
        wanted = _PAPER_TARGET**2 * short**2
        distance = (pixels[:, None] * sides**2 - wanted[..., None]).abs()
    else:
        expected = _RELEASED_TARGET * short / torch.sqrt(pixels)
        distance = (sides - torch.floor(expected + 0.5)[:, None]).abs()
    return upload(order, windows.device)[distance.argmin(dim=1)]


def scale_windows(windows: ArrayLike, image_size: Size, scale: int, convention: Convention = "paper") -> Float64s:
    """Return windows of the original image as windows of the image resized to `scale`, not rounded.

    Both axes share one factor: `scale / short side` for `paper`. `released` keeps pixel 1 on pixel 1 and the last on
    the last, `x' = (x - 1) * (scale - 1) / (short - 1) + 1` in 1-based inclusive pixels; here, as 0-based half-open
    windows, `x0' = x0 * f` and `x1' = (x1 - 1) * f + 1`.

    Args:
        windows: `[n, 4]` float, `[x0, y0, x1, y1)` pixels of the original image.
        image_size: of the original image, pixels.
        scale: short side of the resized image, pixels.
        convention: `paper` or `released`.

    Returns:
        float64 `[n, 4]`.

    Raises:
        ConfigError: unknown convention.
        ValueError: windows of another shape or not finite, or an image without pixels.
    """
    check_convention(convention)
    windows = checked_windows(windows)
    short = image_size.short_side
    if short < 1 or scale < 1:
        raise ValueError(f"an image whose short side is {short} pixels can't be resized to {scale}")
    sides = torch.tensor([short, scale], dtype=torch.float64)
    return scaled_windows(torch.from_numpy(windows), sides[0], sides[1], convention).numpy()


def scaled_windows(
    windows: torch.Tensor, short: torch.Tensor, scale: torch.Tensor, convention: Convention
) -> torch.Tensor:
    """Scale windows as `scale_windows` does, on any device and unchecked.

    Args:
        windows: float64 `[n, 4]`, pixels of their original images.
        short: float64, the short side of each window's image in pixels, `[n]` or one for all.
        scale: float64, the short side that it is resized to, likewise.
        convention: `paper` or `released`.

    Returns:
        float64 `[n, 4]`.
    """
    short, scale = short[..., None], scale[..., None]
    plain = windows * scale / short
    if convention == "paper":
        return plain
    last = constant((0.0, 0.0, 1.0, 1.0), torch.float64, windows.device)
    # One pixel has no first and last to keep.
    return torch.where(short == 1, plain, (windows - last) * (scale - 1) / (short - 1) + last)
