"""A network ready to run on a GPU: its layers fused, on images that share a few shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from sppnet.devices import runs_triton, upload
from sppnet.networks.device_layers import (
    DeviceConvolution,
    DeviceLayer,
    DevicePointwise,
    DevicePooling,
    DeviceStem,
    DeviceWithinChannel,
    Extent,
    Padded,
)
from sppnet.networks.layer_plan import IMAGE, LayerPlan, Step, plan_layers
from sppnet.networks.norms import ResponseNorm, WithinChannelNorm
from sppnet.sizes import Size

_CHANNELS = 8
"""Of the image, those beyond the third being zeros: GPUs multiply 16 bytes at a time."""
_MOST_LAYOUTS = 4096


class DevicePlan:
    """Computes what a backbone's trunk does with its final ReLU, for inference only, of a snapshot of its weights.

    Attributes:
        dtype: type of the images that it takes.
        channels: of those images; what is in those beyond the third is ignored.
        fits_margins: whether images may have a margin.
    """

    def __init__(self, layers: LayerPlan[DeviceLayer], dtype: torch.dtype, device: torch.device) -> None:
        self._layers, self.channels = _of_wide_images(layers)
        self._device = device
        self._layouts: dict[Size, Layout] = {}
        self.dtype = dtype
        self.fits_margins = all(step.layer.fits_margins for step in layers.steps)

    def layout(self, size: Size) -> Layout:
        """Return how images of a size lie in the network, from shapes alone."""
        if size not in self._layouts:
            sizes = {IMAGE: size}
            for number, step in enumerate(self._layers.steps):
                sizes[number] = step.layer.outputs(sizes[step.sources[0]])
            if len(self._layouts) >= _MOST_LAYOUTS:
                self._layouts.clear()
            self._layouts[size] = Layout(tuple(sizes.values()), self._table(sizes.values()))
        return self._layouts[size]

    @torch.inference_mode()
    def __call__(self, images: torch.Tensor, layout: Layout) -> torch.Tensor:
        """Convolve images.

        Args:
            images: `[N, channels, H, W]` of `dtype`, preprocessed, channels last in memory.
            layout: of the images' size, what lies beyond it being zeros; all of it unless `fits_margins`.

        Returns:
            Maps `[N, C, H', W']` after ReLU and without -0.0, in a margin of anything; `layout.sizes[-1]` is theirs.
        """
        found = {IMAGE: Padded(images, layout.extent(IMAGE), clean=True)}
        for number, step in enumerate(self._layers.steps):
            inputs = [found[source] for source in step.sources]
            found[number] = step.layer(inputs, layout.extent(number), margins=self.fits_margins)
        maps = found[self._layers.wanted[0]].values
        return (maps if self._layers.positive else F.relu(maps)).add_(0.0)

    def _table(self, sizes: Iterable[Size]) -> torch.Tensor | None:
        if not runs_triton(self._device):
            return None
        # Rows of 16 bytes, so that all are aligned alike.
        return upload(np.array([[*size.hw, 0, 0] for size in sizes], dtype=np.int32), self._device)


@dataclass(frozen=True, slots=True)
class Layout:
    """How images of a size lie in a network.

    Attributes:
        sizes: of the image, and of each step's output; the last is the map's.
        table: int32 `[steps + 1, 4]` on the device, heights and widths of the same; None without a GPU's kernels.
    """

    sizes: tuple[Size, ...]
    table: torch.Tensor | None = None

    def extent(self, step: int) -> Extent:
        """Return the extent of a step's output, or of the image."""
        return Extent(self.sizes[step + 1], None if self.table is None else self.table[step + 1])


def plan_device(trunk: nn.Module, dtype: torch.dtype) -> DevicePlan | None:
    """Make a network ready to run on the device that it is on.

    Args:
        trunk: in evaluation mode; takes images `[N, 3, H, W]`.
        dtype: type to compute in.

    Returns:
        None for a network with a layer that isn't known, or weights that are not finite: a fused ReLU would make 0 of
        what is no number.

    Raises:
        ConfigError: it can't be traced.
    """
    if not all(bool(torch.isfinite(value).all()) for value in trunk.parameters()):
        return None
    layers = plan_layers(trunk, _DeviceKit(dtype))
    if layers.rest is not None or layers.wanted != (len(layers.steps) - 1,):
        return None
    return DevicePlan(layers, dtype, next(trunk.parameters()).device)


def _of_wide_images(plan: LayerPlan[DeviceLayer]) -> tuple[LayerPlan[DeviceLayer], int]:
    """Let the convolutions of the image take more channels than three, and tell how many; 3 if one of them can't."""
    first = {number: step.layer for number, step in enumerate(plan.steps) if IMAGE in step.sources}
    convolutions = {number: layer for number, layer in first.items() if isinstance(layer, DeviceConvolution)}
    if not convolutions or len(convolutions) < len(first):
        return plan, 3
    if len(first) == 1:
        stems = {number: DeviceStem.of(layer) for number, layer in convolutions.items()}
        if None not in stems.values():
            return _with_layers(plan, stems), 4
    widened = {number: layer.widened(_CHANNELS) for number, layer in convolutions.items()}
    return (plan, 3) if None in widened.values() else (_with_layers(plan, widened), _CHANNELS)


def _with_layers(
    plan: LayerPlan[DeviceLayer], layers: Mapping[int, DeviceConvolution | None]
) -> LayerPlan[DeviceLayer]:
    """Return a plan with other layers at some of its steps."""
    steps = (Step(layers.get(number) or step.layer, step.sources) for number, step in enumerate(plan.steps))
    return replace(plan, steps=tuple(steps))


@dataclass(frozen=True, slots=True)
class _DeviceKit:
    """Makes layers that run on a GPU; see `LayerKit`."""

    dtype: torch.dtype

    def convolution(
        self, weight: torch.Tensor, bias: torch.Tensor | None, module: nn.Conv2d, ceiling: float | None
    ) -> DeviceLayer:
        return DeviceConvolution(weight, bias, module, ceiling, self.dtype)

    def max_pooling(self, module: nn.MaxPool2d) -> DeviceLayer:
        return DevicePooling(module)

    def across_channels(self, module: ResponseNorm) -> DeviceLayer:
        return DevicePointwise(module, whole=False, keeps_zeros=True)

    def within_channel(self, module: WithinChannelNorm) -> DeviceLayer:
        return DeviceWithinChannel(module)

    def pointwise(self, function: Callable[..., torch.Tensor], *, whole: bool, keeps_zeros: bool) -> DeviceLayer:
        return DevicePointwise(function, whole=whole, keeps_zeros=keeps_zeros)
