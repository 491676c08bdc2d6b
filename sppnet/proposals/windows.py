"""What all proposal methods share: unions of windows, and windows of other programs in pixels of ours (section 4.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import numpy as np

from sppnet.arrays import Array, Float64s, Integers, Pixels, Windows
from sppnet.errors import ConfigError, DataError

BoxConvention: TypeAlias = Literal[
    "xyxy-0-half-open",
    "xyxy-0-inclusive",
    "xyxy-1-inclusive",
    "yxyx-0-inclusive",
    "yxyx-1-inclusive",
    "xywh-0",
    "xywh-1",
]
"""Order of a box's numbers, what the first pixel is called, and whether the last pixel named is inside.

Selective search's `.mat` files (R-CNN, SPP-net) are `yxyx-1-inclusive`, Fast R-CNN's demo boxes `xyxy-0-inclusive`,
EdgeBoxes' MATLAB results `xywh-1`, VOC's XML `xyxy-1-inclusive`, this project's windows `xyxy-0-half-open`.
"""

MAX_OVERHANG = 1.0
"""Pixels by which a window may leave its image and be clipped whatever the rule: a matter of rounding."""


def check_image(image: Pixels, what: str) -> None:
    """Raise `ConfigError` naming `what` unless the image is uint8 `[H, W, 3]`."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ConfigError(f"{what}: needs a uint8 [H, W, 3] image, got {image.dtype} {image.shape}")


def to_windows(boxes: Array, convention: BoxConvention) -> Float64s:
    """Turn boxes of another program into 0-based half-open pixels.

    Args:
        boxes: `[n, 4]` numbers; further columns, such as a score, are left out.
        convention: what they mean.

    Returns:
        float64 `[n, 4]` `[x0, y0, x1, y1)`.

    Raises:
        ConfigError: an unknown convention.
        DataError: `bad-windows`: another shape, or numbers that are none.
    """
    if convention not in get_args(BoxConvention):
        raise ConfigError(f"unknown convention of boxes '{convention}'; known: {', '.join(get_args(BoxConvention))}")
    array = np.asarray(boxes)
    if array.size == 0:
        return np.zeros((0, 4))
    if array.ndim != 2 or array.shape[1] < 4 or array.dtype.kind not in "iuf":
        raise DataError("bad-windows", f"boxes are {array.dtype} {list(array.shape)}; expected numbers [n, 4]")
    order, base, *end = convention.split("-")
    values = array[:, :4].astype(np.float64)
    if not np.isfinite(values).all():
        raise DataError("bad-windows", "a box has a number that is not finite")
    if order == "yxyx":
        values = values[:, [1, 0, 3, 2]]
    if order == "xywh":
        values[:, 2:] += values[:, :2]
    values -= float(base)
    if end == ["inclusive"]:
        values[:, 2:] += 1
    return values


def fit_windows(windows: Float64s, width: int, height: int, *, clip: bool, min_side: float) -> Windows:
    """Bring windows into their image, and drop those too small and those that come again.

    Args:
        windows: `[n, 4]` pixels.
        width: of the image, pixels.
        height: of the image, pixels.
        clip: whether windows may leave the image by more than `MAX_OVERHANG`, and are clipped.
        min_side: windows with a side below this many pixels are dropped; those without area always are.

    Returns:
        float32 `[m, 4]`, in order.

    Raises:
        DataError: `window-outside-image`: unless `clip`, a window leaves the image.
    """
    size = np.array([width, height, width, height], np.float64)
    over = np.maximum(-windows, windows - size).max(axis=1, initial=0)
    if not clip and (over > MAX_OVERHANG).any():
        box = [round(float(v), 2) for v in windows[over.argmax()]]
        raise DataError("window-outside-image", f"window {box} leaves the image of {width} x {height} pixels")
    inside = np.clip(windows, 0, size).astype(np.float32)
    sides = inside[:, 2:] - inside[:, :2]
    large = (sides > 0).all(axis=1) & (sides >= min_side).all(axis=1)
    return join_windows([inside[large]])


def join_windows(parts: Sequence[Windows]) -> Windows:
    """Join the windows of one part after another; one that comes again counts where it came first.

    Args:
        parts: float32 `[n, 4]` each.

    Returns:
        float32 `[m, 4]`, distinct.
    """
    windows = np.concatenate([np.zeros((0, 4), np.float32), *parts])
    return windows[first_of_each(windows)]


def first_of_each(boxes: Array) -> Integers:
    """Return where each distinct box comes first, in order.

    Args:
        boxes: int32 or float32 `[n, 4]`.
    """
    # As two 64-bit keys a row: many times faster than comparing rows. Adding 0 makes 0 of -0.
    halves = np.ascontiguousarray(boxes + boxes.dtype.type(0)).view(np.uint64)
    order = np.lexsort((halves[:, 0], halves[:, 1]))  # stable: of equal rows the first stays the first
    ordered = halves[order]
    is_new = np.ones(len(boxes), np.bool_)
    is_new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    return np.sort(order[is_new])
