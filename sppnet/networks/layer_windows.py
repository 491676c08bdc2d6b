"""What layers see of their input along an axis."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from sppnet.networks.timm_layers import SameConvolution


@dataclass(frozen=True, slots=True)
class Window:
    """What a layer sees of its input along one axis.

    Attributes:
        kernel: cells under one cell of the output, from the first to the last.
        stride: cells from one output's first to the next one's.
        padding: cells of the first output's that lie before the map.
        ceil: whether an output may reach beyond the padding behind the map, as with torch's `ceil_mode`.
        behind: cells of padding behind the map; None for as many as before it.
    """

    kernel: int = 1
    stride: int = 1
    padding: int = 0
    ceil: bool = False
    behind: int | None = None

    def outputs(self, cells: int) -> int:
        """Return how many outputs a whole map has, of so many cells along the axis."""
        room = cells + self.padding + (self.padding if self.behind is None else self.behind) - self.kernel
        count = (room + (self.stride - 1 if self.ceil else 0)) // self.stride + 1
        if self.ceil and (count - 1) * self.stride >= cells + self.padding:
            count -= 1
        return count

    def begun(self, cells: int) -> int:
        """Return how many outputs the first cells of a longer map give."""
        return (cells + self.padding - self.kernel) // self.stride + 1


def axis_window(module: nn.Conv2d | nn.MaxPool2d, axis: int) -> Window:
    """Return what a convolution or a pooling sees along one axis: 0 is the height."""
    kernel, stride, padding, dilation = (
        value if isinstance(value := getattr(module, name), int) else value[axis]
        for name in ("kernel_size", "stride", "padding", "dilation")
    )
    size = dilation * (kernel - 1) + 1
    if isinstance(module, SameConvolution):
        return Window(size, stride, module.before[axis], behind=module.behind[axis])
    return Window(size, stride, padding, bool(getattr(module, "ceil_mode", False)))
