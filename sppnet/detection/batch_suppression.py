"""Non-maximum suppression of several images' windows, where their scores are."""

from __future__ import annotations

import numpy as np
import torch

from sppnet.detection.ensemble import Rules, ScoredWindows, choose_windows
from sppnet.devices import runs_triton, upload
from sppnet.pooling.image_batches import BatchWindows


def best_windows(windows: BatchWindows, scores: torch.Tensor, rules: Rules) -> torch.Tensor:
    """Return the windows that stay of each image and category, as `choose_windows` does of one detector's.

    On a GPU with Triton nothing waits for it; elsewhere the scores go to the CPU.

    Args:
        windows: of the images.
        scores: float32 `[n, categories]`, finite, on their device.
        rules: what stays.

    Returns:
        int32 `[images, categories, per_image]`: places among the image's windows by falling score, then -1.
    """
    if runs_triton(scores.device):
        from sppnet.boxes_triton import MOST_KEPT, keep_best

        if rules.per_image <= MOST_KEPT:
            ordered, order = sorted_scores(windows, scores)
            return keep_best(
                windows.boxes,
                order,
                ordered,
                windows.starts,
                windows.ends,
                rules.least,
                rules.nms_iou,
                rules.per_image,
            )
    found = np.full((len(windows.counts), scores.shape[1], rules.per_image), -1, dtype=np.int32)
    boxes, values = windows.boxes.float().cpu().numpy(), scores.cpu().numpy()
    ends = np.cumsum(windows.counts)
    for image, (count, end) in enumerate(zip(windows.counts, ends, strict=True)):
        own = ScoredWindows(boxes[end - count : end], values[end - count : end])
        kept = choose_windows([own], rules.least, rules.nms_iou, rules.per_image)
        firsts = np.searchsorted(kept.category, kept.category)
        found[image, kept.category, np.arange(len(kept)) - firsts] = kept.window
    return upload(found, scores.device)


def sorted_scores(windows: BatchWindows, scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sort each image's scores, category by category, of equal ones the first window first.

    Args:
        windows: of the images.
        scores: float32 `[n, categories]`.

    Returns:
        Scores by fall and their windows' places among the image's own, `[images, categories, most windows]` each;
        images with fewer windows end with minus infinities.
    """
    device = scores.device
    place = torch.arange(max(windows.counts, default=0), device=device)
    rows = windows.starts[:, None] + place
    inside = rows < windows.ends[:, None]
    padded = (
        scores[rows.clamp(max=max(0, len(scores) - 1))]
        if len(scores)
        else scores.new_zeros(*rows.shape, scores.shape[1])
    )
    padded = padded.masked_fill(~inside[:, :, None], -torch.inf).transpose(1, 2).contiguous()
    return torch.sort(padded, dim=-1, descending=True, stable=True)
