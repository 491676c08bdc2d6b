"""The receptive field of a cell as its gradient shows it, for any trunk."""

from __future__ import annotations

import copy

import torch
from torch import nn

_NORMS = (nn.LocalResponseNorm, nn.BatchNorm2d, nn.LayerNorm)


def footprint(trunk: nn.Module, hw: tuple[int, int], cell: int, axis: int = 1) -> tuple[int, int]:
    """First and one past the last pixel along an axis (0: y, 1: x) that a cell in the middle of the other one sees.

    All weights are made positive so that nothing cancels; a maximum's gradient reaches one pixel only, so max pools
    average instead; normalisations and squeeze-excitation, which the geometry does not count, are taken out.
    """
    trunk = copy.deepcopy(trunk).eval()
    if next(trunk.parameters()).is_meta:
        trunk = trunk.to_empty(device="cpu")
    for module in list(trunk.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.MaxPool2d):
                average = nn.AvgPool2d(child.kernel_size, child.stride, child.padding, ceil_mode=child.ceil_mode)
                setattr(module, name, average)
            elif isinstance(child, _NORMS) or hasattr(child, "keeps_geometry"):
                setattr(module, name, nn.Identity())
            elif isinstance(child, nn.Conv2d):
                nn.init.constant_(child.weight, 1.0 / child.weight[0].numel())
                if child.bias is not None:
                    nn.init.ones_(child.bias)
    image = torch.ones(1, 3, *hw, dtype=torch.float64, requires_grad=True)
    maps = trunk.double().requires_grad_(False)(image)  # only the image's gradient is wanted
    line = maps[0].movedim(1 + axis, 0)[cell]
    line[:, line.shape[1] // 2].sum().backward()
    seen = torch.nonzero(image.grad.abs().sum(dim=(0, 1, 3 - axis)))
    return int(seen.min()), int(seen.max()) + 1
