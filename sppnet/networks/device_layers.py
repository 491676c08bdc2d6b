"""The layers of a network on a GPU, some fused, of maps that may lie in larger ones.

The margin lets images of many sizes share a few shapes: cuDNN plans a convolution anew for each one, which takes
longer than the convolution. A map's values don't depend on the margin: what looks beyond the map finds the zeros that
it would find without it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from sppnet.devices import has_bfloat_units, runs_triton
from sppnet.networks.layer_windows import axis_window
from sppnet.networks.norms import WithinChannelNorm
from sppnet.networks.timm_layers import SameConvolution
from sppnet.sizes import Size


@dataclass(frozen=True, slots=True)
class Extent:
    """Size of maps without their margin, cells.

    Attributes:
        size: for the host.
        table: int32 `[height, width]` on the device for its kernels, so that a CUDA graph serves all sizes; None where
            there are no such kernels.
    """

    size: Size
    table: torch.Tensor | None


@dataclass(frozen=True, slots=True)
class Padded:
    """Maps in larger ones.

    Attributes:
        values: `[N, C, H, W]`, channels last in memory.
        extent: of the maps, which begin at the first cell.
        clean: whether there is no margin, or it holds zeros.
    """

    values: torch.Tensor
    extent: Extent
    clean: bool

    @property
    def size(self) -> Size:
        """Size of the maps, cells."""
        return self.extent.size

    @property
    def room(self) -> Size:
        """Size of the maps with their margin."""
        return Size(self.values.shape[3], self.values.shape[2])

    def cleaned(self) -> torch.Tensor:
        """Return the values with zeros in the margin; written in place."""
        if self.clean:
            return self.values
        if self.extent.table is not None:
            from sppnet.networks.pooling_triton import clear_margin

            clear_margin(self.values, self.extent.table)
        else:
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

    def outputs(self, size: Size) -> Size:
        """Return the size of the output for an input's."""
        return size

    @abstractmethod
    def __call__(self, inputs: Sequence[Padded], extent: Extent, *, margins: bool) -> Padded:
        """Return the layer's output.

        Args:
            inputs: maps.
            extent: of the output.
            margins: whether maps may have a margin at all.
        """


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

    def widened(self, channels: int) -> DeviceConvolution | None:
        """Return one whose inputs have more channels, which it ignores: GPUs want a multiple of 8. None if it can't."""
        missing = channels - self._weight.shape[1]
        if self._module.groups != 1 or missing < 0:
            return None
        weight = F.pad(self._weight, (0, 0, 0, 0, 0, missing))
        return DeviceConvolution(weight, self._bias, self._module, self._ceiling, weight.dtype)

    def outputs(self, size: Size) -> Size:
        """See `DeviceLayer`."""
        return Size(self._across.outputs(size.width), self._down.outputs(size.height))

    def __call__(self, inputs: Sequence[Padded], extent: Extent, *, margins: bool) -> Padded:
        """Convolve maps; see `DeviceLayer`."""
        (maps,) = inputs
        down, across, module = self._down, self._across, self._module
        sees_margin = down.kernel > 1 or across.kernel > 1
        values = maps.cleaned() if sees_margin else maps.values
        padding = [down.padding, across.padding]
        if isinstance(module, SameConvolution):
            behind = across.behind or 0, down.behind or 0
            values, padding = F.pad(values, (across.padding, behind[0], down.padding, behind[1])), [0, 0]
        return Padded(self._convolve(values, padding), extent, clean=not margins)

    def _convolve(self, values: torch.Tensor, padding: list[int]) -> torch.Tensor:
        module, ceiling = self._module, self._ceiling
        stride, dilation = list(map(int, module.stride)), list(map(int, module.dilation))
        if ceiling == float("inf") and self._bias is not None and has_bfloat_units(values.device):
            fused: torch.Tensor = torch.cudnn_convolution_relu(
                values, self._weight, self._bias, stride, padding, dilation, module.groups
            )
            return fused
        found = F.conv2d(values, self._weight, self._bias, stride, padding, dilation, module.groups)
        return found if ceiling is None else found.clamp_(0, ceiling)


class DeviceStem(DeviceConvolution):
    """A network's first convolution, of images with four channels; see `sppnet.networks.stem_triton`.

    Args:
        weight: `[O, 3, k, k]`, of a half type.
        bias: `[O]`.
        module: the convolution whose geometry is taken.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, module: nn.Conv2d) -> None:
        from sppnet.networks.stem_triton import lay_out

        super().__init__(weight, bias, module, float("inf"), weight.dtype)
        self._laid_out, self._biases = lay_out(weight), bias

    @classmethod
    def of(cls, convolution: DeviceConvolution) -> DeviceStem | None:
        """Return a convolution as one: on a GPU with Triton, of half floats, with bias and ReLU; None for others."""
        module, weight, bias = convolution._module, convolution._weight, convolution._bias
        if not runs_triton(weight.device) or isinstance(module, SameConvolution):
            return None
        from sppnet.networks.stem_triton import columns_of

        plain = module.groups == 1 and weight.shape[1] == 3 and module.dilation == (1, 1)
        fits = plain and weight.dtype.itemsize == 2 and columns_of(weight.shape[3]) is not None
        return cls(weight, bias, module) if fits and bias is not None and convolution._ceiling == float("inf") else None

    def _convolve(self, values: torch.Tensor, padding: list[int]) -> torch.Tensor:
        from sppnet.networks.stem_triton import convolve_image

        size = self.outputs(Size(values.shape[3], values.shape[2]))
        stride = self._down.stride, self._across.stride
        return convolve_image(values, self._laid_out, self._biases, stride, (padding[0], padding[1]), size)


class DevicePooling(DeviceLayer):
    """Max pooling of a map without any sign bit."""

    def __init__(self, module: nn.MaxPool2d) -> None:
        self._module = module
        self._window = axis_window(module, 0)

    def outputs(self, size: Size) -> Size:
        """See `DeviceLayer`."""
        return Size(self._window.outputs(size.width), self._window.outputs(size.height))

    def __call__(self, inputs: Sequence[Padded], extent: Extent, *, margins: bool) -> Padded:
        """Pool maps; see `DeviceLayer`."""
        del margins
        (maps,) = inputs
        size, room = extent.size, self.outputs(maps.room)
        if maps.extent.table is not None and extent.table is not None:
            from sppnet.networks.pooling_triton import pool_maps

            found = pool_maps(maps.values, maps.extent.table, extent.table, room, self._window)
        else:
            found = F.pad(self._module(maps.alone()), (0, room.width - size.width, 0, room.height - size.height))
        return Padded(found.contiguous(memory_format=torch.channels_last), extent, clean=True)


class DeviceWithinChannel(DeviceLayer):
    """`WithinChannelNorm`."""

    def __init__(self, module: WithinChannelNorm) -> None:
        self._module = module

    def __call__(self, inputs: Sequence[Padded], extent: Extent, *, margins: bool) -> Padded:
        """Normalise maps; see `DeviceLayer`."""
        del margins
        (maps,) = inputs
        return Padded(self._module(maps.cleaned()), extent, clean=True)  # zeros stay zeros


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

    def __call__(self, inputs: Sequence[Padded], extent: Extent, *, margins: bool) -> Padded:
        """Apply the function to maps; see `DeviceLayer`."""
        found = self._function(*(maps.values for maps in inputs)).contiguous(memory_format=torch.channels_last)
        clean = self._keeps_zeros and all(maps.clean for maps in inputs)
        return Padded(found, extent, clean=clean or not margins)
