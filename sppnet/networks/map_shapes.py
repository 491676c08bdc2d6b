"""The shapes of maps and the arithmetic of making them, counted layer by layer.

Running a network on torch's meta device says the same of any layers, but imports a compiler for some of them: half a
second to two seconds and a hundred megabytes of every process.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass

import torch
from torch import fx, nn
from torch.nn import functional as F

from sppnet.networks.layer_windows import axis_window
from sppnet.networks.norms import ResponseNorm, WithinChannelNorm
from sppnet.networks.receptive_fields import is_plain, trace_layers

_KEEPING = (nn.Identity, nn.Dropout, nn.Dropout2d, nn.ReLU, nn.ReLU6, nn.BatchNorm2d, ResponseNorm, WithinChannelNorm)
_KEEPING_FUNCTIONS = frozenset({torch.relu, F.relu, F.relu_})
_SUMS = frozenset({operator.add, operator.iadd, torch.add})
_CONCATENATIONS = frozenset({torch.cat, torch.concat})
_CHANNELS = 1  # their place among a map's axes


@dataclass(frozen=True, slots=True)
class MapShape:
    """What is known of an activation before it is computed.

    Attributes:
        channels: of it.
        height: cells.
        width: cells.
    """

    channels: int
    height: int
    width: int

    @property
    def cells(self) -> int:
        """Cells of the whole map, none where the image is too small."""
        return max(self.height, 0) * max(self.width, 0)


@dataclass(frozen=True, slots=True)
class Counted:
    """What a network does with an image.

    Attributes:
        shape: of its map.
        macs: multiply-accumulates of its convolutions.
    """

    shape: MapShape
    macs: int


class ShapeCounter:
    """Counts cells and arithmetic of a network.

    Args:
        trunk: takes images `[N, 3, H, W]`; on any device.
    """

    def __init__(self, trunk: nn.Module) -> None:
        self._trunk = trunk
        self._nodes = tuple(trace_layers(trunk).nodes)

    def count(self, height: int, width: int) -> Counted | None:
        """Follow an image of so many pixels.

        Returns:
            None if a layer is not known here. Too small an image gives a shape of no cells.
        """
        found: dict[fx.Node, MapShape] = {}
        macs = 0
        for node in self._nodes:
            if node.op == "output":
                last = found.get(node.args[0])
                return None if last is None else Counted(last, macs)
            inputs = [found[one] for one in node.all_input_nodes if one in found]
            shape = MapShape(3, height, width) if node.op == "placeholder" else self._next(node, inputs)
            if shape is None:
                return None
            if not shape.cells:
                return Counted(shape, macs)
            found[node] = shape
            if node.op == "call_module":
                macs += _macs_a_cell(self._trunk.get_submodule(str(node.target))) * shape.cells
        return None

    def _next(self, node: fx.Node, inputs: list[MapShape]) -> MapShape | None:
        if len(inputs) != len(node.all_input_nodes) or not inputs:
            return None  # something of it is no map
        before = inputs[0]
        if node.op == "call_module" and len(inputs) == 1:
            return _after(self._trunk.get_submodule(str(node.target)), before)
        if node.op != "call_function":
            return None
        if node.target in _KEEPING_FUNCTIONS:
            return before
        if node.target in _SUMS and set(inputs) == {before}:
            return before
        if node.target in _CONCATENATIONS and _axis(node) == _CHANNELS:
            parts = [found for one in node.args[0] for found in inputs[node.all_input_nodes.index(one) :][:1]]  # type: ignore[union-attr, arg-type]
            if {(one.height, one.width) for one in parts} == {(before.height, before.width)}:
                return MapShape(sum(one.channels for one in parts), before.height, before.width)
        return None


def _axis(node: fx.Node) -> object:
    return node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")


def _after(module: nn.Module, before: MapShape) -> MapShape | None:
    if not isinstance(module, nn.Conv2d | nn.MaxPool2d):
        return before if is_plain(module, _KEEPING) else None
    if not is_plain(module, (nn.Conv2d, nn.MaxPool2d)) or isinstance(module.padding, str):
        return None
    rows, columns = (axis_window(module, axis) for axis in (0, 1))
    channels = module.out_channels if isinstance(module, nn.Conv2d) else before.channels
    return MapShape(channels, rows.outputs(before.height), columns.outputs(before.width))


def _macs_a_cell(module: nn.Module) -> int:
    """Return the multiply-accumulates of a cell of a layer's output; a `ResponseNorm` is a convolution too."""
    if isinstance(module, nn.Conv2d):
        return module.weight.numel()
    return module.band.numel() if isinstance(module, ResponseNorm) else 0
