"""The shapes of maps, counted layer by layer.

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
        cells: along an axis.
    """

    channels: int
    cells: int


class ShapeCounter:
    """Counts channels and cells of a network's map.

    Args:
        trunk: takes images `[N, 3, H, W]`; on any device.
        graph: what `trace_layers` gave of it; default: traced here.
    """

    def __init__(self, trunk: nn.Module, graph: fx.Graph | None = None) -> None:
        self._trunk = trunk
        self._nodes = tuple((graph or trace_layers(trunk)).nodes)

    def shape(self, side: int) -> MapShape | None:
        """Return the shape of the map of an image of `side` pixels along one axis.

        Returns:
            None if a layer is not known here. Too short a side gives no cell, or fewer than none.
        """
        found: dict[fx.Node, MapShape] = {}
        for node in self._nodes:
            if node.op == "placeholder":
                shape: MapShape | None = MapShape(3, side)
            elif node.op == "output":
                return found.get(node.args[0])
            else:
                shape = self._next(node, [found[one] for one in node.all_input_nodes if one in found])
            if shape is None or shape.cells < 1:
                return shape
            found[node] = shape
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
        alike = len({one.cells for one in inputs}) == 1
        if node.target in _CONCATENATIONS and alike and _axis(node) == _CHANNELS and len(node.args[0]) == len(inputs):  # type: ignore[arg-type]
            return MapShape(sum(one.channels for one in inputs), before.cells)
        return None


def _axis(node: fx.Node) -> object:
    return node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")


def _after(module: nn.Module, before: MapShape) -> MapShape | None:
    if isinstance(module, nn.Conv2d | nn.MaxPool2d) and is_plain(module, (nn.Conv2d, nn.MaxPool2d)):
        if isinstance(module, nn.Conv2d) and isinstance(module.padding, str):
            return None
        rows, columns = (axis_window(module, axis) for axis in (0, 1))
        if rows != columns:
            return None
        channels = module.out_channels if isinstance(module, nn.Conv2d) else before.channels
        return MapShape(channels, rows.outputs(before.cells))
    return before if is_plain(module, _KEEPING) else None
