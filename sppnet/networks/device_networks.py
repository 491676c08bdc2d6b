"""How a backbone is computed on a GPU: with its layers fused where all are known, else as torch has it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import AbstractContextManager

import torch
from torch.nn import functional as F

from sppnet.networks.backbones import Backbone
from sppnet.networks.device_plan import DevicePlan, Layout, plan_device
from sppnet.networks.network import Precision
from sppnet.sizes import Size


class PlainNetwork:
    """A backbone called as `DevicePlan` is, its layers as torch has them.

    Attributes:
        dtype: type of the images that it takes.
        channels: of those images.
        fits_margins: whether images may have a margin.
    """

    channels = 3
    fits_margins = False

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self.dtype = backbone.dtype

    def layout(self, size: Size) -> Layout:
        """Return how images of a size lie in the network."""
        return Layout((size, self._backbone.map_size(size)))

    def __call__(self, images: torch.Tensor, layout: Layout) -> torch.Tensor:
        """Convolve images `[N, 3, H, W]` without margin: maps `[N, C, h, w]`, after ReLU, without -0.0."""
        del layout
        maps: torch.Tensor = self._backbone(images)
        return maps


def device_network(backbone: Backbone, precision: Precision) -> DevicePlan | PlainNetwork:
    """Return a backbone, in evaluation mode, ready for inference on the device that it is on."""
    dtype = backbone.dtype if precision == "float32" else getattr(torch, precision)
    plan = plan_device(backbone.trunk, dtype)
    return PlainNetwork(in_precision(backbone, precision)) if plan is None else plan


class DeviceConvolutions:
    """A backbone on a GPU that takes images as `InferenceBackbone` does, its layers fused where all are known.

    Attributes:
        dtype: type that it takes its images in without another copy.
    """

    def __init__(self, backbone: Backbone, precision: Precision) -> None:
        self._network = device_network(backbone, precision)
        self.dtype = self._network.dtype

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Convolve images `[N, 3, H, W]`, preprocessed, of any float type: maps `[N, C, h, w]` as `Backbone` has them.

        Raises:
            ConfigError: the images are too small to have a cell.
        """
        network = self._network
        values = images.to(self.dtype)
        if more := network.channels - values.shape[1]:
            values = F.pad(values, (0, 0, 0, 0, 0, more))
        layout = network.layout(Size(*reversed(values.shape[2:])))
        height, width = layout.sizes[-1].hw
        with settled():
            found = network(values.contiguous(memory_format=torch.channels_last), layout)
        return found[:, :, :height, :width]


def in_precision(backbone: Backbone, precision: Precision) -> Backbone:
    """Return the backbone itself for float32, else a copy whose weights are of a lower type, channels last."""
    if precision == "float32":
        return backbone
    lowered: Backbone = copy.deepcopy(backbone).to(getattr(torch, precision))
    return lowered.to(memory_format=torch.channels_last)


def settled() -> AbstractContextManager[Mapping[str, object] | None]:
    """Let cuDNN choose its algorithms by the shapes alone, and only such as give the same bits each time."""
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=True)
