"""Boxes: overlap, non-maximum suppression and the coding of box regression.

Boxes are 0-based half-open pixels `[x0, y0, x1, y1)` of the original image, so an area is plainly
`(x1 - x0) * (y1 - y0)`: VOC's 1-based inclusive boxes with their `+ 1` give the same numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from sppnet.arrays import Float64s, Integers
from sppnet.errors import DataError
from sppnet.sizes import Size

if TYPE_CHECKING:
    import torch

# exp() of more than this is no box any more; the bound keeps absurd deltas finite until they are clipped.
_MAX_LOG_SIZE = 50.0


def _as_boxes(boxes: ArrayLike, name: str = "boxes") -> Float64s:
    """Return the boxes as float64 `[n, 4]`; an empty list of any shape is `[0, 4]`."""
    array = np.asarray(boxes, dtype=np.float64)
    if array.size == 0:
        return array.reshape(0, 4)
    if array.ndim != 2 or array.shape[1] != 4:
        raise DataError("bad-boxes", f"{name} must have shape [n, 4], not {list(array.shape)}")
    return array


def box_areas(boxes: ArrayLike) -> Float64s:
    """Return the areas in square pixels; a box whose ends are crossed has area 0.

    Args:
        boxes: `[n, 4]` pixels.

    Returns:
        float64 `[n]`.
    """
    array = _as_boxes(boxes)
    return np.maximum(array[:, 2] - array[:, 0], 0.0) * np.maximum(array[:, 3] - array[:, 1], 0.0)


def paired_iou(a: ArrayLike, b: ArrayLike) -> Float64s:
    """Return the intersection over union of each box of `a` with the box of `b` in the same row.

    Args:
        a: `[n, 4]` pixels.
        b: `[n, 4]` pixels.

    Returns:
        float64 `[n]`; 0 where both boxes are empty.
    """
    left, right = _as_boxes(a, "a"), _as_boxes(b, "b")
    if len(left) != len(right):
        raise DataError("bad-boxes", f"{len(left)} boxes can't be paired with {len(right)}")
    low = np.maximum(left[:, :2], right[:, :2])
    high = np.minimum(left[:, 2:], right[:, 2:])
    inter = np.prod(np.maximum(high - low, 0.0), axis=1)
    return _ratio(inter, box_areas(left) + box_areas(right) - inter)


def intersection_matrix(a: ArrayLike, b: ArrayLike) -> Float64s:
    """Return the common area of every pair of boxes, square pixels; exact for integer boxes.

    Args:
        a: `[n, 4]` pixels.
        b: `[m, 4]` pixels.

    Returns:
        float64 `[n, m]`.
    """
    left, right = _as_boxes(a, "a"), _as_boxes(b, "b")
    width = np.minimum(left[:, None, 2], right[None, :, 2]) - np.maximum(left[:, None, 0], right[None, :, 0])
    height = np.minimum(left[:, None, 3], right[None, :, 3]) - np.maximum(left[:, None, 1], right[None, :, 1])
    inter: Float64s = np.maximum(width, 0.0, out=width)
    inter *= np.maximum(height, 0.0, out=height)
    return inter


def iou_matrix(a: ArrayLike, b: ArrayLike) -> Float64s:
    """Return the intersection over union of every pair of boxes.

    For integer boxes the ratio is the correctly rounded one, so that comparing it with 0.5 or with
    a threshold such as 0.3 is exact.

    Args:
        a: `[n, 4]` pixels.
        b: `[m, 4]` pixels.

    Returns:
        float64 `[n, m]`; 0 where the union is empty.
    """
    inter = intersection_matrix(a, b)
    return _ratio(inter, box_areas(a)[:, None] + box_areas(b)[None, :] - inter)


def _ratio(inter: Float64s, union: Float64s) -> Float64s:
    return np.divide(inter, union, out=np.zeros_like(inter), where=union > 0.0)


def nms(boxes: ArrayLike, scores: ArrayLike, threshold: float = 0.3) -> Integers:
    """Suppress non-maxima greedily (section 4.1: IoU threshold 0.3).

    The best box is kept, every box whose IoU with it is *greater* than `threshold` goes, and so on.

    Args:
        boxes: `[n, 4]` pixels.
        scores: `[n]`; among equal scores the lower index comes first.
        threshold: IoU above which a box is suppressed.

    Returns:
        int64 `[kept]`: indices by falling score.

    Raises:
        DataError: the numbers of boxes and scores differ, or a score is not a number.
    """
    array = _as_boxes(boxes)
    return nms_by_category(array, scores, np.zeros(len(array), np.int64), threshold)


def nms_by_category(
    boxes: ArrayLike, scores: ArrayLike, categories: ArrayLike, threshold: float = 0.3, limit: int | None = None
) -> Integers:
    """Suppress non-maxima within each category, as `nms` does in one.

    Args:
        boxes: `[n, 4]` pixels.
        scores: `[n]`; among equal scores of a category the lower index comes first.
        categories: int `[n]`: boxes of different ones don't suppress each other. Any numbers will do, such as
            `image * categories + category` for the boxes of several images.
        threshold: IoU above which a box is suppressed.
        limit: at most so many are kept of a category, the best; None keeps all.

    Returns:
        int64 `[kept]`: indices by rising category, within each by falling score.

    Raises:
        DataError: the numbers of boxes, scores and categories differ, or a score is not a number.
    """
    from sppnet.boxes_numba import keep

    # In float64: float32 areas would move boxes across the threshold.
    array = _as_boxes(boxes)
    values = np.asarray(scores, dtype=np.float64).reshape(-1)
    groups = np.asarray(categories, dtype=np.int64).reshape(-1)
    if not len(array) == len(values) == len(groups):
        raise DataError("bad-boxes", f"{len(array)} boxes but {len(values)} scores and {len(groups)} categories")
    if np.isnan(values).any():
        raise DataError("nan-scores", f"{int(np.isnan(values).sum())} of {len(values)} scores")
    order = np.lexsort((-values, groups))  # stable: ties by index
    kept = np.zeros(len(order), dtype=np.bool_)
    keep(array[order], groups[order], threshold, len(order) if limit is None else limit, kept)
    return order[kept]


def clip_boxes(boxes: ArrayLike, image_size: Size) -> Float64s:
    """Return the part of each box that lies in the image.

    Args:
        boxes: `[n, 4]` pixels.
        image_size: of the image, pixels.

    Returns:
        float64 `[n, 4]`; a box that lies outside becomes an empty one on the border.
    """
    return np.clip(_as_boxes(boxes), 0.0, np.array([*image_size, *image_size], dtype=np.float64))


def mirror_boxes(boxes: ArrayLike, width: float) -> Float64s:
    """Return the boxes of an image as they lie in its mirror image, left and right exchanged.

    Args:
        boxes: `[n, 4]` pixels.
        width: Of the image, in pixels.

    Returns:
        float64 `[n, 4]`.
    """
    array = _as_boxes(boxes)
    return np.stack([width - array[:, 2], array[:, 1], width - array[:, 0], array[:, 3]], axis=1)


def encode_boxes(windows: ArrayLike, targets: ArrayLike) -> Float64s:
    """Return what a box regressor has to learn to turn each window into its target (R-CNN, appendix C).

    Args:
        windows: `[n, 4]` pixels.
        targets: `[n, 4]` pixels, the ground truth box of each window.

    Returns:
        float64 `[n, 4]`: dx, dy (centres, in window sizes), dw, dh (logarithms of the ratio of sizes).

    Raises:
        DataError: `empty-box` if a window or a target has no area.
    """
    source, goal = _as_boxes(windows, "windows"), _as_boxes(targets, "targets")
    if len(source) != len(goal):
        raise DataError("bad-boxes", f"{len(source)} windows but {len(goal)} targets")
    source_size, goal_size = source[:, 2:] - source[:, :2], goal[:, 2:] - goal[:, :2]
    if (source_size <= 0.0).any() or (goal_size <= 0.0).any():
        raise DataError("empty-box", "a window or a target without area can't be encoded")
    source_centre = source[:, :2] + 0.5 * source_size
    goal_centre = goal[:, :2] + 0.5 * goal_size
    return np.concatenate([(goal_centre - source_centre) / source_size, np.log(goal_size / source_size)], axis=1)


def decode_boxes(windows: ArrayLike, deltas: ArrayLike, image_size: Size | None = None) -> Float64s:
    """Return the boxes that regressed deltas stand for: the inverse of `encode_boxes`, clipped to the image.

    Args:
        windows: `[n, 4]` pixels.
        deltas: `[n, 4]`: dx, dy, dw, dh.
        image_size: of the image, pixels; None leaves the boxes unclipped.

    Returns:
        float64 `[n, 4]` pixels.
    """
    source, move = _as_boxes(windows, "windows"), _as_boxes(deltas, "deltas")
    if len(source) != len(move):
        raise DataError("bad-boxes", f"{len(source)} windows but {len(move)} deltas")
    boxes: Float64s = np.concatenate(_moved_corners(source, move, np.exp), axis=1)
    return boxes if image_size is None else clip_boxes(boxes, image_size)


def decode_on_device(windows: torch.Tensor, deltas: torch.Tensor, image_sizes: torch.Tensor) -> torch.Tensor:
    """Return what `decode_boxes` returns, of windows of any shape on any device.

    Args:
        windows: float64 `[..., 4]` pixels.
        deltas: float64 `[..., 4]`: dx, dy, dw, dh.
        image_sizes: float64 `[..., 2]`, widths and heights of their images in pixels, to which boxes are clipped.

    Returns:
        float64 `[..., 4]` pixels.
    """
    import torch

    boxes = torch.cat(_moved_corners(windows, deltas, torch.exp), dim=-1)
    return boxes.clamp(min=0.0).minimum(torch.cat([image_sizes, image_sizes], dim=-1))


def _moved_corners(source: Any, move: Any, exp: Any) -> tuple[Any, Any]:
    """Return the first and the last corners of moved windows, arrays or tensors `[..., 2]`."""
    size = source[..., 2:] - source[..., :2]
    centre = source[..., :2] + 0.5 * size + move[..., :2] * size
    half = 0.5 * size * exp(move[..., 2:].clip(max=_MAX_LOG_SIZE))
    return centre - half, centre + half
