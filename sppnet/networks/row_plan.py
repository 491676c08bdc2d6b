"""A network in steps that run on rows, on a CPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from sppnet.networks.layer_plan import LayerPlan, plan_layers
from sppnet.networks.norms import ResponseNorm, WithinChannelNorm
from sppnet.networks.row_layers import AcrossChannels, Convolution, MaxPooling, Pointwise, WithinChannel
from sppnet.networks.row_strips import RowLayer, run_steps


@dataclass(frozen=True, slots=True)
class RowPlan:
    """A network ready to run on rows.

    Attributes:
        layers: what is known of it, and the rest.
    """

    layers: LayerPlan[RowLayer]

    @property
    def positive(self) -> bool:
        """Tell whether the output has no sign bit."""
        return self.layers.positive

    def run(self, images: torch.Tensor) -> torch.Tensor:
        """Return the network's output for images `[N, C, H, W]`, channels last."""
        layers = self.layers
        found = run_steps(layers.steps, images, layers.wanted)
        output: torch.Tensor = found[0] if layers.rest is None else layers.rest(*found)
        return output


def plan_rows(network: nn.Module, dtype: torch.dtype) -> RowPlan:
    """Recognise a network's layers.

    Args:
        network: in evaluation mode, on a CPU; takes images.
        dtype: type to compute in, float32 or bfloat16.

    Raises:
        ConfigError: it can't be traced.
    """
    return RowPlan(plan_layers(network, _RowKit(dtype)))


@dataclass(frozen=True, slots=True)
class _RowKit:
    """Makes layers that run on rows; see `LayerKit`."""

    dtype: torch.dtype

    def convolution(
        self, weight: torch.Tensor, bias: torch.Tensor | None, module: nn.Conv2d, ceiling: float | None
    ) -> RowLayer:
        return Convolution(weight, bias, module, ceiling, self.dtype)

    def max_pooling(self, module: nn.MaxPool2d) -> RowLayer:
        return MaxPooling(module)

    def across_channels(self, module: ResponseNorm) -> RowLayer:
        return AcrossChannels(module)

    def within_channel(self, module: WithinChannelNorm) -> RowLayer:
        return WithinChannel(module)

    def pointwise(self, function: Callable[..., torch.Tensor], *, whole: bool, keeps_zeros: bool) -> RowLayer:
        del keeps_zeros  # rows have no margins
        return Pointwise(function, whole=whole)
