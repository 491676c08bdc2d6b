"""Non-maximum suppression on a GPU: one Triton program an image and category, by the rule of `sppnet.boxes.nms`.

In float64 and without fused multiply-adds, so that a box that lies on the threshold is judged as on the CPU.
"""

# Kernels' parameters have no types that Python would know.
# mypy: disallow-untyped-defs=False, disallow-untyped-decorators=False, disallow-untyped-calls=False
# mypy: disallow-incomplete-defs=False
# ruff: noqa: ANN001, ANN202
from __future__ import annotations

import torch
import triton
import triton.language as tl

from sppnet.devices import on_its_device

MOST_KEPT = 1024
"""The largest limit that the kernel takes: the boxes that are kept lie in registers."""


@triton.jit
def _sum(a, b):
    return a + b


@triton.jit(do_not_specialize=["limit", "length"])  # as images have ever other numbers of windows
def _keep(
    boxes, order, ordered, starts, ends, iou, chosen, least, limit, length,
    categories: tl.constexpr, slots: tl.constexpr,
):  # fmt: skip
    """Write the places of the boxes that one image keeps in one category; see `keep_best` for what each is."""
    group = tl.program_id(0).to(tl.int64)
    start = tl.load(starts + group // categories)
    count_all = tl.load(ends + group // categories) - start
    threshold = tl.load(iou)
    slot = tl.arange(0, slots)
    a0 = tl.full((slots,), 0.0, tl.float64)
    b0, a1, b1 = a0, a0, a0
    count = group.to(tl.int32) * 0
    row = count
    going = count_all > 0
    while going:
        place = tl.load(order + group * length + row)
        score = tl.load(ordered + group * length + row)
        box = boxes + (start + place) * 4
        x0, y0, x1, y1 = tl.load(box), tl.load(box + 1), tl.load(box + 2), tl.load(box + 3)
        width = tl.maximum(tl.minimum(x1, a1) - tl.maximum(x0, a0), 0.0)
        height = tl.maximum(tl.minimum(y1, b1) - tl.maximum(y0, b0), 0.0)
        inter = width * height
        # 0 / 0 is not a number, which is not greater: empty boxes suppress nothing.
        ratio = inter / ((a1 - a0) * (b1 - b0) + (x1 - x0) * (y1 - y0) - inter)
        hidden = tl.reduce(((ratio > threshold) & (slot < count)).to(tl.int32), 0, _sum)
        clear = (hidden == 0) & (score > least)
        tl.store(chosen + group * limit + count, place.to(tl.int32), clear)
        here = (slot == count) & clear
        a0, b0 = tl.where(here, x0, a0), tl.where(here, y0, b0)
        a1, b1 = tl.where(here, x1, a1), tl.where(here, y1, b1)
        count += clear.to(tl.int32)
        row += 1
        going = (row < count_all) & (count < limit) & (score > least)


def keep_best(
    boxes: torch.Tensor,
    order: torch.Tensor,
    ordered: torch.Tensor,
    starts: torch.Tensor,
    ends: torch.Tensor,
    least: float,
    iou: float,
    limit: int,
) -> torch.Tensor:
    """Suppress the boxes of several images, category by category; nothing is checked or waits for the device.

    Args:
        boxes: float64 `[n, 4]` pixels, contiguous, image behind image.
        order: int64 `[images, categories, length]` contiguous: places of an image's boxes among its own, by falling
            score.
        ordered: float32, of the same shape: their scores.
        starts: int64 `[images]`, where each image's boxes begin.
        ends: int64 `[images]`, where they end.
        least: boxes whose score is not above it are dropped.
        iou: a box that overlaps a kept one by more goes.
        limit: at most so many are kept of an image and category; up to `MOST_KEPT`.

    Returns:
        int32 `[images, categories, limit]`: places among the image's boxes by falling score, then -1.
    """
    images, categories, length = order.shape
    chosen = torch.full((images, categories, limit), -1, dtype=torch.int32, device=boxes.device)
    if not chosen.numel() or not length:
        return chosen
    threshold = torch.full((1,), iou, dtype=torch.float64, device=boxes.device)  # as an argument it would be float32
    with on_its_device(boxes):
        _keep[(images * categories,)](
            boxes, order, ordered, starts, ends, threshold, chosen, float(least), limit, length,
            categories=categories, slots=triton.next_power_of_2(limit), num_warps=1, enable_fp_fusion=False,
        )  # fmt: skip
    return chosen
