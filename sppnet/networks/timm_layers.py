"""Layers of timm's networks in a form whose geometry is known, with the names and values of timm's own.

timm pads its `tf_` networks as TensorFlow's SAME does: by the input's size, so that where a cell lies depends on
whether each activation's sides are odd or even. Here the padding is always that of sides that the stride divides, as
in training: the map of an image whose sides are multiples of the network's stride is timm's to the last bit, and a
cell's place in any other image is the same.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class SameConvolution(nn.Conv2d):
    """A convolution that gives `ceil(cells / stride)` cells, padded unlike before and behind.

    Args:
        module: a convolution whose parameters and sizes are taken; its own padding is not.

    Attributes:
        before: zeros before the first cell, by axis.
    """

    before: tuple[int, int]

    def __init__(self, module: nn.Conv2d) -> None:
        nn.Module.__init__(self)
        self.__dict__.update({name: value for name, value in vars(module).items() if name != "_modules"})
        self.before = tuple(  # type: ignore[assignment]
            max(reach + 1 - stride, 0) // 2 for reach, stride in zip(self._reach(), module.stride, strict=True)
        )

    @property
    def behind(self) -> tuple[int, int]:
        """Zeros behind the last cell, by axis."""
        first, second = (reach - before for reach, before in zip(self._reach(), self.before, strict=True))
        return first, second

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - the base class's name
        """Convolve `[N, C, H, W]`."""
        (top, left), (bottom, right) = self.before, self.behind
        padded = F.pad(input, (left, right, top, bottom))
        return F.conv2d(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)

    def _reach(self) -> tuple[int, int]:
        """Return from a window's first cell to its last, by axis."""
        rows, columns = ((size - 1) * step for size, step in zip(self.kernel_size, self.dilation, strict=True))
        return rows, columns


class NormActivation(nn.BatchNorm2d):
    """Batch normalisation with what activates it in one module, as timm has them.

    Args:
        module: a normalisation whose parameters and sizes are taken.
        act: what follows it.

    Attributes:
        act: what follows it.
    """

    keeps_geometry = True
    """Tells `sppnet.networks.receptive_fields.trace_geometry` that a cell depends on no other cell."""

    act: nn.Module

    def __init__(self, module: nn.BatchNorm2d, act: nn.Module) -> None:
        nn.Module.__init__(self)
        self.__dict__.update({name: value for name, value in vars(module).items() if name != "_modules"})
        self.act = act

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - the base class's name
        """Normalise and activate `[N, C, H, W]`."""
        found: torch.Tensor = self.act(super().forward(input))
        return found
