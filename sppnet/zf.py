"""ZF-5 (Zeiler and Fergus), the paper's main backbone, without its last pooling (Table 1, column "ZF-5").

conv1 7x7/2, pool1 3x3/2, conv2 5x5/2, pool2 3x3/2, conv3-5 3x3, all pools floored. The paddings (3, 0, 1, 0, then
1) are the ones that give both Table 1's sizes (224 pixels to 13 cells, 180 to 10) and Appendix A's constants:
receptive field 139, stride 16, accumulated padding 55. The authors' *released* network pads less (1, 0, 0, 0) and
needs ceil pooling.
"""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
from torch import nn
from torch.nn import functional as F

CHANNELS = (96, 256, 384, 384, 256)
"""Output channels of conv1 to conv5 at width 1."""


def zf_channels(width: float) -> tuple[int, ...]:
    """Return conv1 to conv5's channels at a width multiplier: rounded to a multiple of 8, at least 8."""
    return tuple(max(8, math.floor(channels * width / 8 + 0.5) * 8) for channels in CHANNELS)


class ResponseNorm(nn.LocalResponseNorm):
    """`torch.nn.LocalResponseNorm` of the same values, 8 times faster on a CPU and with bfloat16 there.

    `x * (k + alpha / size * sum of squares of the `size` nearest channels) ** -beta`, where the sum is a 1x1
    convolution with a band of ones. It is Krizhevsky's norm across channels; the authors' release normalises
    WITHIN_CHANNEL over 3x3 cells (alpha 5e-5), which Table 1 doesn't say.

    Args:
        channels: of the input `[N, channels, H, W]`.
        size: how many channels are summed.
    """

    keeps_geometry = True
    """Tells `sppnet.geometry.trace_geometry` that a cell depends on no other cell."""

    band: torch.Tensor

    def __init__(self, channels: int, size: int = 5) -> None:
        super().__init__(size)
        index = torch.arange(channels)
        # torch pads size // 2 channels in front and (size - 1) // 2 behind.
        offset = index[None, :] - index[:, None]
        near = (offset >= -(size // 2)) & (offset <= (size - 1) // 2)
        self.register_buffer("band", near.float()[:, :, None, None], persistent=False)

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - the base class's name
        """Normalise `[N, C, H, W]` of any float type."""
        # Scaled before squaring: squares of raw activations overflow float16.
        scaled = input * math.sqrt(self.alpha / self.size)
        total = F.conv2d(scaled * scaled, self.band) + self.k
        if self.beta != 0.75:
            return input * total.pow(-self.beta)
        root = total.rsqrt()
        return input * root * root.sqrt()


def build_zf5(width: float = 1.0, *, response_norm: bool = True) -> nn.Sequential:
    """Build ZF-5's convolutions, named `conv1 relu1 norm1 pool1 ... conv5 relu5`, ready to train from scratch.

    Args:
        width: multiplies the channels of every layer.
        response_norm: normalise after conv1 and conv2, before pooling (Table 1).

    Returns:
        A module from `[N, 3, H, W]` to `[N, C, h, w]`, He-initialised for inputs of about unit variance, zero bias.
    """
    channels = (3, *zf_channels(width))
    shapes = ((7, 2, 3), (5, 2, 1), (3, 1, 1), (3, 1, 1), (3, 1, 1))
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, (kernel, stride, padding) in enumerate(shapes, start=1):
        layers[f"conv{number}"] = nn.Conv2d(channels[number - 1], channels[number], kernel, stride, padding)
        layers[f"relu{number}"] = nn.ReLU(inplace=True)
        if number <= 2:
            if response_norm:
                layers[f"norm{number}"] = ResponseNorm(channels[number])
            layers[f"pool{number}"] = nn.MaxPool2d(3, 2)
    trunk = nn.Sequential(layers)
    trunk.apply(_initialise)
    return trunk


def _initialise(module: nn.Module) -> None:
    """Give a convolution He's normal initialisation and zero bias."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
