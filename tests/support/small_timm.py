"""A network with the layers of timm's `tf_` networks, by the names of their classes, without timm."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F


class Conv2dSame(nn.Conv2d):
    """Pads as TensorFlow does: by the input's size."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002
        pads = list[int]()
        for axis in (1, 0):
            size, kernel, stride = input.shape[2 + axis], self.kernel_size[axis], self.stride[axis]
            total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        return F.conv2d(F.pad(input, pads), self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class BatchNormAct2d(nn.BatchNorm2d):
    """Normalises and activates."""

    def __init__(self, channels: int, act: nn.Module) -> None:
        super().__init__(channels)
        self.drop, self.act = nn.Identity(), act

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002
        return self.act(super().forward(input))


class Block(nn.Module):
    """An inverted residual of stride 1 or 2."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv_pw = nn.Conv2d(channels, 16, 1, bias=False)
        self.bn1 = BatchNormAct2d(16, nn.ReLU6(inplace=True))
        depthwise = {"groups": 16, "bias": False}
        self.conv_dw = (
            nn.Conv2d(16, 16, kernel, padding=kernel // 2, **depthwise)
            if stride == 1
            else Conv2dSame(16, 16, kernel, stride, **depthwise)
        )
        self.bn2 = BatchNormAct2d(16, nn.ReLU6(inplace=True))
        self.conv_pwl = nn.Conv2d(16, out, 1, bias=False)
        self.bn3 = BatchNormAct2d(out, nn.Identity())
        self.residual = stride == 1 and channels == out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = self.bn3(self.conv_pwl(self.bn2(self.conv_dw(self.bn1(self.conv_pw(x))))))
        return found + x if self.residual else found


def small_timm() -> nn.Sequential:
    """Return a network of stride 8 with weights and statistics of its own, in evaluation mode."""
    torch.manual_seed(0)
    network = nn.Sequential(
        Conv2dSame(3, 8, 3, 2, bias=False), BatchNormAct2d(8, nn.ReLU6()), Block(8, 8, 3, 1), Block(8, 8, 5, 2),
        Block(8, 8, 5, 1), Block(8, 8, 3, 2), Block(8, 8, 3, 1), nn.ReLU(),
    )  # fmt: skip
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.1, 0.4)
    return network.eval()
