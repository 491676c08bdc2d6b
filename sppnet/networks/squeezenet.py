"""SqueezeNet 1.0's convolutions (Iandola et al., 2016), with the names and the fresh weights that torchvision has.

`import torchvision` takes a hundred megabytes and a second or two of every process that only wants these layers.
"""

from __future__ import annotations

import torch
from torch import nn

_CLASSES = 1000


class Fire(nn.Module):
    """A squeezing 1 x 1 convolution, and one of 1 x 1 and one of 3 x 3 on what it gives, their channels together.

    Args:
        channels: Of the input.
        squeezed: Channels between.
        expanded: Channels of each of the two that expand.
    """

    def __init__(self, channels: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeezed, kernel_size=1)
        self.squeeze_activation = nn.ReLU(inplace=True)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, kernel_size=1)
        self.expand1x1_activation = nn.ReLU(inplace=True)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, kernel_size=3, padding=1)
        self.expand3x3_activation = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return `[N, 2 * expanded, H, W]` of `[N, channels, H, W]`."""
        x = self.squeeze_activation(self.squeeze(x))
        return torch.cat(
            [self.expand1x1_activation(self.expand1x1(x)), self.expand3x3_activation(self.expand3x3(x))], 1
        )


def squeezenet_features() -> nn.Sequential:
    """Build the layers before the classifier; a seed gives the weights that it gives torchvision's `squeezenet1_0`."""
    features = nn.Sequential(
        nn.Conv2d(3, 96, kernel_size=7, stride=2),
        nn.ReLU(inplace=True),
        _halved(),
        Fire(96, 16, 64),
        Fire(128, 16, 64),
        Fire(128, 32, 128),
        _halved(),
        Fire(256, 32, 128),
        Fire(256, 48, 192),
        Fire(384, 48, 192),
        Fire(384, 64, 256),
        _halved(),
        Fire(512, 64, 256),
    )
    classifier = nn.Conv2d(512, _CLASSES, kernel_size=1)  # is not kept, but draws random numbers before and after
    for layer in features.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    if not classifier.weight.is_meta:  # where it draws nothing, and would import a compiler
        nn.init.normal_(classifier.weight, mean=0.0, std=0.01)
    return features


def _halved() -> nn.MaxPool2d:
    return nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True)
