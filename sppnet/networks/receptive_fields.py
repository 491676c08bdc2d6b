"""Receptive fields read from a network's graph: how the cells of its map lie over the image (paper, Appendix A).

A cell's receptive field is the square of input pixels that it depends on; `sppnet.pooling.geometry` says what is
made of it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import fx, nn

from sppnet.errors import ConfigError
from sppnet.networks.timm_layers import SameConvolution
from sppnet.pooling.geometry import Geometry


@dataclass(frozen=True)
class _Axis:
    """Pixels under cell 0 of an activation along one axis, `[lo, hi)`, and the pixels from one cell to the next."""

    lo: int = 0
    hi: int = 1
    stride: int = 1

    def slide(self, kernel: int, stride: int, padding: int, dilation: int) -> _Axis:
        lo = self.lo - padding * self.stride
        return _Axis(lo, lo + (self.hi - self.lo) + (kernel - 1) * dilation * self.stride, self.stride * stride)


_Footprint: TypeAlias = tuple[_Axis, _Axis]
"""Along the rows and along the columns: kernels may be longer than wide, as long as both end up alike."""


# They act on single positions, or (normalisation) their footprint is not counted, as in the paper's receptive fields.
# Linear and permuted layers are those of networks that put the channels last, such as ConvNeXt.
_NORMS = (nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm, nn.LocalResponseNorm)
_POINTWISE_MODULES = (
    nn.Identity, nn.Dropout, nn.Dropout2d, nn.Linear, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.GELU,
    nn.SiLU, nn.Hardswish, nn.Sigmoid, nn.Hardsigmoid,
)  # fmt: skip
_SLIDING_MODULES = (SameConvolution, nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)
_POINTWISE_FUNCTIONS: frozenset[Callable[..., Any]] = frozenset(
    {
        operator.add, operator.iadd, operator.mul, torch.add, torch.mul, torch.cat, torch.concat, torch.relu,
        torch.permute, nn.functional.relu, nn.functional.relu_, nn.functional.silu, nn.functional.gelu,
        nn.functional.hardswish, nn.functional.dropout, nn.functional.batch_norm, nn.functional.layer_norm,
        nn.functional.local_response_norm,
    }
)  # fmt: skip
_POOLINGS = frozenset({nn.functional.avg_pool2d, nn.functional.max_pool2d})
_WINDOW = ("kernel_size", "stride", "padding", "dilation")
_POINTWISE_METHODS = frozenset({"add", "add_", "mul", "mul_", "relu", "relu_", "contiguous", "clone", "permute"})


def _both(value: int | tuple[int, ...] | str, what: str, layer: str) -> tuple[int, int]:
    """Return the values of a layer's parameter along both axes."""
    values = (value, value) if isinstance(value, int) else value
    if isinstance(values, str) or len(values) != 2:
        raise ConfigError(f"layer {layer!r}: no geometry is known for a {what} of {value!r}")
    return values[0], values[1]


def is_plain(module: nn.Module | None, kinds: type[nn.Module] | tuple[type[nn.Module], ...]) -> bool:
    """Tell whether a module computes what one of torch's layers does: a subclass may do anything else."""
    wanted = kinds if isinstance(kinds, tuple) else (kinds,)
    return any(isinstance(module, kind) and _computes_alike(type(module), kind) for kind in wanted)


def _computes_alike(kind: type[nn.Module], layer: type[nn.Module]) -> bool:
    return all(getattr(kind, name, None) is getattr(layer, name, None) for name in ("forward", "_conv_forward"))


class _LayerTracer(fx.Tracer):
    """Stops at torch's own layers and their subclasses, and at modules that declare `keeps_geometry = True`."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        known = isinstance(m, _SLIDING_MODULES + _POINTWISE_MODULES + _NORMS) or hasattr(m, "keeps_geometry")
        return known or super().is_leaf_module(m, module_qualified_name)


def trace_layers(network: nn.Module) -> fx.Graph:
    """Trace a network's operations symbolically; torch's own layers stay whole.

    A module of one's own that keeps positions stays whole too if it declares `keeps_geometry = True`.

    Raises:
        ConfigError: it can't be traced.
    """
    try:
        return _LayerTracer().trace(network)
    except Exception as error:  # a forward that is run on symbols may raise anything
        raise ConfigError(f"can't trace {type(network).__name__}: {' '.join(str(error).split())}") from error


def _join(inputs: list[_Footprint], layer: str) -> _Footprint:
    """Return the union footprint of branches that meet, e.g. a Fire module's 1 x 1 and 3 x 3 convolutions."""
    rows, columns = (_union([one[axis] for one in inputs], layer) for axis in (0, 1))
    return rows, columns


def _union(inputs: list[_Axis], layer: str) -> _Axis:
    strides = {one.stride for one in inputs}
    if len(strides) != 1:
        raise ConfigError(f"layer {layer!r}: its branches have strides {sorted(strides)}, they must agree")
    return _Axis(min(one.lo for one in inputs), max(one.hi for one in inputs), strides.pop())


