"""Krizhevsky's normalisation across channels on a GPU, in one pass over the map: one Triton kernel."""

# Kernels' parameters have no types that Python would know.
# mypy: disallow-untyped-defs=False, disallow-untyped-decorators=False, disallow-untyped-calls=False
# mypy: disallow-incomplete-defs=False
# ruff: noqa: ANN001, ANN202
from __future__ import annotations

import torch
import triton
import triton.language as tl

from sppnet.devices import on_its_device

_BLOCK = 1024


@triton.jit(do_not_specialize=["count"])
def _normalise(
    values, out, count, channels, weight, k, beta,
    below: tl.constexpr, above: tl.constexpr, quarters: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    start = tl.program_id(0).to(tl.int64) * block
    place = start + tl.arange(0, block)
    inside = place < count
    channel = ((start % channels).to(tl.int32) + tl.arange(0, block)) % channels
    total = tl.full((block,), 0.0, tl.float32)
    for offset in tl.static_range(-below, above + 1):
        near = inside & (channel + offset >= 0) & (channel + offset < channels)
        value = tl.load(values + place + offset, near, 0.0).to(tl.float32)
        total += value * value
    total = total * weight + k
    value = tl.load(values + place, inside, 0.0).to(tl.float32)
    if quarters:  # beta is 0.75
        root = tl.rsqrt(total)
        value = value * root * tl.sqrt(root)
    else:
        value = value * tl.exp(-beta * tl.log(total))
    tl.store(out + place, value, inside)


def normalise(values: torch.Tensor, size: int, alpha: float, beta: float, k: float) -> torch.Tensor:
    """Return `x * (k + alpha / size * sum of squares of the `size` nearest channels) ** -beta`.

    Args:
        values: `[N, C, H, W]`, channels last in memory, any float type; computed in float32, rounded once.
        size: how many channels are summed.
        alpha: weight of the sum.
        beta: exponent.
        k: what is added to the sum.

    Returns:
        `[N, C, H, W]` of the same type, channels last in memory.
    """
    out = torch.empty_like(values)
    count = values.numel()
    with on_its_device(values):
        _normalise[(triton.cdiv(count, _BLOCK),)](
            values, out, count, values.shape[1], alpha / size, float(k), float(beta),
            below=size // 2, above=(size - 1) // 2, quarters=beta == 0.75, block=_BLOCK,
        )  # fmt: skip
    return out
