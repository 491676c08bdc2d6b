"""The GPU's suppression, interpreted, beside the CPU's; and compiled for a GPU that need not be there."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sppnet.boxes import nms_by_category
from tests.support.triton_interpreter import interpreted


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_keeps_what_the_cpu_keeps() -> None:
    rng = np.random.default_rng(0)
    counts, categories, limit = (9, 0, 14), 3, 4
    boxes, scores = [], np.full((3, categories, 14), -np.inf, np.float32)
    for image, count in enumerate(counts):
        found = rng.integers(0, 12, (count, 4)).astype(float)
        found[:, 2:] = found[:, :2] + rng.integers(0, 9, (count, 2))  # some without area, some equal
        boxes.append(found)
        scores[image, :, :count] = rng.integers(-5, 6, (categories, count)) / 2  # with ties
    ordered, order = torch.sort(torch.from_numpy(scores), dim=-1, descending=True, stable=True)
    ends = torch.tensor(np.cumsum(counts))
    packed, starts = torch.from_numpy(np.concatenate(boxes)), ends - torch.tensor(counts)
    kernel = interpreted("sppnet.boxes_triton")
    chosen = kernel.keep_best(packed, order, ordered, starts, ends, -1.5, 0.3, limit).numpy()
    assert chosen.shape == (3, categories, limit)
    some = 0
    for image, count in enumerate(counts):
        for category in range(categories):
            values = scores[image, category, :count]
            rows = np.flatnonzero(values > -1.5)
            kept = rows[nms_by_category(boxes[image][rows], values[rows], np.zeros(len(rows), int), 0.3, limit)]
            assert chosen[image, category].tolist() == kept.tolist() + [-1] * (limit - len(kept))
            some += len(kept)
    assert some > 10
    assert kernel.keep_best(packed, order, ordered, starts, ends, -1.5, 0.3, 0).shape == (3, categories, 0)


def test_compiles_for_a_gpu_without_fused_products() -> None:
    triton = pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from sppnet.boxes_triton import _keep

    constants = {"categories": 20, "slots": 128}
    signature = {
        "boxes": "*fp64", "order": "*i64", "ordered": "*fp32", "starts": "*i64", "ends": "*i64", "iou": "*fp64",
        "chosen": "*i32", "least": "fp32", "limit": "i32", "length": "i32", **dict.fromkeys(constants, "constexpr"),
    }  # fmt: skip
    options = {"num_warps": 1, "enable_fp_fusion": False}
    source = ASTSource(_keep, signature, constexprs=constants)
    code = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options).asm["ptx"]
    assert "div.rn.f64" in code
    assert "fma" not in code
