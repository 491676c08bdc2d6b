"""The layers of a network on a GPU, some fused, of maps that may lie in larger ones.

The margin lets images of many sizes share a few shapes: cuDNN plans a convolution anew for each one, which takes
longer than the convolution. A map's values don't depend on the margin: what looks beyond the map finds the zeros that
it would find without it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.nn import functional as F

from sppnet.devices import runs_triton
from sppnet.networks.layer_windows import PoolNorm, Window, axis_window
from sppnet.networks.norms import ResponseNorm, WithinChannelNorm
from sppnet.networks.timm_layers import SameConvolution
from sppnet.sizes import Size


@dataclass(frozen=True, slots=True)
class Padded:
    """Maps in larger ones.

    Attributes:
        values: `[N, C, H, W]`, channels last in memory.
        size: of the maps, which begin at the first cell.
        clean: whether the margin holds zeros.
    """

    values: torch.Tensor
    size: Size
    clean: bool

    @property
    def room(self) -> Size:
        """Size of the maps with their margin."""
        return Size(self.values.shape[3], self.values.shape[2])

    def cleaned(self) -> torch.Tensor:
        """Return the values with zeros in the margin; written in place."""
        if not self.clean:
            self.values[:, :, self.size.height :].zero_()
            self.values[:, :, :, self.size.width :].zero_()
        return self.values

    def alone(self) -> torch.Tensor:
        """Return the maps without the margin, a view."""
        return self.values[:, :, : self.size.height, : self.size.width]


class DeviceLayer(ABC):
    """A layer that makes maps of maps."""

    fits_margins = True
    """Whether its inputs may have a margin."""

    @abstractmethod
    def __call__(self, inputs: Sequence[Padded]) -> Padded:
        """Return the layer's output."""


class DeviceConvolution(DeviceLayer):
    """A convolution and the activation behind it.

    Args:
        weight: `[O, C / groups, k, k]`.
        bias: `[O]`.
        module: the convolution whose geometry is taken.
        ceiling: of the activation: None for no activation at all, infinity for ReLU, 6 for ReLU6.
        dtype: type to compute in.
    """

    def __init__(
        self, weight: torch.Tensor, bias: torch.Tensor | None, module: nn.Conv2d, ceiling: float | None,
        dtype: torch.dtype,
    ) -> None:  # fmt: skip
        self._down, self._across = axis_window(module, 0), axis_window(module, 1)
        self._module = module
        self._ceiling = ceiling
        self._weight = weight.detach().to(dtype).contiguous(memory_format=torch.channels_last)
        self._bias = None if bias is None else bias.detach().to(dtype)

    def widen(self, channels: int) -> bool:
        """Take inputs with more channels, to be ignored: a GPU wants a multiple of 8. Return whether it can."""
        missing = channels - self._weight.shape[1]
        if self._module.groups != 1 or missing < 0:
            return False
        widened = F.pad(self._weight, (0, 0, 0, 0, 0, missing))
        self._weight = widened.contiguous(memory_format=torch.channels_last)
        return True

    def __call__(self, inputs: Sequence[Padded]) -> Padded:
        """Convolve maps; see `DeviceLayer`."""
        (maps,) = inputs
        down, across, module = self._down, self._across, self._module
        sees_margin = down.kernel > 1 or across.kernel > 1
        values = maps.cleaned() if sees_margin else maps.values
        padding = [down.padding, across.padding]
        if isinstance(module, SameConvolution):
            behind = across.behind or 0, down.behind or 0
            values, padding = F.pad(values, (across.padding, behind[0], down.padding, behind[1])), [0, 0]
        found = self._convolve(values, padding)
        size = Size(across.outputs(maps.size.width), down.outputs(maps.size.height))
        return _padded(found, size)

    def _convolve(self, values: torch.Tensor, padding: list[int]) -> torch.Tensor:
        module, ceiling = self._module, self._ceiling
        stride, dilation = list(map(int, module.stride)), list(map(int, module.dilation))
        if ceiling == float("inf") and values.is_cuda and self._bias is not None:
            fused: torch.Tensor = torch.cudnn_convolution_relu(
                values, self._weight, self._bias, stride, padding, dilation, module.groups
            )
            return fused
        found = F.conv2d(values, self._weight, self._bias, stride, padding, dilation, module.groups)
        return found if ceiling is None else found.clamp_(0, ceiling)


class DevicePoolNorm(DeviceLayer):
    """Max pooling of a map without any sign bit, normalisation across channels, or one after the other.

    Args:
        modules: one or two of `MaxPool2d` and `ResponseNorm` (of the usual exponent), in their order.
    """

    def __init__(self, *modules: nn.MaxPool2d | ResponseNorm) -> None:
        self.modules = modules
        pooling = next((module for module in modules if isinstance(module, nn.MaxPool2d)), None)
        self._down, self._across = (Window() if pooling is None else axis_window(pooling, axis) for axis in (0, 1))

    def __call__(self, inputs: Sequence[Padded]) -> Padded:
        """Pool and normalise maps; see `DeviceLayer`."""
        (maps,) = inputs
        size, room = (
            Size(self._across.outputs(one.width), self._down.outputs(one.height)) for one in (maps.size, maps.room)
        )
        if runs_triton(maps.values.device):
            from sppnet.networks.pool_norm_triton import pool_norm

            return Padded(pool_norm(maps.values, maps.size, size, room, self._what()), size, clean=True)
        found = maps.alone()
        for module in self.modules:
            found = module(found)
        grown = F.pad(found, (0, room.width - size.width, 0, room.height - size.height))
        return Padded(grown.contiguous(memory_format=torch.channels_last), size, clean=True)

    def _what(self) -> PoolNorm:
        window = self._down
        what = PoolNorm(window.kernel, window.stride, window.padding)
        for module in self.modules:
            if isinstance(module, ResponseNorm):
                what = replace(
                    what,
                    below=module.size // 2,
                    above=(module.size - 1) // 2,
                    weight=module.alpha / module.size,
                    k=float(module.k),
                    pool_first=isinstance(self.modules[0], nn.MaxPool2d),
                )
        return what


class DeviceWithinChannel(DeviceLayer):
    """`WithinChannelNorm`."""

    def __init__(self, module: WithinChannelNorm) -> None:
        self._module = module

    def __call__(self, inputs: Sequence[Padded]) -> Padded:
        """Normalise maps; see `DeviceLayer`."""
        (maps,) = inputs
        return Padded(self._module(maps.cleaned()), maps.size, clean=True)  # zeros stay zeros


class DevicePointwise(DeviceLayer):
    """Any function of cells of the same place.

    Args:
        function: takes one `[N, C, h, w]` an input.
        whole: whether it needs whole maps.
        keeps_zeros: whether it gives zeros for zeros.
    """

    def __init__(self, function: Callable[..., torch.Tensor], *, whole: bool, keeps_zeros: bool) -> None:
        self._function = function
        self._keeps_zeros = keeps_zeros
        self.fits_margins = not whole

    def __call__(self, inputs: Sequence[Padded]) -> Padded:
        """Apply the function to maps; see `DeviceLayer`."""
        found = self._function(*(maps.values for maps in inputs)).contiguous(memory_format=torch.channels_last)
        clean = self._keeps_zeros and all(maps.clean for maps in inputs)
        return replace(_padded(found, inputs[0].size), clean=clean) if clean else _padded(found, inputs[0].size)


def _padded(values: torch.Tensor, size: Size) -> Padded:
    """Return maps whose margin, if there is one, holds anything."""
    return Padded(values, size, clean=size.hw == tuple(values.shape[2:]))