def _slide(before: _Footprint, window: Mapping[str, Any], layer: str) -> _Footprint:
    """Move a window of a kernel, stride, padding and dilation over an activation."""
    kernel = window["kernel_size"]
    step = window.get("stride")
    given = (kernel, kernel if step is None else step, window.get("padding", 0), window.get("dilation", 1))
    pairs = [_both(value, what, layer) for value, what in zip(given, _WINDOW, strict=True)]
    rows, columns = (before[axis].slide(*[pair[axis] for pair in pairs]) for axis in (0, 1))
    return rows, columns


def _apply_module(module: nn.Module, before: _Footprint, layer: str) -> _Footprint:
    if is_plain(module, _SLIDING_MODULES):
        return _slide(before, window_of(module), layer)
    if getattr(module, "keeps_geometry", False) or isinstance(module, _NORMS) or is_plain(module, _POINTWISE_MODULES):
        return before
    raise ConfigError(f"layer {layer!r}: no geometry is known for {type(module).__name__}")


def window_of(module: nn.Module) -> dict[str, Any]:
    """Return kernel, stride, padding before the first cell and dilation of a layer that slides over its input."""
    found = {what: getattr(module, what) for what in _WINDOW if hasattr(module, what)}
    return found | {"padding": module.before} if isinstance(module, SameConvolution) else found


def _apply_pooling(node: fx.Node, before: _Footprint) -> _Footprint:
    """Follow a pooling that is called as a function."""
    given = dict(zip(_WINDOW, node.args[1:4], strict=False)) | dict(node.kwargs)
    return _slide(before, given, node.name)


def trace_geometry(trunk: nn.Module) -> Geometry:
    """Read receptive field, stride and accumulated padding from a trunk of convolutions.

    The trunk is traced symbolically (`torch.fx`), so branches, concatenations and residual sums are followed too;
    where branches meet, the footprint is their union. Normalisation counts as pointwise, as in the paper's numbers.
    A module of one's own that keeps positions declares it with a class attribute `keeps_geometry = True`.

    Args:
        trunk: takes images `[N, 3, H, W]`, returns maps `[N, C, h, w]`.

    Raises:
        ConfigError: a layer whose geometry is unknown or differs between the axes, branches whose strides differ, or
            a trunk that can't be traced; the message names the layer.
    """
    graph = trace_layers(trunk)
    cell = _footprints(trunk, graph).get(_output(trunk, graph))
    if cell is None:
        raise ConfigError(f"{type(trunk).__name__}'s output is not made of its input")
    return _geometry(cell)


def trace_strides(trunk: nn.Module, graph: fx.Graph) -> dict[fx.Node, int]:
    """Return pixels from one cell to the next of each operation's output that has positions.

    Args:
        trunk: see `trace_geometry`, which tells what is raised too.
        graph: what `trace_layers` gave of it.
    """
    return {node: rows.stride for node, (rows, _) in _footprints(trunk, graph).items()}


def _output(trunk: nn.Module, graph: fx.Graph) -> fx.Node:
    found: fx.Node | None = next((node for node in graph.nodes if node.op == "output"), None)
    if found is None:
        raise ConfigError(f"{type(trunk).__name__} has no output")
    return found


def _footprints(trunk: nn.Module, graph: fx.Graph) -> dict[fx.Node, _Footprint]:
    """Follow the footprint of a cell through a traced trunk."""
    footprints: dict[fx.Node, _Footprint] = {}
    for node in graph.nodes:
        inputs = [footprints[one] for one in node.all_input_nodes if one in footprints]
        name = str(node.target)
        if node.op == "placeholder":
            footprints[node] = _Axis(), _Axis()
        elif node.op == "call_module" and inputs:
            footprints[node] = _apply_module(trunk.get_submodule(name), inputs[0], name)
        elif not inputs:
            continue  # a constant of the module, or made of such: it has no position
        elif node.op == "output":
            footprints[node] = _join(inputs, "output")
        elif node.target in _POOLINGS:
            footprints[node] = _apply_pooling(node, inputs[0])
        elif node.target in _POINTWISE_FUNCTIONS or (node.op == "call_method" and name in _POINTWISE_METHODS):
            footprints[node] = _join(inputs, node.name)
        else:
            called = getattr(node.target, "__name__", name)  # of a function, whose text holds its place in memory
            raise ConfigError(f"layer {node.name!r}: no geometry is known for {called}")
    return footprints


def _geometry(cell: _Footprint) -> Geometry:
    rows, columns = cell
    if rows != columns:
        raise ConfigError(f"the map's cells are not square: {rows.hi - rows.lo} x {columns.hi - columns.lo} pixels")
    return Geometry(receptive_field=rows.hi - rows.lo, stride=rows.stride, padding=-rows.lo)
