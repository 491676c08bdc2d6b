from __future__ import annotations

import numpy as np
import pytest
import torch

from sppnet.detection.batch_suppression import best_windows, sorted_scores
from sppnet.detection.ensemble import Rules, ScoredWindows, choose_windows
from sppnet.pooling.image_batches import BatchWindows
from sppnet.sizes import Size
from tests.support.triton_interpreter import interpreted

COUNTS = (9, 0, 14)
RULES = Rules(threshold=-1.0, nms_iou=0.3, per_image=3)


def inputs() -> tuple[BatchWindows, torch.Tensor]:
    rng = np.random.default_rng(0)
    windows = []
    for count in COUNTS:
        corner = rng.integers(0, 12, (count, 2))
        windows.append(np.concatenate([corner, corner + rng.integers(1, 9, (count, 2))], axis=1))
    batch = BatchWindows.of(windows, [Size(30, 30)] * 3, torch.device("cpu"))
    return batch, torch.from_numpy(rng.integers(-4, 5, (sum(COUNTS), 2)).astype(np.float32) / 2)


def test_each_image_keeps_what_it_keeps_alone() -> None:
    windows, scores = inputs()
    chosen = best_windows(windows, scores, RULES).numpy()
    assert chosen.shape == (3, 2, 3)
    assert (chosen[1] == -1).all()
    for image, (start, end) in enumerate([(0, 9), (9, 9), (9, 23)]):
        own = ScoredWindows(windows.boxes[start:end].float().numpy(), scores[start:end].numpy())
        kept = choose_windows([own], RULES.threshold, RULES.nms_iou, RULES.per_image)
        for category in (0, 1):
            places = kept.window[kept.category == category].tolist()
            assert chosen[image, category].tolist() == places + [-1] * (3 - len(places))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_gpus_way_is_the_same() -> None:
    windows, scores = inputs()
    ordered, order = sorted_scores(windows, scores)
    assert ordered.shape == (3, 2, 14)
    assert ordered[0, 1, :9].tolist() == sorted(scores[:9, 1].tolist(), reverse=True)
    assert torch.isinf(ordered[0, :, 9:]).all()
    keep = interpreted("sppnet.boxes_triton").keep_best
    found = keep(windows.boxes, order, ordered, windows.starts, windows.ends, -1.0, 0.3, 3)
    assert torch.equal(found, best_windows(windows, scores, RULES))


def test_no_windows() -> None:
    windows = BatchWindows.of([np.zeros((0, 4))], [Size(5, 5)], torch.device("cpu"))
    assert (best_windows(windows, torch.zeros(0, 2), RULES) == -1).all()
    assert sorted_scores(windows, torch.zeros(0, 2))[0].shape == (1, 2, 0)
