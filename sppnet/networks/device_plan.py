"""A network ready to run on a GPU: its layers fused, on images that share a few shapes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from sppnet.networks.device_layers import (
    DeviceConvolution,
    DeviceLayer,
    DevicePointwise,
    DevicePoolNorm,
    DeviceWithinChannel,
    Padded,
)
from sppnet.networks.layer_plan import IMAGE, LayerPlan, Step, plan_layers
from sppnet.networks.norms import ResponseNorm, WithinChannelNorm
from sppnet.sizes import Size

_CHANNELS = 8
"""Of the image, those beyond the third being zeros: GPUs multiply 16 bytes at a time."""


class DevicePlan:
    """Computes what a backbone's trunk does with its final ReLU, for inference only, of a snapshot of its weights.

    The values are those of the backbone within the rounding of the type that they are computed in.

    Args:
        trunk: in evaluation mode; takes images `[N, 3, H, W]`.
        dtype: type to compute in.

    Attributes:
        dtype: that type.
        channels: of the images that it takes; those beyond the third are ignored.
        fits_margins: whether images may have a margin.
    """

    def __init__(self, trunk: nn.Module, dtype: torch.dtype) -> None:
        self.dtype = dtype
        plan = _joined(plan_layers(trunk, _DeviceKit(dtype)))
        self._plan = plan
        self.fits_margins = plan.rest is None and all(step.layer.fits_margins for step in plan.steps)
        first = [step.layer for step in plan.steps if IMAGE in step.sources]
        wide = plan.rest is None and all(isinstance(layer, DeviceConvolution) for layer in first)
        self.channels = _CHANNELS if wide and all(_widened(layer) for layer in first) else 3

    @torch.inference_mode()
    def __call__(self, images: torch.Tensor, size: Size) -> torch.Tensor:
        """Convolve images.

        Args:
            images: `[N, channels, H, W]` of `dtype`, preprocessed, channels last in memory.
            size: of the images, pixels, what lies beyond it being zeros; all of it unless `fits_margins`.

        Returns:
            Maps `[N, C, h, w]` after ReLU and without -0.0; a view.
        """
        found = {IMAGE: Padded(images, size, clean=True)}
        plan = self._plan
        for number, step in enumerate(plan.steps):
            found[number] = step.layer([found[source] for source in step.sources])
        if plan.rest is not None:
            maps: torch.Tensor = plan.rest(*(found[number].values for number in plan.wanted))
        else:
            maps = found[plan.wanted[0]].alone()
        return (maps if plan.positive else F.relu(maps)).add_(0.0)


def _widened(layer: DeviceLayer) -> bool:
    return isinstance(layer, DeviceConvolution) and layer.widen(_CHANNELS)


def _joined(plan: LayerPlan[DeviceLayer]) -> LayerPlan[DeviceLayer]:
    """Make one step of a normalisation and a pooling that follow each other and that nothing else reads."""
    readers: dict[int, list[int]] = {}
    for number, step in enumerate(plan.steps):
        for source in step.sources:
            readers.setdefault(source, []).append(number)
    steps: list[Step[DeviceLayer]] = []
    place = {IMAGE: IMAGE}
    joined: set[int] = set()
    for number, step in enumerate(plan.steps):
        before = step.sources[0]
        if number in joined:
            continue
        layer, last = step.layer, number
        following = readers.get(number, [])
        if isinstance(layer, DevicePoolNorm) and len(following) == 1 and number not in plan.wanted:
            after = plan.steps[following[0]].layer
            if isinstance(after, DevicePoolNorm) and type(after.modules[0]) is not type(layer.modules[0]):
                layer, last = DevicePoolNorm(*layer.modules, *after.modules), following[0]
                joined.add(last)
        del before
        place[number] = place[last] = len(steps)
        steps.append(Step(layer, tuple(place[source] for source in step.sources)))
    wanted = tuple(place[number] for number in plan.wanted)
    return LayerPlan(tuple(steps), wanted, plan.rest, plan.positive)


@dataclass(frozen=True, slots=True)
class _DeviceKit:
    """Makes layers that run on a GPU; see `LayerKit`."""

    dtype: torch.dtype

    def convolution(
        self, weight: torch.Tensor, bias: torch.Tensor | None, module: nn.Conv2d, ceiling: float | None
    ) -> DeviceLayer:
        return DeviceConvolution(weight, bias, module, ceiling, self.dtype)

    def max_pooling(self, module: nn.MaxPool2d) -> DeviceLayer:
        return DevicePoolNorm(module)

    def across_channels(self, module: ResponseNorm) -> DeviceLayer:
        return DevicePoolNorm(module)

    def within_channel(self, module: WithinChannelNorm) -> DeviceLayer:
        return DeviceWithinChannel(module)

    def pointwise(self, function: Callable[..., torch.Tensor], *, whole: bool, keeps_zeros: bool) -> DeviceLayer:
        return DevicePointwise(function, whole=whole, keeps_zeros=keeps_zeros)
